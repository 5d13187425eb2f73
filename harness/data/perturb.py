"""Applying perturbations to batches so that nothing but the patch decides the outcome."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.data.handover import kept, lent
from harness.errors import HarnessError
from harness.types.perturbations import Perturbation


def perturb(
    images: NDArray[np.uint8],
    ids: Sequence[str],
    perturbation: Perturbation,
    level: float,
    targets: NDArray[np.float64] | None = None,
    seed: int = 0,
) -> NDArray[np.uint8]:
    """Perturb a batch, uint8 (B, H, W, 3), patch by patch.

    Each patch gets a generator of its own, seeded from the perturbation's name, the level, the
    patch's id and ``seed``. Runs leave that at 0, so that every model sees the same patches.
    ``targets``, float64 (C, D), is what a perturbation with ``learns`` learned of each class.
    Raises HarnessError when the perturbation changes the shape or the dtype.
    """
    learned = () if targets is None else (kept(targets[int(level)]),)
    changed = np.empty_like(images)
    for row, (patch, id_) in enumerate(zip(images, ids, strict=True)):
        identity = f"{perturbation.name}\0{level:g}\0{id_}\0{seed}"
        digest = hashlib.sha256(identity.encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:16], "big"))
        result = perturbation.apply(lent(patch), level, rng, *learned)
        if result.shape != patch.shape or result.dtype != np.uint8:
            raise HarnessError(
                f"perturbation {perturbation.name!r} returned {result.dtype} {result.shape} for a "
                f"uint8 patch of {patch.shape}; report it to the plugin's author"
            )
        changed[row] = result
    return changed

"""Applying perturbations to batches so that nothing but the patch decides the outcome."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError
from harness.types import Perturbation


def perturb(
    images: NDArray[np.uint8], ids: Sequence[str], perturbation: Perturbation, level: float
) -> NDArray[np.uint8]:
    """Perturb a batch, uint8 (B, H, W, 3), patch by patch.

    Each patch gets a generator seeded from the perturbation's name, the level and the patch's id.
    Raises HarnessError when the perturbation changes the shape or the dtype.
    """
    changed = np.empty_like(images)
    for row, (patch, id_) in enumerate(zip(images, ids, strict=True)):
        seed = hashlib.sha256(f"{perturbation.name}\0{level:g}\0{id_}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(seed[:16], "big"))
        result = perturbation.apply(patch, level, rng)
        if result.shape != patch.shape or result.dtype != np.uint8:
            raise HarnessError(
                f"perturbation {perturbation.name!r} returned {result.dtype} {result.shape} for a "
                f"uint8 patch of {patch.shape}; report it to the plugin's author"
            )
        changed[row] = result
    return changed

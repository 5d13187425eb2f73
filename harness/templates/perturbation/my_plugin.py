"""My plugin: uneven illumination, as of a lamp off center."""

from __future__ import annotations

import numpy as np

from harness import Perturbation, hookimpl


def apply(patch: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Uint8 RGB (H, W, 3) in, and out: darker toward one side, by up to ``level`` (0..1) there.

    The side is drawn from ``rng``, so that it is the same for a patch in every run.
    """
    angle = rng.uniform(0, 2 * np.pi)
    y = np.linspace(-1, 1, patch.shape[0])[:, None]
    x = np.linspace(-1, 1, patch.shape[1])[None, :]
    across = (x * np.cos(angle) + y * np.sin(angle)) / np.sqrt(2)  # -1..1
    light = 1 - level * (across + 1) / 2
    return np.rint(patch * light[:, :, None]).astype(np.uint8)


@hookimpl
def harness_perturbations() -> list[Perturbation]:
    """The perturbations of this plugin."""
    return [
        Perturbation(
            name="my-plugin",
            title="My plugin",
            levels=(0.1, 0.2, 0.4),
            apply=apply,
        )
    ]

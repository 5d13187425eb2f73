"""Perturbations that map each value in 0..255 to another, alike in all channels and places."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from harness_perturbations.pixels import quantize

VALUES = np.arange(256.0)
MIDDLE = 127.5


def brightness(
    patch: NDArray[np.uint8], level: float, rng: np.random.Generator | None = None
) -> NDArray[np.uint8]:
    """Multiply all values by ``level``, as a longer or shorter exposure would; clips at 255."""
    return _map(patch, quantize(level * VALUES))


def contrast(
    patch: NDArray[np.uint8], level: float, rng: np.random.Generator | None = None
) -> NDArray[np.uint8]:
    """Multiply the distance of all values from the patch's mean luma by ``level``; clips."""
    mean = cv2.mean(cv2.cvtColor(patch, cv2.COLOR_RGB2GRAY))[0]
    return _map(patch, quantize(mean + level * (VALUES - mean)))


def gamma(
    patch: NDArray[np.uint8], level: float, rng: np.random.Generator | None = None
) -> NDArray[np.uint8]:
    """Raise values, as fractions of 255, to the power ``level``; above 1 darkens."""
    return _map(patch, quantize(255 * (VALUES / 255) ** level))


def range_stretch(
    patch: NDArray[np.uint8], level: float, rng: np.random.Generator | None = None
) -> NDArray[np.uint8]:
    """Multiply the distance of all values from 127.5 by ``level``; clips at both ends.

    Unlike ``contrast`` it knows nothing of the patch: a wrong window, the same for every patch.
    """
    return _map(patch, quantize(_stretched(level)))


def range_overflow(
    patch: NDArray[np.uint8], level: float, rng: np.random.Generator | None = None
) -> NDArray[np.uint8]:
    """The stretch of ``range_stretch``, but what leaves 0..255 wraps round modulo 256.

    This is what 8-bit arithmetic does without saturation: bright turns dark and dark bright.
    """
    return _map(patch, (np.rint(_stretched(level)) % 256).astype(np.uint8))


def _stretched(level: float) -> NDArray[np.float64]:
    return MIDDLE + level * (VALUES - MIDDLE)


def _map(patch: NDArray[np.uint8], table: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.LUT(patch, table), np.uint8)

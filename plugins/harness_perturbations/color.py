"""Perturbations of hue and saturation, and color removed."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from harness_perturbations.pixels import quantize

# ITU-R BT.601, as in OpenCV's conversion to gray.
LUMA = np.array([0.299, 0.587, 0.114])


def hue_wrapped(
    patch: NDArray[np.uint8], level: float, rng: np.random.Generator | None = None
) -> NDArray[np.uint8]:
    """Turn the HSV hue by ``level`` units of 2 degrees, keeping saturation and value.

    The unit is that of OpenCV's 8-bit hue, for comparison with ``published.hue_clipped``. Computed
    in float32: 8-bit HSV would lose up to a few gray levels even without a shift.
    """
    hsv = cv2.cvtColor(patch.astype(np.float32), cv2.COLOR_RGB2HSV)  # hue in 0..360
    hue = hsv[..., 0] + 2 * level
    hsv[..., 0] = hue - 360 * np.floor(hue / 360)  # the same as hue % 360, five times as fast
    return quantize(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))


def saturation(
    patch: NDArray[np.uint8], level: float, rng: np.random.Generator | None = None
) -> NDArray[np.uint8]:
    """Multiply each pixel's distance from its own gray by ``level``; clips.

    Gray is luma (BT.601), so that lightness stays about as it was; 0 leaves gray, 1 the patch.
    """
    matrix = level * np.eye(3) + (1 - level) * np.tile(LUMA, (3, 1))
    return quantize(cv2.transform(patch.astype(np.float32), matrix))


def grayscale(
    patch: NDArray[np.uint8], level: float = 1, rng: np.random.Generator | None = None
) -> NDArray[np.uint8]:
    """Replace each pixel by its luma (BT.601) in all three channels; ``level`` means nothing."""
    gray = cv2.cvtColor(patch, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.cvtColor(gray, cv2.COLOR_GRAY2RGB), np.uint8)

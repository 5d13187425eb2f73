"""Hue and JPEG, bit for bit as arXiv:2409.11546 applied them to test patches."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from harness.data.jpeg import recompress


def hue_clipped(
    patch: NDArray[np.uint8], level: float, rng: np.random.Generator | None = None
) -> NDArray[np.uint8]:
    """Shift OpenCV's 8-bit hue (units of 2 degrees) and clip it to 0..255, as published.

    Hue is an angle and ought to wrap; this one does not, and OpenCV reads a clipped or too large
    hue as it may. It is kept as it was, bit for bit, so that published figures can be reproduced.
    ``color.hue_wrapped`` is the correct one.
    """
    hsv = cv2.cvtColor(patch, cv2.COLOR_RGB2HSV)
    hue = hsv[..., 0].astype(np.int32) + int(level)
    hsv[..., 0] = np.clip(hue, 0, 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.uint8)


def jpeg(
    patch: NDArray[np.uint8], level: float, rng: np.random.Generator | None = None
) -> NDArray[np.uint8]:
    """Compress with OpenCV's JPEG encoder at a quality of ``level`` (1 to 100), decode again."""
    return recompress(patch, int(level))

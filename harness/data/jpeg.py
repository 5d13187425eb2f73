"""JPEG recompression through OpenCV's encoder, as the published experiments did it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def recompress(
    patch: NDArray[np.uint8], quality: int, *, chroma: str = "4:2:0"
) -> NDArray[np.uint8]:
    """Encode one uint8 RGB patch (H, W, 3) as JPEG and decode it again.

    ``quality`` is libjpeg's, 1 to 100. ``chroma`` is "4:2:0", OpenCV's default and the published
    way, or "4:4:4" (no subsampling of color).
    """
    import cv2

    factor = {
        "4:2:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
        "4:4:4": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    }[chroma]
    bgr = cv2.cvtColor(patch, cv2.COLOR_RGB2BGR)
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor]
    _, data = cv2.imencode(".jpg", bgr, options)
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)

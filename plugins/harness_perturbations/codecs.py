"""Perturbations of storage other than JPEG: WebP and JPEG 2000, through OpenCV's codecs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from harness import HarnessError

# OpenCV asks OpenJPEG for six resolutions, which a smaller image does not have.
LEAST_SIDE = 32


def webp(
    patch: NDArray[np.uint8], level: float, rng: np.random.Generator | None = None
) -> NDArray[np.uint8]:
    """Compress as lossy WebP at a quality of ``level`` (1 to 100), decode again."""
    return _recompressed(patch, ".webp", "WebP", [cv2.IMWRITE_WEBP_QUALITY, int(level)])


def jpeg2000(
    patch: NDArray[np.uint8], level: float, rng: np.random.Generator | None = None
) -> NDArray[np.uint8]:
    """Compress as JPEG 2000 to about one ``level``-th of the patch's bytes, decode again.

    A patch with a side below ``LEAST_SIDE`` pixels is mirrored up to that, and cropped again.
    """
    height, width = patch.shape[:2]
    below, right = max(0, LEAST_SIDE - height), max(0, LEAST_SIDE - width)
    padded = cv2.copyMakeBorder(patch, 0, below, 0, right, cv2.BORDER_REFLECT_101)
    options = [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, round(1000 / level)]
    return _recompressed(padded, ".jp2", "JPEG 2000", options)[:height, :width].copy()


def _recompressed(
    image: NDArray[Any], suffix: str, name: str, options: Sequence[int]
) -> NDArray[np.uint8]:
    """Encode uint8 RGB and decode it. Raises HarnessError where OpenCV has no such codec."""
    if not cv2.haveImageWriter(f"image{suffix}"):
        raise HarnessError(
            f"OpenCV {cv2.__version__} was built without {name}; install the wheel "
            "opencv-python-headless 4.9 or later from PyPI, which has it, or leave out this "
            "perturbation"
        )
    _, data = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)

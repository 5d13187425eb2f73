"""Perturbations of detail (blur, noise, resolution), and pixels or blocks out of their places."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from harness_perturbations.pixels import quantize


def gaussian_blur(
    patch: NDArray[np.uint8], level: float, rng: np.random.Generator | None = None
) -> NDArray[np.uint8]:
    """Blur with a Gaussian of standard deviation ``level`` in pixels; mirrored at the border."""
    return np.asarray(cv2.GaussianBlur(patch, (0, 0), level), np.uint8)


def gaussian_noise(
    patch: NDArray[np.uint8], level: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Add Gaussian noise of standard deviation ``level`` in gray levels, drawn from ``rng``.

    Independent in each pixel and channel; clips.
    """
    noise = rng.standard_normal(patch.shape, np.float32)
    noise *= level
    noise += patch
    return quantize(noise)


def downsampling(
    patch: NDArray[np.uint8], level: float, rng: np.random.Generator | None = None
) -> NDArray[np.uint8]:
    """Shrink by a factor of ``level``, at least 1, by area, and enlarge again by cubic splines.

    What a scan at a lower magnification would look like. Sides are rounded to whole pixels.
    """
    height, width = patch.shape[:2]
    small = (max(1, round(width / level)), max(1, round(height / level)))
    shrunk = cv2.resize(patch, small, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def pixels_permuted(
    patch: NDArray[np.uint8], level: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Put the pixels in an order drawn from ``rng``; ``level`` means nothing.

    Pixels move whole, so the joint histogram of the three channels stays exactly as it was.
    """
    # An item a pixel, for numpy copies items faster than rows.
    pixels = np.ascontiguousarray(patch).view("V3").ravel()
    return pixels.take(rng.permutation(len(pixels))).view(np.uint8).reshape(patch.shape)


def blocks_permuted(
    patch: NDArray[np.uint8], level: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Put the square blocks of ``level`` pixels a side in an order drawn from ``rng``.

    Blocks move whole, so what is smaller than a block stays. Where a side is no multiple of the
    block's, the rest at its end stays in place; a patch of less than two blocks stays as it is.
    """
    size = int(level)
    rows, columns = patch.shape[0] // size, patch.shape[1] // size
    tiled = (slice(0, rows * size), slice(0, columns * size))
    blocks = patch[tiled].reshape(rows, size, columns, size, 3).swapaxes(1, 2)
    blocks = blocks.reshape(rows * columns, size, size, 3)[rng.permutation(rows * columns)]
    blocks = blocks.reshape(rows, columns, size, size, 3).swapaxes(1, 2)
    permuted = patch.copy()
    permuted[tiled] = blocks.reshape(rows * size, columns * size, 3)
    return permuted

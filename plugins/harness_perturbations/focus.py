"""Perturbations of optics and resolution: out of focus, moved while scanned, large pixels."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

# Samples a pixel, along each axis, from which the weights of kernels are counted.
FINE = 16


def defocus_blur(
    patch: NDArray[np.uint8], level: float, rng: np.random.Generator | None = None
) -> NDArray[np.uint8]:
    """Average over a disk with a radius of ``level`` pixels: a lens out of focus.

    The weight of a pixel is its share of the disk. Mirrored at the border.
    """
    return np.asarray(cv2.filter2D(patch, -1, _disk(float(level))), np.uint8)


def motion_blur(
    patch: NDArray[np.uint8], level: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Average along a path of ``level`` pixels, in a direction drawn from ``rng``.

    The path is straight, as that of a stage that moves while a camera exposes. Mirrored at the
    border.
    """
    path = _path(level, rng.uniform(0, np.pi))
    return np.asarray(cv2.filter2D(patch, -1, path), np.uint8)


def pixelation(
    patch: NDArray[np.uint8], level: float, rng: np.random.Generator | None = None
) -> NDArray[np.uint8]:
    """Shrink to a share of ``level`` of each side by area, and enlarge again to square pixels.

    The levels are those of MedMNIST-C for PathMNIST (arXiv:2406.17536). Its Pillow takes a pixel
    that two larger ones share for one of them, where area divides it between both.
    """
    height, width = patch.shape[:2]
    small = (max(1, int(width * level)), max(1, int(height * level)))
    shrunk = cv2.resize(patch, small, interpolation=cv2.INTER_AREA)
    large = cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(large, np.uint8)


@lru_cache(maxsize=64)
def _disk(radius: float) -> NDArray[np.float32]:
    """Weights of the pixels, summing to 1: the samples within the disk, counted."""
    radius = max(radius, 0.5)  # a smaller one lies within a pixel, too
    half = int(np.ceil(radius - 0.5))
    side = 2 * half + 1
    samples = (np.arange(side * FINE) + 0.5) / FINE - side / 2
    inside = samples[:, None] ** 2 + samples**2 <= radius**2
    return _shares(inside.reshape(side, FINE, side, FINE).sum(axis=(1, 3)))


def _path(length: float, angle: float) -> NDArray[np.float32]:
    """Weights of the pixels, summing to 1: the length of the path within each."""
    half = int(np.ceil(max(length - 1, 0) / 2))
    samples = 2 * FINE * (half + 1)
    # In the middle of their parts, so that none is at the end, which may be where two pixels meet.
    steps = length * ((np.arange(samples) + 0.5) / samples - 0.5)
    columns = np.rint(steps * np.cos(angle)).astype(int) + half
    rows = np.rint(steps * np.sin(angle)).astype(int) + half
    counts = np.zeros((2 * half + 1, 2 * half + 1))
    np.add.at(counts, (rows, columns), 1)
    return _shares(counts)


def _shares(counts: NDArray[Any]) -> NDArray[np.float32]:
    return np.asarray(counts / counts.sum(), np.float32)

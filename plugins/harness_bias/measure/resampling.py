"""Periodic traces of resampling: how strongly fine detail comes and goes along rows and columns.

A pixel that was interpolated between others has less detail than one that was taken over, and how
much less repeats with the pixels of the patch before (Gallagher, CRV 2005; Popescu and Farid, IEEE
Transactions on Signal Processing 53, 2005; Mahdian and Saic, IEEE Transactions on Information
Forensics and Security 3, 2008).
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

LENGTH = 256
"""Pixels of a row or column that are looked at, at most, and points of their spectrum."""
PERIOD = 16
"""Pixels after which what repeats is taken off: the grids of JPEG and of WebP."""
SMALLEST = 128
"""Pixels a side from which frequencies can be distinguished."""
RIM = 2
BLOCK = 16
"""Pixels a side of the blocks whose detail is that around a pixel."""
LOWEST = 0.066
"""Cycles per pixel of the lowest frequency that is looked at."""
BLOCKS, NEAR = 1 / 8, 0.013
"""Multiples of the former, and what is that near to them, are those of JPEG."""
TAKEN, DENT = 1 / PERIOD, 0.005
"""The same of what is taken off."""
LARGEST = 4.0
"""Times the detail around it that detail counts, at most."""
PLAIN = np.float32(1.0)
AROUND = 3, 7
"""How many points off the background of a point of the spectrum begins and ends."""
LEAST = 0.1
"""Of the median power, added before the logarithm."""

_EVERY = np.arange(LENGTH // 2 + 1) / LENGTH
_NEAR_BLOCKS, _NEAR_TAKEN = (
    np.abs(_EVERY - np.rint(_EVERY / step) * step) <= near
    for step, near in ((BLOCKS, NEAR), (TAKEN, DENT))
)
POINTS = np.flatnonzero((_EVERY >= LOWEST) & ~_NEAR_BLOCKS & ~_NEAR_TAKEN)
BACKGROUND = np.flatnonzero((_EVERY >= LOWEST) & ~_NEAR_TAKEN)
"""Points that a point is compared with. Those near the grid of JPEG count here, as the power of a
grid that comes and goes may reach past ``NEAR`` without any peak."""
FREQUENCIES: NDArray[np.float64] = _EVERY[POINTS]
"""Cycles per pixel of the points of a spectrum that are looked at."""


def extract(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """How far points of a spectrum stand out, of uint8 RGB (B, H, W, 3): float32 (B, F).

    The size of the second difference of brightness, both across and down, is divided by its mean
    around and averaged over each column, and over each row. Of both series the power spectra are
    added. Each number is the natural logarithm of the power at one of ``FREQUENCIES``, less the
    mean of those of the frequencies around. All 0 of patches smaller than ``SMALLEST``, or without
    any detail.
    """
    features = np.zeros((len(images), len(FREQUENCIES)), np.float32)
    if min(images.shape[1:3]) < SMALLEST:
        return features
    of_blocks = (images.shape[2] // BLOCK, images.shape[1] // BLOCK)
    for row, image in zip(features, images, strict=True):
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        detail = np.abs(cv2.Sobel(gray, cv2.CV_32F, 2, 2, ksize=3))
        blocks = cv2.resize(detail, of_blocks, interpolation=cv2.INTER_AREA) + PLAIN
        detail /= cv2.resize(blocks, gray.shape[::-1], interpolation=cv2.INTER_LINEAR)
        np.minimum(detail, LARGEST, out=detail)
        columns, rows = (cv2.reduce(detail, axis, cv2.REDUCE_AVG).ravel() for axis in (0, 1))
        power = _power(columns) + _power(rows)
        median = np.median(power)
        if median > 0:
            row[:] = _standing_out() @ np.log(power / median + LEAST)
    return features


def _power(series: NDArray[np.float32]) -> NDArray[np.float64]:
    """Power of a series at ``BACKGROUND``, (G,)."""
    n = min(len(series) - 2 * RIM, LENGTH) // PERIOD * PERIOD
    start = (len(series) - n) // 2
    turns = series[start : start + n].reshape(-1, PERIOD)
    spectrum = np.fft.rfft((turns - turns.mean(axis=0)).ravel() * _window(n), LENGTH)
    spectrum = spectrum[BACKGROUND]
    return np.asarray(np.square(spectrum.real) + np.square(spectrum.imag))


@cache
def _window(n: int) -> NDArray[np.float64]:
    return np.hanning(n)


@cache
def _standing_out() -> NDArray[np.float64]:
    """What takes the mean of the points around off each point, (F, G)."""
    apart = np.abs(POINTS[:, None] - BACKGROUND)
    around = ((apart >= AROUND[0]) & (apart <= AROUND[1])).astype(np.float64)
    return np.asarray((apart == 0) - around / around.sum(axis=1, keepdims=True))

"""The grid of 8 pixels that JPEG leaves as edges between its blocks, and how strong these are."""

from __future__ import annotations

from bisect import bisect_left
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from harness_bias.measure.jpeg_comb import DCT_2D, LUMA, Grid, from_blocks, in_blocks, steps

Pixels = NDArray[np.uint8]
Places = NDArray[np.float64]

JUMP = np.array([[-1, 3, -3, 1]], np.float32)
"""Third difference: a jump that the slopes on both sides do not explain. Fan and de Queiroz (IEEE
TIP 12(2), 2003) too compare differences across edges of blocks with those inside."""
INSIDE = (np.arange(8) + np.arange(2, 7)[:, None]) % 8
"""For each position, (5, 8), those at which JUMP, four pixels long, does not reach over it."""
MAX_JUMP = 16
"""Gray levels beyond which a jump is tissue. Of 4, 8 and 16 this finds most grids."""
MIN_T = 3.2
"""A grid is seen if its edges stand out by this t, both across and down. Of 110 real patches
each, halved, shrunk to a third, blurred with noise or rotated, none reached it."""
MIN_PERIODS = 8
"""With fewer blocks side by side t has too few degrees of freedom, and no grid is seen."""
UNEVEN, SLOPED = 0.6, 0.4
"""Enlarged patches have stripes, too, but those swell and fade over several pixels. As shares of
the height of an edge above the inside: how far any position inside may rise, and how much higher
than the middle those next to the edge may be. Of patches enlarged to 256, 299, 448 or 512 pixels,
by linear, cubic or Lanczos interpolation, up to all reach MIN_T, and none passes this; of real
grids 98 % do."""
LADDER = (20, 30, 40, 50, 60, 70, 80, 85, 90)
"""Qualities that are imitated. Of phantom patches compressed at 90, nearly all show their grid."""
MIN_JUMPS = 1.5
"""Mean jump, in gray levels, from which edges tell the quality. In smoother patches blocks are
flat, and what is left of their edges depends on the noise that the scanner made before."""
SMALLEST = 8 * MIN_PERIODS + 16
"""Pixels a side from which edges tell the quality."""


def positions(images: Pixels, axis: int) -> tuple[Places, NDArray[np.bool_], Places]:
    """The edges at each of the 8 positions of a grid along an axis of gray patches (B, H, W).

    Returns their log contrast to the inside of blocks, (B, 8), whether a grid is seen there,
    bool (B, 8), and the mean size of jumps, (B,).
    """
    sizes = np.empty((len(images), images.shape[1 + axis] - 3), np.float32)
    for row, gray in zip(sizes, images, strict=True):
        row[:] = _jumps(gray, axis)
    periods = sizes.shape[1] // 8
    by_period = sizes[:, : 8 * periods].astype(np.float64).reshape(len(images), periods, 8)
    by_period = by_period[..., (np.arange(8) - 2) % 8]
    # A tenth of a gray level keeps the contrast of flat blocks finite.
    inside = by_period[..., INSIDE].mean(axis=2)
    contrasts = np.log((by_period + 0.1) / (inside + 0.1))
    contrast = contrasts.mean(axis=1)
    if periods < MIN_PERIODS:
        seen = np.zeros(contrast.shape, bool)
    else:
        t = contrast / (contrasts.std(axis=1, ddof=1) / np.sqrt(periods) + 1e-3)
        seen = (t >= MIN_T) & _is_sharp(np.log(by_period + 0.1).mean(axis=1))
    return contrast, seen, sizes.mean(axis=1)


def _jumps(gray: Pixels, axis: int) -> NDArray[np.float32]:
    """The mean size of jumps at each place along an axis of a patch (H, W), clipped: (side - 3,).

    The first is between the second and the third pixel.
    """
    jumps = cv2.filter2D(gray, cv2.CV_16S, JUMP if axis else JUMP.reshape(4, 1))
    _, clipped = cv2.threshold(cv2.convertScaleAbs(jumps), MAX_JUMP, 0, cv2.THRESH_TRUNC)
    means = cv2.reduce(clipped, 1 - axis, cv2.REDUCE_AVG, dtype=cv2.CV_32F)
    return np.asarray(means.ravel()[2:-1], np.float32)


def _contrast(gray: Pixels) -> float:
    """The log contrast of ``positions``, of the first position of one patch, mean of both axes."""
    total = 0.0
    for axis in (1, 0):
        sizes = _jumps(gray, axis).astype(np.float64)
        by_period = sizes[: len(sizes) // 8 * 8].reshape(-1, 8)
        inside = by_period[:, 0:5].mean(axis=1)
        total += float(np.log((by_period[:, 6] + 0.1) / (inside + 0.1)).mean())
    return total / 2


def _is_sharp(heights: Places) -> NDArray[np.bool_]:
    """Whether edges at each position (B, 8) stand alone: bool (B, 8)."""
    inside = np.moveaxis(heights[:, INSIDE], 1, 0)
    inside = inside - (mean := inside.mean(axis=0))
    peak = heights - mean
    sloped = (inside[0] + inside[-1]) / 2 - inside[2]
    return np.asarray((inside.max(axis=0) <= UNEVEN * peak) & (sloped <= SLOPED * peak))


def quality_of_edges(
    gray: Pixels, grid: Grid, contrast: float, seen: bool, expected: int = 0
) -> float:
    """The JPEG quality that would leave edges of this log contrast in this very patch (H, W).

    What edges of a quality look like depends on the texture between them, so compression is
    imitated on the patch itself, its grid put off by half a block, until the contrast matches.
    Changes of color after compression scale edges and texture alike; as seen now, a patch that was
    stretched was compressed more. 0 if it cannot be told; 90 stands for 90 and more, and for no
    compression where that of 90 would have left a grid. ``expected``, if it is about right, saves
    imitations.
    """
    imitation = _Imitation(gray, ((grid[0] + 4) % 8, (grid[1] + 4) % 8))
    if not seen:
        return LADDER[-1] if _shows(imitation.of(LADDER[-1])) else 0
    edges = cache(lambda quality: _contrast(imitation.of(quality)))
    # Contrast falls as quality rises.
    place = bisect_left(LADDER, expected)
    between = 0 < place < len(LADDER)
    if not (between and edges(LADDER[place - 1]) > contrast >= edges(LADDER[place])):
        if contrast <= edges(LADDER[-1]):
            return LADDER[-1]
        place = bisect_left(LADDER[:-1], -contrast, key=lambda quality: -edges(quality))
    if place == 0:
        return LADDER[0]
    worse, better = LADDER[place - 1], LADDER[place]
    stronger, weaker = edges(worse), edges(better)
    share = (stronger - contrast) / max(stronger - weaker, 1e-9)
    return worse + (better - worse) * min(share, 1.0)


def _shows(gray: Pixels) -> bool:
    """Whether a patch (H, W) shows a grid at its corner."""
    return all(positions(gray[None], axis)[1][0, 0] for axis in (1, 0))


class _Imitation:
    """Luma compressed and decoded on a grid of ours."""

    def __init__(self, gray: Pixels, grid: Grid) -> None:
        x, y = grid
        self.rows, self.columns = (gray.shape[0] - y) // 8, (gray.shape[1] - x) // 8
        # In place, as new arrays of this size cost more time than the arithmetic.
        self.decoded = in_blocks(gray, grid).astype(np.float32)
        self.decoded -= 128
        self.coefficients = self.decoded @ DCT_2D
        self.levels = np.empty_like(self.coefficients)

    def of(self, quality: int) -> Pixels:
        """What a quality leaves, uint8 (H, W), the corner of a block at its own."""
        step = steps(LUMA)[quality - 1].astype(np.float32)
        levels = np.divide(self.coefficients, step, out=self.levels)
        np.rint(levels, out=levels)
        levels *= step
        decoded = np.matmul(levels, DCT_2D.T, out=self.decoded)
        decoded += 128
        np.rint(decoded, out=decoded)
        np.clip(decoded, 0, 255, out=decoded)
        return from_blocks(decoded.astype(np.uint8), self.rows, self.columns)

"""What the last JPEG compression left in a decoded patch: its grid, its quality, its chroma.

A decoder computes whole numbers Y, Cb, Cr and turns them into RGB. Neelamani et al., "JPEG
Compression History Estimation for Color Images", IEEE TIP 15(6), 2006, read the history of an
image from that lattice of colors and from DCT coefficients near multiples of their quantization
steps. That such combs show in histograms, and only where the grid is met, is from Fan and
de Queiroz, "Identification of Bitmap Compression History", IEEE TIP 12(2), 2003.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct
from scipy.special import ndtr

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
Grid = tuple[int, int]
"""Where the first whole block starts: x and y, 0 to 7."""

# RGB to YCbCr as in JFIF (ITU-T T.871), and the tables K.1 and K.2 of ITU-T T.81 for libjpeg.
TO_YCC = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32
)
RED_OF_CR, BLUE_OF_CB = np.float32(1.402), np.float32(1.772)
GREEN_OF_CB, GREEN_OF_CR = np.float32(-0.344136), np.float32(-0.714136)
LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)

DCT = np.asarray(dct(np.eye(8), axis=0, norm="ortho"), np.float32)  # (frequency, pixel)
DCT_2D = np.kron(DCT, DCT).T.copy()  # (pixel, frequency), both row by row
AC = list(range(1, 64))
"""Every frequency but the mean."""
LOW_AC = [8 * v + u for v in range(4) for u in range(4) if u or v]
"""Frequencies at which chroma is not mostly 0."""

ROUNDING = 12**-0.5
"""Standard deviation of a coefficient, as pixels are whole numbers: uniform over 1 gray level."""
STRAY = 0.02
"""Share of coefficients that need not fit the comb, a guess; it bounds what one can cost."""
BINS, BINS_A_UNIT = 512, 8
"""Histogram of a coefficient's size: by eighths, fine against ROUNDING, up to 64."""
ENOUGH_BLOCKS = 20
"""Blocks with clipped pixels are used only to make up this number. Of 20, 40, 60 and 80 it is best
for patches whose blue is saturated."""
LIVELY = 1.0
"""Variance of luma that a block needs. In flatter ones rounding is no noise: pixels round alike.
Of 0, 1/8, 1/4, 1/2, 1 and 2, this and 2 are best for smooth patches."""
SCAN = 128
"""Grids are tried on up to so many pixels a side; at qualities of 90 and above, where it matters,
all pixels found hardly more."""


@cache
def steps(table: tuple[tuple[int, ...], ...]) -> NDArray[np.int64]:
    """Quantization steps of libjpeg, int64 (100, 64): a row for each quality from 1 to 100."""
    quality = np.arange(1, 101)[:, None]
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    return np.asarray(np.clip((np.ravel(table) * scale + 50) // 100, 1, 255))


def planes(image: NDArray[np.uint8]) -> tuple[Floats, Floats, Floats]:
    """The whole-number Y, Cb and Cr, less 128, behind an RGB image (H, W, 3): float32 (H, W) each.

    Where RGB was decoded from them and not clipped this is exact, as the decoder's rounding of R,
    G and B moves none of the three by more than 0.5.
    """
    ycc = cv2.transform(image.astype(np.float32), TO_YCC)
    ycc[..., 0] -= 128
    y, cb, cr = cv2.split(np.rint(ycc, out=ycc))
    return np.asarray(y), np.asarray(cb), np.asarray(cr)


def decoded_share(image: NDArray[np.uint8], ycc: tuple[Floats, ...], unclipped: Bools) -> float:
    """Share of unclipped pixels whose color is one that a JPEG decoder can produce.

    Whole-number YCbCr reach 24 % of all RGB colors: about that share is found in patches that
    never were JPEG, or were changed since they were decoded, and nearly 1 right after decoding.
    """
    y, cb, cr = ycc
    red, green, blue = (image[..., channel] - (y + 128) for channel in range(3))
    same = np.abs(red - RED_OF_CR * cr) <= 0.5
    same &= np.abs(green - GREEN_OF_CB * cb - GREEN_OF_CR * cr) <= 0.5
    same &= np.abs(blue - BLUE_OF_CB * cb) <= 0.5
    return float((same & unclipped).sum() / max(1, unclipped.sum()))


def unsaturated_luma(image: NDArray[np.uint8], ycc: tuple[Floats, ...], unclipped: Bools) -> Floats:
    """Luma, float32 (H, W), with the pixels of clipped blue estimated from red and green.

    Two channels and Cb give Y, which depends on Cb but little. Cb is taken from unclipped pixels
    next to it: that works where chroma was subsampled and is therefore smooth.
    """
    y, cb, _ = ycc
    weight = unclipped.astype(np.float32)
    # Of widths of 0.7, 1, 2 and 9 pixels the first read most patches.
    total, number = (cv2.GaussianBlur(values, (0, 0), 0.7) for values in (cb * weight, weight))
    near = total / (number + 1e-6)
    red_share = GREEN_OF_CR / RED_OF_CR  # how Cr cancels in green - red_share * red
    mixed = (image[..., 1] - np.float32(128)) - red_share * (image[..., 0] - np.float32(128))
    return np.where(unclipped, y, (mixed - GREEN_OF_CB * near) / (1 - red_share))


def cleanest_blocks(unclipped: Bools, grid: Grid) -> tuple[NDArray[np.int64], int]:
    """Blocks of a grid without clipped pixels, as indices (blocks,), and their number.

    Other blocks do not hold what was coded; those with the fewest clipped pixels follow if needed.
    """
    clipped = 64 - in_blocks(unclipped, grid).sum(1)
    clean = int((clipped == 0).sum())
    return np.argsort(clipped, kind="stable")[: max(clean, ENOUGH_BLOCKS)], clean


def coefficients(
    plane: Floats, grid: Grid, blocks: NDArray[np.int64], frequencies: list[int]
) -> Floats:
    """DCT of some blocks of a plane (H, W): float32 (blocks, frequencies)."""
    return np.asarray(in_blocks(plane, grid)[blocks] @ DCT_2D[:, frequencies])


def in_blocks(plane: NDArray[Any], grid: Grid) -> NDArray[Any]:
    """The whole blocks of a plane (H, W), row by row: (blocks, 64)."""
    x, y = grid
    rows, columns = (plane.shape[0] - y) // 8, (plane.shape[1] - x) // 8
    inner = plane[y : y + 8 * rows, x : x + 8 * columns]
    # Eight pixels at a time: one by one takes ten times as long.
    eights = inner.view(f"V{8 * plane.itemsize}").reshape(rows, 8, columns).swapaxes(1, 2)
    return np.ascontiguousarray(eights).view(plane.dtype).reshape(rows * columns, 64)


def from_blocks(blocks: NDArray[Any], rows: int, columns: int) -> NDArray[Any]:
    """The plane (8 * rows, 8 * columns) whose blocks (blocks, 64) these are."""
    eights = blocks.view(f"V{8 * blocks.itemsize}").reshape(rows, columns, 8).swapaxes(1, 2)
    return np.ascontiguousarray(eights).view(blocks.dtype).reshape(8 * rows, 8 * columns)


def quality_scores(luma: Floats) -> Floats:
    """Log likelihood ratio of each libjpeg quality 1..100 to no compression: float32 (100,).

    ``luma`` holds the coefficients of luma at AC, float32 (blocks, 63).
    """
    luma = luma[np.square(luma).sum(1) > 64 * LIVELY]
    bins = (np.abs(luma) * BINS_A_UNIT + np.float32(0.5)).astype(np.int32)
    np.minimum(bins, BINS - 1, out=bins)
    bins += np.arange(63, dtype=np.int32) * BINS
    counts = np.bincount(bins.ravel(), minlength=63 * BINS).reshape(63, BINS)
    filled = 1 + np.flatnonzero(counts[:, :-1].any(axis=0)).max(initial=0)
    by_step = counts[:, :filled].astype(np.float32) @ _log_likelihoods()[:filled]
    return np.asarray(by_step[np.arange(63), steps(LUMA)[:, AC]].sum(1))


@cache
def _log_likelihoods() -> Floats:
    """Log likelihood ratio of a coefficient to a smooth density, by bin and step: (BINS, 256).

    The comb has normal teeth, ROUNDING wide, at the multiples of the step. A coefficient in the
    tooth at 0 counts for nothing, as smooth patches have many without any compression; one that
    would have been quantized to 0 and yet is not there speaks against the step.
    """
    size = np.arange(BINS)[:, None] / BINS_A_UNIT
    step = np.arange(1, 256)
    multiple = np.rint(size / step)
    distances = ((size - (multiple + k) * step) / ROUNDING for k in (-1, 0, 1))
    teeth = sum(np.exp(-0.5 * distance**2) for distance in distances)
    ratio = np.log(STRAY + (1 - STRAY) * step * teeth / (ROUNDING * np.sqrt(2 * np.pi)))
    ratio = np.where(multiple == 0, np.minimum(ratio, 0), ratio)
    ratio[-1] = 0  # this bin holds all that are larger
    return np.pad(ratio, ((0, 0), (1, 0))).astype(np.float32)


def whole_number_grid(luma: Floats, unclipped: Bools) -> Grid:
    """The grid at which DCT coefficients are nearest to whole numbers.

    Every step is a whole number, so this finds the grid at any quality, also where no edge of a
    block shows. The 15 lowest frequencies after the mean tell most: higher ones are mostly 0.
    """
    height, width = (min(side - 7, SCAN) // 8 * 8 for side in luma.shape)
    top, left = (luma.shape[0] - height - 7) // 2, (luma.shape[1] - width - 7) // 2
    inside = np.s_[top : top + height + 7, left : left + width + 7]
    # A window of 8 by 8 pixels is clean where the erosion of the unclipped ones is, at its corner.
    window = np.ones((8, 8), np.uint8)
    clean = cv2.erode(unclipped[inside].astype(np.uint8), window, anchor=(0, 0))
    mean, square = (
        cv2.blur(values, (8, 8), anchor=(0, 0)) for values in (luma[inside], luma[inside] ** 2)
    )
    useful = ((clean > 0) & (square - mean**2 > LIVELY))[:height, :width]
    nearness, number = np.zeros((2, height, width), np.float32)
    for u, across in enumerate(_sliding_dct(luma[inside].T)):
        size = np.abs(_sliding_dct(across.T)[0 if u else 1 :])
        counted = size > 0.5
        size -= np.rint(size)
        # The mean square distance to whole numbers is 1/12 where there is no comb.
        nearness += ((np.float32(1 / 12) - np.square(size, out=size)) * counted).sum(0)
        number += counted.sum(0, dtype=np.float32)
    nearness, number = (
        (values * useful).reshape(height // 8, 8, width // 8, 8).sum((0, 2))
        for values in (nearness, number)
    )
    y, x = divmod(int((nearness / np.sqrt(number + 1)).argmax()), 8)
    return (x + left) % 8, (y + top) % 8


def _sliding_dct(plane: Floats) -> Floats:
    """The 4 lowest frequencies of each 8 pixels in a column of (H, W): float32 (4, H - 7, W)."""
    starts = len(plane) - 7
    windows = np.stack([plane[k : k + starts] for k in range(8)])
    return (DCT[:4] @ windows.reshape(8, -1)).reshape(4, *windows.shape[1:])


def chroma_score(chroma: Floats, quality: int) -> float:
    """Log likelihood ratio of full chroma resolution to subsampling.

    ``chroma`` holds the coefficients of Cb or Cr at LOW_AC, float32 (blocks, 15). At full
    resolution nearly all lie within a quarter of their step from a multiple of it. Where chroma
    was interpolated from a coarser grid, half of them do.
    """
    step = steps(CHROMA)[quality - 1, LOW_AC].astype(np.float32)
    size = np.abs(chroma) / step
    # A coefficient in the tooth at 0 fits both. With small steps that tooth has no clear end.
    counted = size > np.where(step < 4, np.float32(0.5), np.float32(0.25))
    near = counted & (np.abs(size - np.rint(size)) < 0.25)
    hits, number = near.sum(0), counted.sum(0)
    rate = _near_rates()[quality - 1]
    return float(hits @ np.log(2 * rate) + (number - hits) @ np.log(2 - 2 * rate))


@cache
def _near_rates() -> NDArray[np.float64]:
    """Share of rounded multiples of a chroma step within a quarter of it, float64 (100, 15)."""
    spread = ROUNDING / steps(CHROMA)[:, LOW_AC]
    near = [ndtr((k + 0.25) / spread) - ndtr((k - 0.25) / spread) for k in range(-4, 5)]
    # Flat blocks round all their pixels alike, which moves coefficients farther than that.
    return np.asarray(np.minimum(np.sum(near, axis=0), 0.95))

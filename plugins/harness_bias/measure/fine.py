"""Fine traces: what is left of a patch's finest detail, in ratios that say little about tissue.

Blur, enlargement, noise and lossy compression change the finest detail of a patch, each in its own
way, and leave the coarse structure as it is. How much fine detail there is depends on the tissue as
well, so that every trace is a ratio: of detail to the next coarser detail of the same blocks, of
color to brightness, of quiet blocks to busy ones. The five numbers of structure at the end are of
detail of 8 pixels and more, and of color: what a trace still depends on is taken off by them.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.fft import rfft2

Plane = NDArray[np.float32]

TRACES = (
    *("fine_to_half", "quiet_to_busy", "quietest_to_busy"),
    *("spectrum_24", "spectrum_30", "spectrum_39", "spectrum_corner"),
    *("blue_fine_to_half", "blue_half_to_quarter", "red_fine_to_half", "red_half_to_quarter"),
    *("sparse", "flat", "blue_to_gray_fine", "blue_to_gray_half"),
)
STRUCTURE = ("coarse", "brightness", "density_sd", "blue_coarse", "red_coarse")
SHOWN = ("cutoff", "noise", "noise_dark", "noise_bright")
COLUMNS = (*TRACES, *STRUCTURE, *SHOWN, "judged")
OF_TRACES = slice(0, len(TRACES))
OF_STRUCTURE = slice(len(TRACES), len(TRACES) + len(STRUCTURE))
CUTOFF, NOISE, NOISE_DARK, NOISE_BRIGHT = map(COLUMNS.index, SHOWN)
JUDGED = len(COLUMNS) - 1

BLOCK = 8
SMALLEST = 64
"""Pixels a side from which there are blocks enough to compare."""
BRIGHT = 225.0
"""Mean gray level from which a block is empty slide. There detail is clipped or missing."""
FEWEST = 0.2
"""Share of blocks with tissue that a patch must have to be judged."""
PLAIN = 1.0
"""Coarse detail, in gray levels, below which there is no tissue to compare fine detail with."""
DETAIL = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6
"""Second difference both across and down, which edges leave nearly at 0 and whose response to white
noise is its standard deviation: Immerkær, Computer Vision and Image Understanding 64, 1996."""
TO_YCC = np.array(
    [[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]], np.float32
)
"""Brightness, blue and red difference as JPEG has them, not rounded."""
RINGS = (0.18, 0.24, 0.30, 0.36, 0.42, 0.46, 0.50, 0.60, 0.71)
"""Bounds of rings of spatial frequency, in cycles per pixel. The last ring is in the corners."""
BANDS = 40
"""Bands of equal width up to 0.5 cycles per pixel, among which the cut-off is looked for."""
ROUNDING = (0.299**2 + 0.587**2 + 0.114**2) / 12
"""Variance that rounding three channels to whole values leaves in their brightness."""
ABOVE = 10.0
"""How far above the power of that rounding there is detail."""
FLOOR = np.float32(0.05)
"""Gray levels added to detail before its logarithm, so that perfectly flat blocks stay finite."""


def extract(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Fine traces and structure of uint8 RGB (B, H, W, 3): float32 (B, 25), as in ``COLUMNS``.

    All but ``flat``, ``brightness`` and ``judged`` are differences of natural logarithms. Detail is
    the root mean square of ``DETAIL`` over the blocks with tissue, at full, half, quarter and
    eighth resolution.

    - ``fine_to_half``: detail at full to that at half resolution, in the fifth of the blocks with
      the most detail at quarter resolution; ``quiet_to_busy``: full detail of the fifth with the
      least to that of those; ``quietest_to_busy``: the tenth percentile of all blocks to the same;
    - ``spectrum_24`` and so on: half the log ratio of the power at frequencies around 0.27, 0.33,
      0.44 cycles per pixel, and in the corners, to that at the frequencies before;
    - ``blue_fine_to_half`` and so on: the same of the color differences over all blocks;
    - ``sparse``: mean square to squared mean of the detail: high where it is 0 in most places;
    - ``flat``: log of the share of pixels without any detail;
    - ``blue_to_gray_fine``, ``blue_to_gray_half``: detail of color to that of brightness;
    - ``coarse``, ``blue_coarse``, ``red_coarse``: log detail at an eighth, of color as a ratio to
      that of brightness; ``brightness``: mean gray level over 30; ``density_sd``: three times the
      standard deviation of optical density;
    - ``cutoff``: the highest frequency, in cycles per pixel up to 0.5, whose power is ``ABOVE``
      that of rounding to whole values; ``noise``: the detail of the quietest tenth of the blocks in
      gray levels, ``noise_dark`` and ``noise_bright`` of those in the darker and the brighter half.
      These are shown, as they depend on the tissue, and nothing is judged by them;
    - ``judged``: 1 if there are enough blocks with tissue, else 0 and all else 0.
    """
    features = np.zeros((len(images), len(COLUMNS)), np.float32)
    if min(images.shape[1:3]) >= SMALLEST:
        for row, image in zip(features, images, strict=True):
            _describe(image, row)
    return features


def _describe(image: NDArray[np.uint8], row: NDArray[np.float32]) -> None:
    """Fill the features of one patch."""
    height, width = (side // BLOCK * BLOCK for side in image.shape[:2])
    planes: Plane = np.asarray(
        cv2.transform(image[:height, :width].astype(np.float32), TO_YCC), np.float32
    )
    smaller = {1: planes}
    for by in (2, 4, 8):
        size = (width // by, height // by)
        small = cv2.resize(smaller[by // 2], size, interpolation=cv2.INTER_AREA)
        smaller[by] = np.asarray(small, np.float32)
    eighth = smaller[8][..., 0].ravel()
    tissue = eighth < BRIGHT
    if tissue.mean() < FEWEST:
        return
    details = {
        by: np.asarray(cv2.filter2D(plane, -1, DETAIL), np.float32) for by, plane in smaller.items()
    }
    squares = {
        by: _squares(detail, by, (height, width))[:, tissue] for by, detail in details.items()
    }
    logs = {by: _log(of_blocks) for by, of_blocks in squares.items()}
    coarse, blue_coarse, red_coarse = logs[8]
    if coarse < np.log(PLAIN):
        return
    fine, half, quarter = (squares[by][0] for by in (1, 2, 4))
    order = np.argsort(quarter)
    fifth = max(1, len(order) // 5)
    busy, quiet = order[-fifth:], order[:fifth]
    busy_fine, quiet_fine, busy_half = (
        _log(some) for some in (fine[busy], fine[quiet], half[busy])
    )
    rings, cutoff = _rings(planes[..., 0])
    dark = eighth[tissue] < np.median(eighth[tissue])
    detail = np.abs(details[1][1:-1, 1:-1, 0])
    density = -np.log((eighth[tissue] + 1) / 256)
    gray_fine, blue_fine, red_fine = logs[1]
    gray_half, blue_half, red_half = logs[2]
    _, blue_quarter, red_quarter = logs[4]
    row[:] = (
        *(busy_fine - busy_half, quiet_fine - busy_fine),
        np.log(np.sqrt(_tenth(fine)) + FLOOR) - busy_fine,
        *(rings[1] - rings[0], rings[3] - rings[1], rings[5] - rings[3], rings[7] - rings[5]),
        *(blue_fine - blue_half, blue_half - blue_quarter),
        *(red_fine - red_half, red_half - red_quarter),
        np.log(np.square(detail).mean() + 0.01) - 2 * np.log(detail.mean() + 0.1),
        np.log((detail < 0.1).mean() + 0.01),
        *(blue_fine - gray_fine, blue_half - gray_half),
        *(coarse, planes[..., 0].mean() / 30, 3 * density.std()),
        *(blue_coarse - coarse, red_coarse - coarse),
        *(cutoff, *(np.sqrt(_tenth(some)) for some in (fine, fine[dark], fine[~dark]))),
        1,
    )


def _squares(detail: Plane, by: int, shape: tuple[int, int]) -> Plane:
    """Mean squares of detail (H, W, 3) at a size in each block of the patch, (3, blocks)."""
    squares = np.square(detail)
    if by < BLOCK:
        blocks = (shape[1] // BLOCK, shape[0] // BLOCK)
        squares = np.asarray(cv2.resize(squares, blocks, interpolation=cv2.INTER_AREA), np.float32)
    return np.ascontiguousarray(squares.reshape(-1, 3).T)


def _log(squares: Plane) -> Any:
    """Log of the root mean of squares (..., blocks)."""
    return np.log(np.sqrt(squares.mean(axis=-1)) + FLOOR)


def _tenth(squares: Plane) -> float:
    """The tenth percentile, as that of numpy, which takes 80 microseconds for its arguments."""
    if not len(squares):
        return 0.0
    place, share = divmod(0.1 * (len(squares) - 1), 1)
    low = int(place)
    ordered = np.partition(squares, [low, min(low + 1, len(squares) - 1)])
    return float(ordered[low] + share * (ordered[min(low + 1, len(squares) - 1)] - ordered[low]))


def _rings(gray: Plane) -> tuple[NDArray[np.float64], float]:
    """Half the log of the power in each of ``RINGS``, (8,), of a patch faded out at its sides.

    And the cut-off, in cycles per pixel.
    """
    window, place, counts = _frequencies(gray.shape)
    spectrum = rfft2((gray - gray.mean()) * window)
    squares = np.square(spectrum.real) + np.square(spectrum.imag)
    power = np.bincount(place, squares.ravel(), counts.size).reshape(counts.shape)
    in_rings = power.sum(axis=1)[1:-1] / np.maximum(counts.sum(axis=1)[1:-1], 1)
    in_bands = power.sum(axis=0)[:-1] / np.maximum(counts.sum(axis=0)[:-1], 1)
    seen = np.flatnonzero(in_bands > ABOVE * ROUNDING * np.square(window).sum())
    cutoff = 0.5 * (seen[-1] + 1) / BANDS if len(seen) else 0.0
    return np.asarray(np.log(in_rings + 1) / 2), float(cutoff)


@cache
def _frequencies(shape: tuple[int, int]) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[Any]]:
    """The window; the place of each frequency in a table of rings by bands; how many are in each.

    Rings 0 and 9 and the last band are of frequencies that are in none.
    """
    height, width = shape
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)).ravel()
    ring = np.searchsorted(RINGS, frequency, side="right")
    band = np.minimum(frequency * 2 * BANDS, BANDS).astype(np.int64)
    table = (len(RINGS) + 1, BANDS + 1)
    place = ring * table[1] + band
    counts = np.bincount(place, minlength=table[0] * table[1]).reshape(table)
    window = np.outer(np.hanning(height), np.hanning(width)).astype(np.float32)
    return window, place, counts

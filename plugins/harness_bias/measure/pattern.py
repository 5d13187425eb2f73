"""The fixed pattern of a camera: what stays of fine residuals at the same place of every patch.

Pixels of a sensor differ in how much they make of the same light, by about a percent. Patches that
are whole frames of one camera share that pattern (photo response non-uniformity: Lukáš, Fridrich
and Goljan, IEEE Transactions on Information Forensics and Security 1, 2006).
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

RIM = 16
"""Pixels at each side that are left out. What lies there is a frame or a mark."""
PERIOD = 16
"""Pixels after which a pattern that repeats is no camera's: blocks of JPEG with chroma halved."""
BLOCK = 8
"""Pixels a side of the blocks whose detail is that around a pixel."""
GRID = 16
"""Cells a side, each with one sum."""
SMALLEST = 2 * RIM + 4 * GRID
"""Pixels a side from which cells have 16 pixels each."""
LARGEST = 2.5
"""Times the detail around it that a residual counts, at most, so that no edge outweighs others."""
PLAIN = np.float32(1.0)
"""Detail, as the filter gives it, that is added to that around a pixel. Plain glass has no more."""
GAIN = 6.0
"""Standard deviation that the filter gives white noise of standard deviation 1."""
EMPTY = 0.1
"""Mean square of the residuals from which a patch is judged; of tissue it is about 1."""
SKETCH = slice(0, GRID * GRID)
RESPONSE = GRID * GRID
COLUMNS = (*(f"cell_{y}_{x}" for y in range(GRID) for x in range(GRID)), "response")


def extract(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Residuals at fixed places of uint8 RGB (B, H, W, 3), folded: float32 (B, 257).

    The residual is the second difference of brightness both across and down, divided by its mean
    size around and limited. What repeats every ``PERIOD`` pixels, and means of rows and of columns,
    are taken off: grids of JPEG and stripes are no pattern of a camera. The first 256 numbers are,
    for each cell of a grid of 16 by 16, the sum of the residuals times fixed random signs (Count
    Sketch: Charikar, Chen and Farach-Colton, ICALP 2002), divided by the norm of all residuals:
    products of two such sketches are those of the residuals on average. ``response`` says how much
    of a sketch a pattern is: its norm for a pattern whose standard deviation is all of the
    brightness.

    All 0 where a patch is smaller than ``SMALLEST``, or plain.
    """
    features = np.zeros((len(images), len(COLUMNS)), np.float32)
    if min(images.shape[1:3]) < SMALLEST:
        return features
    height, width = ((side - 2 * RIM) // PERIOD * PERIOD for side in images.shape[1:3])
    signs = _signs(height, width)
    for row, image in zip(features, images, strict=True):
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        filtered = cv2.Sobel(gray, cv2.CV_32F, 2, 2, ksize=3)
        inside = slice(RIM, RIM + height), slice(RIM, RIM + width)
        _fold(gray[inside], filtered[inside], signs, row)
    return features


def _fold(
    gray: NDArray[np.uint8],
    filtered: NDArray[np.float32],
    signs: NDArray[np.float32],
    row: NDArray[np.float32],
) -> None:
    """Fill the features of one patch."""
    height, width = gray.shape
    of_blocks = (width // BLOCK, height // BLOCK)
    blocks = cv2.resize(np.abs(filtered), of_blocks, interpolation=cv2.INTER_AREA) + PLAIN
    residual = filtered / cv2.resize(blocks, (width, height), interpolation=cv2.INTER_LINEAR)
    np.clip(residual, -LARGEST, LARGEST, out=residual)
    of_rows = residual.reshape(height // PERIOD, PERIOD * width)
    repeated = of_rows.mean(axis=0).reshape(PERIOD, width // PERIOD, PERIOD).mean(axis=1)
    of_rows -= np.tile(repeated, width // PERIOD).ravel()
    residual -= residual.mean(axis=0)
    residual -= residual.mean(axis=1, keepdims=True)
    squares = float(np.vdot(residual, residual))
    if squares < EMPTY * residual.size:
        return
    cells = cv2.resize(residual * signs, (GRID, GRID), interpolation=cv2.INTER_AREA)
    norm = np.sqrt(squares)
    row[SKETCH] = cells.ravel() * (residual.size / GRID**2 / norm)
    share = cv2.resize(gray, of_blocks, interpolation=cv2.INTER_AREA) / blocks
    row[RESPONSE] = GAIN * np.sqrt(np.square(share).mean() * residual.size) / norm


@cache
def _signs(height: int, width: int) -> NDArray[np.float32]:
    """A fixed random sign for each pixel, (H, W)."""
    rng = np.random.default_rng(0)
    return rng.choice(np.array([-1, 1], np.float32), (height, width))

"""What lies at a fixed place of a patch: its frame, its corners, and each cell of a grid."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

GRID = 14
"""Cells a side: 16 pixels each of a patch of 224."""
SIDES = ("top", "bottom", "left", "right")
CORNERS = ("top left", "top right", "bottom left", "bottom right")
CORNER = 6
"""Pixels a side of a corner."""
CELLS = slice(0, GRID * GRID)
EDGES = slice(GRID * GRID, GRID * GRID + 12)
BANDS = slice(EDGES.stop, EDGES.stop + 12)
IN_CORNERS = slice(BANDS.stop, BANDS.stop + 4)
STRIPES = 56
"""Stripes of rows, and of columns: 4 pixels each of a patch of 224."""
IN_STRIPES = slice(IN_CORNERS.stop, IN_CORNERS.stop + 2 * STRIPES)
FALL = IN_STRIPES.stop
KINDS = (CELLS, EDGES, BANDS, IN_CORNERS, IN_STRIPES, slice(FALL, FALL + 1))
"""Columns of one kind."""
COLUMNS = (
    *(f"cell in row {y + 1}, column {x + 1} of {GRID}" for y in range(GRID) for x in range(GRID)),
    *(f"outermost line at the {side}, {c}" for side in SIDES for c in ("red", "green", "blue")),
    *(f"outer 4 lines at the {side}, {c}" for side in SIDES for c in ("red", "green", "blue")),
    *(f"corner at the {corner}" for corner in CORNERS),
    *(f"rows of stripe {k + 1} of {STRIPES}" for k in range(STRIPES)),
    *(f"columns of stripe {k + 1} of {STRIPES}" for k in range(STRIPES)),
    "brightness falling off from the middle",
)
_END = 1 - 1 / GRID  # the middle of the outermost cell, where the side of the patch is at 1
_Y, _X = np.mgrid[-_END : _END : GRID * 1j, -_END : _END : GRID * 1j]
_RADIAL = (_X**2 + _Y**2 - (_X**2 + _Y**2).mean()).ravel()


def extract(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What stands out at fixed places of uint8 RGB (B, H, W, 3), H and W at least 32.

    Returns float32 (B, 337), in gray levels, as named in ``COLUMNS``; all 0 of smaller patches:

    - how much brighter each cell of a grid of 14 by 14 is than the 3 by 3 around it;
    - for each side and channel, how much brighter the outermost line is than the next three, and
      the outermost four than the next four;
    - how much brighter each corner of 6 by 6 pixels is than what lies around it;
    - how much brighter each of 56 stripes of rows, and of columns, is than the seven around it;
    - how much darker the corners of the patch are than its middle, as light that falls off with the
      square of the distance explains it.

    Tissue knows no place: whatever it is, all of these are 0 on average.
    """
    features = np.zeros((len(images), len(COLUMNS)), np.float32)
    if min(images.shape[1:3]) < 32:
        return features
    for row, image in zip(features, images, strict=True):
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        cells = cv2.resize(gray, (GRID, GRID), interpolation=cv2.INTER_AREA).astype(np.float32)
        row[CELLS] = (cells - cv2.blur(cells, (3, 3))).ravel()
        lines = _lines(image)
        row[EDGES] = (lines[:, 0] - lines[:, 1:4].mean(axis=1)).ravel()
        row[BANDS] = (lines[:, :4].mean(axis=1) - lines[:, 4:].mean(axis=1)).ravel()
        for index, corner in enumerate(_corners(gray)):
            own = float(corner[:CORNER, :CORNER].mean())
            row[IN_CORNERS.start + index] = own - (4 * float(corner.mean()) - own) / 3
        row[IN_STRIPES] = np.concatenate([_stripes(gray), _stripes(gray.T)])
        row[FALL] = -2 * (cells.ravel() @ _RADIAL) / (_RADIAL @ _RADIAL)
    return features


def _lines(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Mean color of the outer 8 lines at each side, from the outside: float32 (4, 8, 3)."""
    top, bottom = image[:8], image[:-9:-1]
    left, right = image[:, :8].swapaxes(0, 1), image[:, :-9:-1].swapaxes(0, 1)
    sides = [side.mean(axis=1, dtype=np.float32) for side in (top, bottom, left, right)]
    return np.asarray(sides, np.float32)


def _stripes(gray: NDArray[np.uint8]) -> NDArray[np.float32]:
    """How much brighter stripes of rows are than the seven around them: float32 (56,)."""
    rows = cv2.reduce(gray, 1, cv2.REDUCE_AVG, dtype=cv2.CV_32F)
    stripes = cv2.resize(rows, (1, STRIPES), interpolation=cv2.INTER_AREA)
    return np.asarray(stripes - cv2.blur(stripes, (1, 7)), np.float32).ravel()


def _corners(gray: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """The corners with twice their side, each turned so that it begins at the corner."""
    n = 2 * CORNER
    flipped = gray[:, ::-1]
    return [gray[:n, :n], flipped[:n, :n], gray[::-1][:n, :n], flipped[::-1][:n, :n]]

"""Recompression of a patch as the patches of a class typically are, as far as that is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.data.jpeg import recompress
from harness_bias.measure import block_edges
from harness_bias.measure.compression import COLUMNS

QUALITY, CHROMA = COLUMNS.index("quality"), COLUMNS.index("chroma_subsampled")
EDGE_QUALITY = COLUMNS.index("edge_quality")


def typical(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """JPEG quality and chroma typical of patches, by their compression features (n, D): (2,).

    Medians: of the quality that patches were coded with, where half of them tell; else of that
    which their edges tell, where half do. The quality is 0 where neither is so, or where edges are
    weaker than those of 90. Chroma is 1 if subsampled, as it is taken to be where nothing is known.
    """
    chroma = values[values[:, CHROMA] >= 0, CHROMA]
    subsampled = float(np.median(chroma)) if len(chroma) else 1.0
    for column, useless in ((QUALITY, 101), (EDGE_QUALITY, block_edges.LADDER[-1])):
        told = values[values[:, column] > 0, column]
        if 2 * len(told) >= len(values):
            quality = float(np.median(told))
            return np.array([quality if quality < useless else 0, subsampled])
    return np.array([0, subsampled])


def recompress_as(
    patch: NDArray[np.uint8], level: float, rng: np.random.Generator, target: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """Recompress uint8 RGB (H, W, 3) as in ``target``, what ``typical`` says of a class.

    The patch stays as it is where no quality is known, as where a class shows no compression.
    """
    quality, subsampled = target
    if not round(quality):
        return patch
    return recompress(patch, round(quality), chroma="4:2:0" if subsampled >= 0.5 else "4:4:4")

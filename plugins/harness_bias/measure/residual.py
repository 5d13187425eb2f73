"""What a small network sees in the residuals of 8 by 8 blocks, wherever these lie."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from harness_bias.measure.fine import DETAIL, TO_YCC
from harness_bias.measure.jpeg_comb import in_blocks

BLOCK = 8
UNITS = 48
"""Units of the network for brightness, and as many for the blue difference."""
PLAIN = 0.3
"""Root mean square of a block's residual, in gray levels, below which it is left as small as it is:
what is rounding alone is not blown up."""
COLUMNS = tuple(f"{plane}_{unit}" for plane in ("gray", "blue") for unit in range(UNITS))


def extract(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Mean activations over all blocks of uint8 RGB (B, H, W, 3): float32 (B, 96).

    Brightness and the blue difference are filtered by the second difference across and down
    (``harness_bias.measure.fine.DETAIL``) and cut into blocks of 8 by 8, each divided by its root
    mean square. Every block goes through one layer of units with fixed random weights and a
    rectifier (random features: Rahimi and Recht, NIPS 2007), and each unit is averaged over the
    blocks: where a block lies in the patch, and so all structure of tissue, is lost. All 0 where
    the patch has no block.
    """
    features = np.zeros((len(images), len(COLUMNS)), np.float32)
    height, width = (side // BLOCK * BLOCK for side in images.shape[1:3])
    if not height or not width:
        return features
    weights = _weights()
    for row, image in zip(features, images, strict=True):
        # OpenCV is ten times as fast for three planes as for two.
        planes = cv2.transform(image[:height, :width].astype(np.float32), TO_YCC)
        for index, plane in enumerate(cv2.split(planes)[:2]):
            residual = np.asarray(cv2.filter2D(plane, -1, DETAIL), np.float32)
            pixels = in_blocks(residual, (0, 0))
            size = np.sqrt(np.einsum("ij,ij->i", pixels, pixels) / BLOCK**2)
            active = pixels @ weights
            np.maximum(active, 0, out=active)
            row[index * UNITS : (index + 1) * UNITS] = (
                (1 / np.maximum(size, PLAIN)) @ active / len(size)
            )
    return features


@cache
def _weights() -> NDArray[np.float32]:
    """Fixed random weights, (64, UNITS), each unit's of norm 1."""
    weights = np.random.default_rng(0).standard_normal((BLOCK * BLOCK, UNITS))
    return np.asarray(weights / np.linalg.norm(weights, axis=0), np.float32)

"""Perturbations of place: a patch turned, scaled or bent. What enters at the border is mirrored."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

# Pixels between the nodes of the grid that bends a patch: the width of three nuclei or so at 0.5
# micrometers a pixel, so that tissue bends and nuclei keep their shape.
SPACING = 48
# The edge is repeated. Without that OpenCV 5.0 never returns from a bicubic warp of a patch with a
# side of one pixel.
BORDER = cv2.BORDER_REFLECT


def rotation(
    patch: NDArray[np.uint8], level: float, rng: np.random.Generator | None = None
) -> NDArray[np.uint8]:
    """Turn the patch by ``level`` degrees, counterclockwise, about its center; bicubic."""
    return _about_center(patch, level, 1.0)


def zoom(
    patch: NDArray[np.uint8], level: float, rng: np.random.Generator | None = None
) -> NDArray[np.uint8]:
    """Scale what is seen by ``level`` about the center, above 1 larger; bicubic.

    As of a scanner whose pixels have another size.
    """
    return _about_center(patch, 0.0, level)


def elastic(patch: NDArray[np.uint8], level: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Bend the patch: each pixel comes from a place about ``level`` pixels off, by a smooth field.

    After Simard et al., ICDAR 2003 (doi:10.1109/ICDAR.2003.1227801). The two components of the
    field have a standard deviation of ``level`` on a grid ``SPACING`` pixels apart, drawn from
    ``rng``, and are interpolated between by cubic splines; bilinear in the patch.
    """
    height, width = patch.shape[:2]
    # Two more nodes than the patch needs, for the spline is flat beyond the last.
    nodes = (height // SPACING + 3, width // SPACING + 3, 2)
    offsets = level * rng.standard_normal(nodes, np.float32)
    size = (nodes[1] * SPACING, nodes[0] * SPACING)
    field = cv2.resize(offsets, size, interpolation=cv2.INTER_CUBIC)
    field = field[SPACING : SPACING + height, SPACING : SPACING + width]
    rows, columns = np.indices((height, width), np.float32)
    x, y = columns + field[..., 0], rows + field[..., 1]
    bent = cv2.remap(patch, x, y, cv2.INTER_LINEAR, borderMode=BORDER)
    return np.asarray(bent, np.uint8)


def _about_center(patch: NDArray[np.uint8], degrees: float, scale: float) -> NDArray[np.uint8]:
    height, width = patch.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, scale)
    moved = cv2.warpAffine(
        patch,
        matrix,
        (width, height),
        flags=cv2.INTER_CUBIC,
        borderMode=BORDER,
    )
    return np.asarray(moved, np.uint8)

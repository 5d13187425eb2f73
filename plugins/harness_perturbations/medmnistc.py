"""Corruptions of MedMNIST-C for PathMNIST that differ from the perturbations of the other modules.

Di Salvo et al. 2024 (arXiv:2406.17536). Parameters are those of their release 0.1.0, made for
patches of 224 pixels; random numbers are ours, so that patches are like theirs and not the same.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from harness_perturbations.pixels import quantize

# By severity, from 1: half the length of the path, and the standard deviation along it, in pixels.
PATHS = ((5, 5), (10, 5), (15, 5), (15, 8), (15, 12))
# By severity, from 1: the greatest radius in pixels, and the greatest number.
BUBBLES = ((7, 15), (10, 15), (12, 15), (15, 20), (17, 25))
LEAST_RADIUS, LEAST_BUBBLES, BORDER = 3, 7, 2
# Opacity of the white of a bubble and of its border.
INSIDE, RIM = 100, 130


def motion_blur(
    patch: NDArray[np.uint8], level: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Trail pixels to one side, fading as half a Gaussian, at a severity of ``level`` (1 to 5).

    ImageMagick's motion blur, within 45 degrees of horizontal. Mirrored at the border.
    """
    radius, deviation = PATHS[int(level) - 1]
    angle = rng.uniform(-np.pi / 4, np.pi / 4)
    steps = np.arange(2 * radius + 1)
    columns = np.rint(steps * np.cos(angle)).astype(int)
    rows = np.rint(steps * np.sin(angle)).astype(int)
    rows -= rows.min()
    trail = np.zeros((rows.max() + 1, columns.max() + 1), np.float32)
    np.add.at(trail, (rows, columns), np.exp(-(steps**2) / (2 * deviation**2)))
    start = int(columns[0]), int(rows[0])
    return np.asarray(cv2.filter2D(patch, -1, trail / trail.sum(), anchor=start), np.uint8)


def saturate(
    patch: NDArray[np.uint8], level: float, rng: np.random.Generator | None = None
) -> NDArray[np.uint8]:
    """Add ``level`` to the saturation of HSV, in 0..1; clips. Gray becomes reddish, as theirs."""
    hsv = cv2.cvtColor(patch.astype(np.float32), cv2.COLOR_RGB2HSV)
    hsv[..., 1] = np.clip(hsv[..., 1] + level, 0, 1)
    return quantize(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))


def bubble(patch: NDArray[np.uint8], level: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Whiten disks with a lighter border, of a number, radius and place drawn from ``rng``.

    ``level`` is the severity (1 to 5). A disk hides the part of another that it covers.
    """
    greatest, most = BUBBLES[int(level) - 1]
    height, width = patch.shape[:2]
    white = np.zeros((height, width), np.uint8)
    for _ in range(rng.integers(LEAST_BUBBLES, most + 1)):
        radius = int(rng.integers(LEAST_RADIUS, greatest + 1))
        center = round(rng.uniform(0, width)), round(rng.uniform(0, height))
        cv2.circle(white, center, radius + BORDER, RIM, cv2.FILLED)
        cv2.circle(white, center, radius, INSIDE, cv2.FILLED)
    share = white[..., None] / np.float32(255)
    return quantize(patch + share * (255 - patch))

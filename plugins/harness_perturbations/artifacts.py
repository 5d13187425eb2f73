"""Perturbations of preparation: what lies on a slide, in the mounting medium or in the stain.

Sizes are those seen at 0.5 micrometers a pixel. What an artifact does not cover stays bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from harness_perturbations.pixels import quantize

# How densely red, green and blue light is absorbed. Inks of felt pens: black, blue, green, red.
INKS = np.array([[1.0, 1.0, 0.95], [1.0, 0.7, 0.15], [1.0, 0.25, 0.7], [0.15, 1.0, 0.85]])
# Optical density of precipitated hematoxylin: nearly black, with some blue.
DEPOSIT = np.array([2.0, 2.1, 1.3])
# Optical density of a gray level, counted from 1, so that black has one.
DENSITY = -np.log(np.arange(1.0, 257.0) / 256).astype(np.float32)
# Share of light that passes dust.
DUST = 0.15
# Fractional bits of coordinates that OpenCV draws at.
BITS = 4


def air_bubbles(
    patch: NDArray[np.uint8], level: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Put an air bubble with a radius of ``level`` pixels at a place drawn from ``rng``.

    Its rim refracts light away and is dark, with a bright line inside; within, tissue is out of
    focus and washed out. The rim is a tenth of the radius wide.
    """
    distance = _distance(patch, rng) - level
    rim = max(0.1 * level, 1.0)
    inside = np.clip(-distance, 0, 1)[..., None]
    blurred = cv2.GaussianBlur(patch, (0, 0), 1.5).astype(np.float32)
    washed = blurred + 0.3 * (255 - blurred)
    bright = np.exp(-(((distance + 1.5 * rim) / (0.5 * rim)) ** 2))[..., None]
    washed += 0.6 * bright * (255 - washed)
    dark = 1 - 0.75 * np.exp(-(((distance + 0.5 * rim) / (0.4 * rim)) ** 2))[..., None]
    return quantize(patch + inside * (washed * dark - patch))


def dust(patch: NDArray[np.uint8], level: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Strew ``level`` dark specks over the patch, a tenth of them fibers; drawn from ``rng``.

    Specks are 1 to 4 pixels in radius, and out of focus, as they do not lie in the tissue.
    """
    mask = np.zeros(patch.shape[:2], np.uint8)
    for _ in range(int(level)):
        center = _place(patch, rng)
        long, narrow = rng.uniform(1, 4), rng.uniform(0.5, 1)
        angle, fiber = rng.uniform(0, 360), rng.random() < 0.1
        axes = (4 * long, 0.7) if fiber else (long, narrow * long)
        _ellipse(mask, center, axes, angle)
    return _dimmed(patch, cv2.GaussianBlur(mask, (0, 0), 0.8), -np.log(DUST) * np.ones(3))


def stain_deposits(
    patch: NDArray[np.uint8], level: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Strew ``level`` clusters of precipitated hematoxylin over the patch, drawn from ``rng``.

    Each is of 4 to 12 sharp, nearly black granules, 0.7 to 3 pixels in radius.
    """
    mask = np.zeros(patch.shape[:2], np.uint8)
    for _ in range(int(level)):
        granules = rng.integers(4, 13)
        centers = _place(patch, rng) + rng.normal(0, 5, (granules, 2))
        radii, angles = rng.uniform(0.7, 3, granules), rng.uniform(0, 180, granules)
        for center, radius, angle in zip(centers, radii, angles, strict=True):
            _ellipse(mask, center, (radius, 0.8 * radius), angle)
    return _dimmed(patch, mask, DEPOSIT)


def tissue_folds(
    patch: NDArray[np.uint8], level: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Lay ``level`` more layers of tissue over a band of the patch: a fold.

    The layers are the patch itself, mirrored, and their optical density adds to what is there, so
    that a fold darkens only. The band crosses the patch and is a tenth to a fifth of its longer
    side wide, at a place and in a direction drawn from ``rng``; its edge is soft.
    """
    half = rng.uniform(0.05, 0.1) * max(patch.shape[:2])
    across = np.abs(_across(patch, rng))
    layers = level * np.clip((half - across) / (0.3 * half), 0, 1)[..., None]
    density = cv2.LUT(cv2.flip(patch, -1), DENSITY)
    return _behind(patch, np.exp(-layers * density))


def pen_marks(
    patch: NDArray[np.uint8], level: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Draw a stroke of a felt pen over the patch, whose ink has an optical density of ``level``.

    In natural logarithms, in the color that the ink absorbs most. The stroke crosses the patch and
    is a quarter to a half of its longer side wide; ink, place and direction are drawn from ``rng``.
    """
    ink = INKS[rng.integers(len(INKS))]
    half = rng.uniform(0.125, 0.25) * max(patch.shape[:2])
    covered = np.clip(half - np.abs(_across(patch, rng)), 0, 1)
    return _dimmed(patch, quantize(255 * covered), level * ink)


def _place(patch: NDArray[np.uint8], rng: np.random.Generator) -> tuple[float, float]:
    """Column and row of a point of the patch."""
    height, width = patch.shape[:2]
    return rng.uniform(0, width), rng.uniform(0, height)


def _distance(patch: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.float32]:
    """Distance of each pixel, (H, W), from a point of the patch."""
    column, row = _place(patch, rng)
    rows, columns = np.ogrid[: patch.shape[0], : patch.shape[1]]
    return np.asarray(np.hypot(rows - row, columns - column), np.float32)


def _across(patch: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.float32]:
    """Distance of each pixel, (H, W), with a sign, from a wavy line across the patch.

    The line goes through a point of the middle half of the patch.
    """
    height, width = patch.shape[:2]
    column, row = rng.uniform(0.25, 0.75, 2) * (width, height)
    angle, phase = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi)
    rows, columns = np.ogrid[:height, :width]
    x, y = columns - column, rows - row
    along = x * np.cos(angle) + y * np.sin(angle)
    across = y * np.cos(angle) - x * np.sin(angle)
    size = max(height, width)
    return np.asarray(across + 0.02 * size * np.sin(2 * np.pi * along / size + phase), np.float32)


def _ellipse(
    mask: NDArray[np.uint8],
    center: Sequence[float] | NDArray[np.float64],
    axes: tuple[float, float],
    angle: float,
) -> None:
    """Fill an ellipse of a mask with 255, edges smoothed. Lengths are pixels, the angle degrees."""
    x, y = (round(value * 2**BITS) for value in center)
    long, short = (round(value * 2**BITS) for value in axes)
    cv2.ellipse(mask, (x, y), (long, short), angle, 0, 360, 255, cv2.FILLED, cv2.LINE_AA, BITS)


def _dimmed(
    patch: NDArray[np.uint8], mask: NDArray[Any], density: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """The patch behind something of an optical density (3,), as far as a mask, uint8, covers it."""
    light = np.exp(-density * np.arange(256)[:, None] / 255).astype(np.float32)  # by mask value
    return _behind(patch, cv2.LUT(cv2.merge([mask, mask, mask]), light[None]))


def _behind(patch: NDArray[np.uint8], light: NDArray[Any]) -> NDArray[np.uint8]:
    """The patch, of whose light only a share, float32 (H, W, 3), passes; rounded."""
    return np.asarray(cv2.multiply(patch, light, dtype=cv2.CV_8U), np.uint8)

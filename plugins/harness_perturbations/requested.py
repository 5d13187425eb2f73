"""Perturbations that are made only when they are named, and what their levels are.

They are apart from the others so that a mean over those keeps its meaning, and because together
they would take about as long again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import Option

if TYPE_CHECKING:
    from harness_perturbations import Row

LENGTH = Option(5.0, ge=0, help="length of the path in pixels; up to 1 changes nothing")
RADIUS = Option(2.0, ge=0, help="radius in pixels; up to 0.5 changes nothing")
SHARE = Option(
    0.5, gt=0, le=1, help="share of the side that is kept; 1 changes nothing. MedMNIST-C: the same"
)
BUBBLE = Option(32.0, ge=0, help="radius of the bubble in pixels; 0: none")
SPECKS = Option(10, ge=0, help="number of specks; 0: none")
LAYERS = Option(1.0, ge=0, help="layers of tissue on top; 0: none")
INK = Option(0.6, ge=0, help="optical density of the ink, natural logarithm; 0: none")
CLUSTERS = Option(3, ge=0, help="number of clusters; 0: none")
BEND = Option(2.0, ge=0, help="standard deviation of displacements in pixels; 0: none")
DEGREES = Option(5.0, help="degrees counterclockwise; 0 changes nothing")
SCALE = Option(1.1, gt=0, help="factor by which things grow; 1 changes nothing")
DRAWN = Option(0.5, ge=0, le=1, help="share of the published standard deviations; 0: their means")
WEBP = Option(50, ge=1, le=100, help="quality as libwebp counts it")
RATIO = Option(40.0, ge=1, help="bytes of the pixels by bytes of the file")
SEVERITY = Option(3, ge=1, le=5, help="severity as published, for patches of 224 pixels")
ADDED = Option(0.1, ge=0, le=1, help="what is added to a saturation in 0 to 1; 0 changes nothing")
QUALITY = Option(30, ge=1, le=100, help="quality as libjpeg counts it")
REQUESTED: tuple[Row, ...] = (
    (
        "motion-blur",
        "Motion blur in a random direction, length in pixels",
        "focus:motion_blur",
        (2, 4, 7, 10, 14),
        LENGTH,
    ),
    (
        "defocus-blur",
        "Defocus blur by a disk, radius in pixels",
        "focus:defocus_blur",
        (1, 1.5, 2, 3, 5),
        RADIUS,
    ),
    (
        "pixelation",
        "Pixelated: shrunk to a share of the side, then square pixels",
        "focus:pixelation",
        (0.8, 0.6, 0.4, 0.3, 0.25),
        SHARE,
    ),
    (
        "air-bubbles",
        "Air bubble in the mounting medium, radius in pixels",
        "artifacts:air_bubbles",
        (8, 16, 32, 56, 88),
        BUBBLE,
    ),
    ("dust", "Dust: dark specks and fibers", "artifacts:dust", (2, 5, 12, 25, 50), SPECKS),
    (
        "tissue-folds",
        "Fold: layers of tissue on top, in a band",
        "artifacts:tissue_folds",
        (0.15, 0.4, 0.8, 1.5, 2.5),
        LAYERS,
    ),
    (
        "pen-marks",
        "Stroke of a felt pen, optical density of the ink",
        "artifacts:pen_marks",
        (0.05, 0.15, 0.4, 0.8, 1.5),
        INK,
    ),
    (
        "stain-deposits",
        "Clusters of precipitated hematoxylin",
        "artifacts:stain_deposits",
        (1, 3, 6, 12, 24),
        CLUSTERS,
    ),
    (
        "elastic",
        "Elastic deformation, displacement in pixels",
        "geometry:elastic",
        (1, 2, 3, 4.5, 6),
        BEND,
    ),
    (
        "rotation",
        "Rotated by degrees, borders mirrored",
        "geometry:rotation",
        (1, 3, 6, 12, 24),
        DEGREES,
    ),
    (
        "zoom",
        "Scaled by a factor, borders mirrored",
        "geometry:zoom",
        (0.8, 0.9, 1.1, 1.25, 1.5),
        SCALE,
    ),
    ("webp", "WebP compression at a quality", "codecs:webp", (80, 50, 25, 10, 1), WEBP),
    (
        "jpeg2000",
        "JPEG 2000 compression by a factor",
        "codecs:jpeg2000",
        (10, 20, 35, 55, 80),
        RATIO,
    ),
    (
        "randstainna",
        "Color statistics drawn from those of colorectal patches (RandStainNA)",
        "randstainna:randstainna",
        (0.1, 0.3, 0.5, 0.7, 1),
        DRAWN,
    ),
    (
        "medmnistc-jpeg",
        "JPEG recompression at the qualities of MedMNIST-C",
        "published:jpeg",
        (50, 30, 15, 10, 7),
        QUALITY,
    ),
    (
        "medmnistc-defocus-blur",
        "Defocus blur by a disk, the radii of MedMNIST-C in pixels",
        "focus:defocus_blur",
        (3, 4, 5, 6, 7),
        RADIUS,
    ),
    (
        "medmnistc-motion-blur",
        "Motion blur of MedMNIST-C, a trail to one side",
        "medmnistc:motion_blur",
        (1, 2, 3, 4, 5),
        SEVERITY,
    ),
    (
        "medmnistc-saturate",
        "Saturation raised as in MedMNIST-C",
        "medmnistc:saturate",
        (0.05, 0.1, 0.15, 0.2, 0.25),
        ADDED,
    ),
    (
        "medmnistc-bubble",
        "Bubbles of MedMNIST-C, white disks",
        "medmnistc:bubble",
        (1, 2, 3, 4, 5),
        SEVERITY,
    ),
)

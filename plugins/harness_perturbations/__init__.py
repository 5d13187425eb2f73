"""Perturbations of staining, scanning and storage, of structure, and of color toward a class.

Each is a function of its own in one of the modules here: ``f(patch, level, rng)`` takes one patch,
uint8 RGB (H, W, 3), contiguous, and returns a new one of the same shape and dtype. Those that draw
nothing at random need no ``rng``. The modules import OpenCV, scikit-image and torchstain, this one
does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from harness import Features, Option, Perturbation, hookimpl, later
from harness_perturbations.requested import REQUESTED

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Name, title, function, levels and what a level may be. Unless published, levels were chosen by eye
# on real patches at 0.5 micrometers a pixel: the weakest is hard to see, the strongest obvious at a
# glance, and the tissue can still be recognized.
HUE = Option(10.0, ge=-180, le=180, help="shift of the hue in units of 2 degrees; 0: none")
FACTOR = Option(1.5, ge=0, help="factor; 1 changes nothing")
BRIGHTNESS = replace(
    FACTOR,
    help=f"{FACTOR.help}. MedMNIST-C: 1.1, 1.15, 1.2, 1.22, 1.25 and 0.85, 0.8, 0.75, 0.72, 0.7",
)
CONTRAST = replace(
    FACTOR,
    help=f"{FACTOR.help}. MedMNIST-C: 1.1, 1.2, 1.3, 1.4, 1.6 and 0.8, 0.7, 0.6, 0.55, 0.5",
)
RANGE = Option(1.1, gt=0, help="factor about the middle of the range; 1 changes nothing")
PIXELS = Option(1.0, gt=0, help="standard deviation in pixels")
NOISE = Option(8.0, ge=0, help="standard deviation in gray levels")
JITTER = Option(
    0.1,
    ge=0,
    lt=1,
    help="greatest change of a stain, as a share of it and as density; 0.05 is HED-light, 0.2 "
    "HED-strong",
)
ALWAYS = Option(1.0, ge=1, le=1, help="it has one level, which means nothing")
Row = tuple[str, str, str, tuple[float, ...], Option]
ACQUISITION: tuple[Row, ...] = (
    (
        "hue",
        "Hue shifted and clipped, OpenCV units of 2 degrees (as published)",
        "published:hue_clipped",
        (-20, -10, 10, 20),
        HUE,
    ),
    (
        "jpeg",
        "JPEG recompression at a quality (as published)",
        "published:jpeg",
        (80, 60, 40, 20),
        Option(60.0, ge=1, le=100, help="quality as libjpeg counts it"),
    ),
    (
        "hue-wrapped",
        "Hue shifted and wrapped, units of 2 degrees",
        "color:hue_wrapped",
        (-20, -10, -5, 5, 10, 20),
        HUE,
    ),
    (
        "brightness",
        "Brightness times a factor",
        "tone:brightness",
        (0.5, 0.7, 0.85, 1.15, 1.3),
        BRIGHTNESS,
    ),
    ("contrast", "Contrast times a factor", "tone:contrast", (0.4, 0.6, 0.8, 1.3, 1.7), CONTRAST),
    (
        "saturation",
        "Saturation times a factor",
        "color:saturation",
        (0.25, 0.5, 0.75, 1.25, 1.6),
        FACTOR,
    ),
    (
        "gamma",
        "Gamma curve with an exponent",
        "tone:gamma",
        (0.4, 0.6, 0.8, 1.5, 2.2),
        Option(1.5, gt=0, help="exponent; 1 changes nothing"),
    ),
    (
        "gaussian-blur",
        "Gaussian blur, standard deviation in pixels",
        "spatial:gaussian_blur",
        (0.5, 1, 1.5, 2, 3),
        PIXELS,
    ),
    (
        "gaussian-noise",
        "Gaussian noise, standard deviation in gray levels",
        "spatial:gaussian_noise",
        (4, 8, 16, 24, 32),
        NOISE,
    ),
    (
        "downsampling",
        "Downsampled by a factor, then upsampled",
        "spatial:downsampling",
        (1.5, 2, 3, 4, 6),
        Option(2.0, ge=1, help="factor by which sides shrink; 1 changes nothing"),
    ),
    (
        "stain-jitter",
        "Hematoxylin, eosin and residual stain varied at random",
        "stain:jitter",
        (0.05, 0.1, 0.15, 0.2, 0.3),
        JITTER,
    ),
    ("macenko", "Macenko normalization to a fixed reference", "stain:macenko", (1,), ALWAYS),
    (
        "range-stretch",
        "Range stretched about its middle by a factor, clipped",
        "tone:range_stretch",
        (1.1, 1.2, 1.4, 1.8, 2.4),
        RANGE,
    ),
    (
        "range-overflow",
        "Range stretched about its middle by a factor, wrapped modulo 256",
        "tone:range_overflow",
        (1.02, 1.05, 1.1, 1.2, 1.4),
        RANGE,
    ),
)
NEUTRAL = {"hue": 0, "hue-wrapped": 0, "brightness": 1, "contrast": 1, "saturation": 1, "gamma": 1}
"""The level that changes nothing, of those with levels on both sides of it."""
ABLATION: tuple[Row, ...] = (
    ("grayscale", "Color removed", "color:grayscale", (1,), ALWAYS),
    (
        "pixels-permuted",
        "Pixels permuted: color alone left",
        "spatial:pixels_permuted",
        (1,),
        ALWAYS,
    ),
    (
        "blocks-permuted",
        "Square blocks permuted, side in pixels",
        "spatial:blocks_permuted",
        (8, 16, 32, 56),
        Option(16.0, ge=1, help="side of a block in pixels"),
    ),
)
LAB_COLUMNS = ("mean_l", "mean_a", "mean_b", "std_l", "std_a", "std_b")


def lab_statistics(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Mean and standard deviation in CIELAB of uint8 RGB (B, H, W, 3): float32 (B, 6).

    Columns are ``LAB_COLUMNS``, with L in 0..100 and a, b in about -128..128.
    """
    import numpy as np

    from harness_perturbations.transfer import statistics, to_lab

    return np.array([statistics(to_lab(image)) for image in images], np.float32).reshape(-1, 6)


def _made(
    rows: Sequence[Row], role: Literal["acquisition", "ablation"], *, on_request: bool = False
) -> list[Perturbation]:
    return [
        Perturbation(
            name=name,
            title=title,
            levels=levels,
            level=level,
            apply=later(f"harness_perturbations.{function}"),
            neutral=NEUTRAL.get(name),
            role=role,
            on_request=on_request,
        )
        for name, title, function, levels, level in rows
    ]


@hookimpl
def harness_perturbations() -> list[Perturbation]:
    """All perturbations of this package."""
    steering = Perturbation(
        name="color-transfer",
        title="Given the color statistics of a class (Reinhard, CIELAB)",
        apply=later("harness_perturbations.transfer:color_transfer"),
        role="steering",
        learns=Features(name="lab-statistics", extract=lab_statistics),
    )
    return [
        *_made(ACQUISITION, "acquisition"),
        *_made(ABLATION, "ablation"),
        steering,
        *_made(REQUESTED, "acquisition", on_request=True),
    ]

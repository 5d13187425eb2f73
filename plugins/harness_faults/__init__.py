"""Faults planted in real patches, to see what probes of datasets find and what models learn."""

from __future__ import annotations

from collections.abc import Callable
from math import log2

from harness import PlantedFault, hookimpl, later

Levels = Callable[[float], tuple[float, ...]]
TONE = ("tone", "dynamic-range")
"""Either name of the probe of tone, as far as it is there."""
# Most doses are at most 1.5 times the one before: a limit of detection is known as closely, and
# what is found at one dose but not at the next is seen.
JPEG = (1, 2, 3, 4, 5, 7, 10, 15, 20, 25)
MORE = (3, 5, 7, 10, 15, 20, 25, 30, 35, 40)
TWICE = (5, 10, 15, 20, 25, 30, 35, 40, 45, 50)
LOSSES = (2, 3, 4, 5, 7, 10, 15, 20, 25, 30)
WEAK_LOSSES = (1, 2, 3, 5, 7, 10, 15, 25, 35, 50)
RATIOS = (1.5, 2, 2.5, 3, 4, 5, 7, 10, 14, 20)
BLURS = (0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.85, 1, 1.25, 1.5)
ENLARGED = (0.02, 0.03, 0.05, 0.07, 0.11, 0.15, 0.2, 0.25, 0.35, 0.5, 0.7, 1)
NOISES = (0.25, 0.35, 0.5, 0.7, 1, 1.4, 2, 2.8, 4)
LEVELS = (1, 2, 3, 4, 5, 6, 8, 10, 12)
FEW = (0.03, 0.05, 0.07)
TENTHS = (0.1, 0.13, 0.16, 0.2, 0.25, 0.3, 0.4)
SHARES = (0.05, *TENTHS, 0.5)
ALIKE_GAMMAS = (
    *(0.8, 0.81, 0.82, 0.83, 0.84, 0.85, 0.86, 0.87, 0.885, 0.9, 0.92, 0.95),
    *(1.05, 1.1, 1.2),
)
"""Close together where one tone curve for all was once taken for a fault."""
ALIKE_LOSSES = (0, 10, 15, 20, 25, 30)
ALIKE_WHITES = (220, 230, 240, 245, 250, 255)


VERSIONS = {"motion": 2, "chroma": 2, "palette": 2}
"""Raised where what is planted, or which probes are asked about it, has changed."""


def half(base: float = 0.0) -> Levels:
    """Two of four classes at a level, two others a dose above it."""
    return lambda dose: (base, base, base + dose, base + dose)


def around(dose: float) -> tuple[float, ...]:
    """Two of four classes half a dose below 0, two half a dose above."""
    return (-dose / 2, -dose / 2, dose / 2, dose / 2)


def present(dose: float) -> tuple[float, ...]:
    """The dose as the level of two of four classes, the others without."""
    return (0.0, 0.0, dose, dose)


def one(dose: float) -> tuple[float, ...]:
    """The dose as the level of one of four classes."""
    return (0.0, 0.0, 0.0, dose)


def alike(dose: float) -> tuple[float, ...]:
    """Every class at the dose."""
    return (dose,) * 4


def in_test(dose: float) -> tuple[float, ...]:
    """The test patches at the dose."""
    return (0.0, dose)


def cameras(dose: float) -> tuple[float, ...]:
    """Two of four classes by one camera, the others by another, whose levels are below 0."""
    return (dose, dose, -dose, -dose)


@hookimpl
def harness_faults() -> list[PlantedFault]:
    """Faults of storage, focus, noise, color, tone and frame, and controls."""
    return [*_compression(), *_detail(), *_color(), *_frame(), *_shift(), *_controls()]


def _fault(
    name: str,
    title: str,
    unit: str,
    doses: tuple[float, ...],
    function: str,
    levels: Levels = present,
    raises: tuple[str, ...] = (),
) -> PlantedFault:
    return PlantedFault(
        name=name,
        title=title,
        unit=unit,
        doses=doses,
        levels=levels,
        plant=later(f"harness_faults.{function}"),
        raises=raises,
        of_split=levels is in_test,
        version=VERSIONS.get(name, 1),
    )


Row = tuple[str, str, str, tuple[float, ...], str, Levels]


def _compression() -> list[PlantedFault]:
    points = "points between JPEG qualities"
    below = "quality below 100 against none"
    rows: list[Row] = [
        (
            *("jpeg", "JPEG of quality 95 or worse, grid anywhere", f"{points} from 95 down"),
            *(JPEG, "storage:jpeg", half(5)),
        ),
        (
            *("jpeg-aligned", "the same, grid at the corner", f"{points}, aligned grids"),
            *(JPEG, "storage:aligned_jpeg", half(5)),
        ),
        (
            *("jpeg-low", "JPEG of quality 80 or worse, grid anywhere", f"{points} from 80 down"),
            *((1, 2, 3, 4, 5, 7, 10, 13, 16, 20), "storage:jpeg", half(20)),
        ),
        (
            *("jpeg-or-none", "JPEG against none", f"points of JPEG {below}"),
            *(LOSSES, "storage:jpeg", present),
        ),
        (
            *("jpeg-stained", "JPEG of 95 or worse, then stains changed at random"),
            *(f"{points} from 95 down, stains changed since", JPEG),
            *("combined:jpeg_stained", half(5)),
        ),
        (
            *("jpeg-resized", "JPEG of 95 or worse, then shrunk to 0.9 and enlarged again"),
            *(f"{points} from 95 down, resized since", MORE),
            *("combined:jpeg_resized", half(5)),
        ),
        (
            *("jpeg-twice", "JPEG of 95 or worse, then of 85 on another grid"),
            *(f"{points} from 95 down, of 85 since", TWICE, "combined:jpeg_twice", half(5)),
        ),
        (
            *("jpeg-normalized", "JPEG of 95 or worse, then normalized as Macenko and others do"),
            *(f"{points} from 95 down, normalized since", MORE),
            *("combined:jpeg_normalized", half(5)),
        ),
        (
            *("chroma", "JPEG of 90 with chroma whole or subsampled"),
            *("steps of chroma subsampling (4:4:4, 4:2:2, 4:2:0)", (1, 2)),
            *("storage:chroma", present),
        ),
        (
            *("webp", "WebP of quality 95 or worse", "points between WebP qualities from 95 down"),
            *((2, 3, 5, 7, 10, 15, 20, 25, 35, 45), "storage:webp", half(5)),
        ),
        (
            *("webp-or-none", "WebP against none", f"points of WebP {below}"),
            *(WEAK_LOSSES, "storage:webp", present),
        ),
        (
            *("avif-or-none", "AVIF against none", f"points of AVIF {below}"),
            *(WEAK_LOSSES, "storage:avif", present),
        ),
        (
            *("jpeg2000", "JPEG 2000 (9/7) against none", "to 1 by JPEG 2000 (9/7) against none"),
            *(RATIOS, "storage:jpeg2000", present),
        ),
        (
            *("jpeg2000-53", "JPEG 2000 (5/3) against none"),
            *("to 1 by JPEG 2000 (5/3) against none", RATIOS),
            *("storage:jpeg2000_53", present),
        ),
        (
            *("jpeg-in-part", "JPEG of 85 in a part of one class"),
            *("as the share of one class with JPEG of 85", SHARES),
            *("combined:jpeg_in_part", one),
        ),
    ]
    return [_fault(*row, raises=("compression",)) for row in rows]


def _detail() -> list[PlantedFault]:
    """Faults of focus, scale and noise."""
    sharpness: list[Row] = [
        (
            *("blur", "Gaussian blur", "px of Gaussian blur", BLURS),
            *("storage:blurred", present),
        ),
        (
            *("enlarged", "enlarged, as from another resolution", "times larger, less 1"),
            *(ENLARGED, "combined:enlarged", present),
        ),
        (
            *("enlarged-lanczos", "enlarged by Lanczos' filter", "times larger by Lanczos, less 1"),
            *(ENLARGED, "combined:lanczos", present),
        ),
        (
            *("resized", "shrunk and enlarged again", "of the size lost to resizing"),
            *((0.03, 0.05, 0.07, *TENTHS, 0.5), "combined:resized", present),
        ),
        (
            *("sharpened", "unsharp mask", "of unsharp mask"),
            (0.1, 0.15, 0.2, 0.25, 0.35, 0.5, 0.7, 1, 1.25, 1.5),
            *("storage:sharpened", present),
        ),
        (
            *("median", "median filter", "px of median filter", (3, 5, 7, 9)),
            *("storage:despeckled", present),
        ),
        (
            *("motion", "blur of a moving slide", "px of motion", (2, 3, 4, 5, 6, 7, 8, 9)),
            *("storage:moved", present),
        ),
    ]
    noise: list[Row] = [
        (
            *("noise", "noise in each channel", "gray levels of noise", (*NOISES, 5.6, 8)),
            *("storage:noisy", present),
        ),
        (
            *("gray-noise", "noise alike in all channels", "gray levels of gray noise"),
            *(NOISES, "storage:gray_noise", present),
        ),
        (
            *("camera-pattern", "the fixed patterns of two cameras"),
            "% of brightness as a camera's fixed pattern",
            (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 1),
            *("storage:camera", cameras),
        ),
    ]
    return [
        *(_fault(*row, raises=("sharpness",)) for row in sharpness),
        *(_fault(*row, raises=("noise",)) for row in noise),
    ]


def _color() -> list[PlantedFault]:
    """Faults of color, stain and tone."""
    color: list[Row] = [
        (
            *("cast", "red raised and blue lowered", "gray levels of color cast"),
            *((1, 2, 3, 4, 5, 6, 7, 8, 10, 12), "color:cast", present),
        ),
        (
            *("white-balance", "red brighter and blue darker", "of white balance"),
            (0.005, 0.0075, 0.01, 0.0125, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05),
            *("color:white_balance", present),
        ),
    ]
    either: list[Row] = [
        (
            *("saturation", "saturation", "of saturation", (*FEW, *TENTHS)),
            *("color:saturated", present),
        ),
        (
            *("brightness", "brightness", "gray levels of brightness"),
            (2, 4, 6, 8, 10, 12, 14, 16, 20, 24),
            *("color:brightened", around),
        ),
    ]
    stain: list[Row] = [
        (
            *("stain-strength", "strength of both stains", "of the strength of both stains"),
            *((*FEW, *TENTHS), "color:restained", around),
        ),
    ]
    tone: list[Row] = [
        (
            *("gamma", "tone curve", "of log2 of gamma"),
            (0.02, 0.03, 0.04, 0.05, 0.07, 0.1, 0.14, 0.2, 0.28, 0.4, 0.5, 0.64),
            *("color:gamma", around),
        ),
        (
            *("contrast", "contrast", "of contrast"),
            (0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.07, 0.1, 0.14, 0.2),
            *("color:contrast", present),
        ),
        ("bits", "gray levels lost", "of 8 bits lost", (1, 2, 3, 4), "color:quantized", present),
        (
            *("palette", "palette of 256 colors", "palette of 256 colors", (1,)),
            *("color:palette", present),
        ),
        (
            *("whites", "whites cut off", "gray levels cut off the whites"),
            (5, 7, 10, 13, 16, 20, 24, 28, 32, 35),
            *("color:capped", present),
        ),
        (
            *("inverted", "a part of one class inverted", "as the inverted share of one class"),
            *(SHARES, "color:inverted", one),
        ),
    ]
    return [
        *(_fault(*row, raises=("color",)) for row in color),
        *(_fault(*row, raises=("color", *TONE)) for row in either),
        *(_fault(*row, raises=("stain",)) for row in stain),
        *(_fault(*row, raises=TONE) for row in tone),
    ]


def _frame() -> list[PlantedFault]:
    rows: list[Row] = [
        (
            *("border", "black border", "px of border"),
            *((1, 2, 3, 4, 5, 6, 7, 8), "color:border", present),
        ),
        (
            *("mark", "mark in a corner", "px of a mark in a corner"),
            *((2, 3, 4, 5, 6, 7, 8, 9, 10, 12), "color:mark", present),
        ),
        (
            *("vignette", "light falls off toward the corners", "of the light lost in corners"),
            *((*FEW, *TENTHS), "color:vignette", present),
        ),
        (
            *("watermark", "brighter stripe", "gray levels of a brighter stripe"),
            (1, 2, 3, 4, 5, 6, 8, 10, 12, 16),
            *("color:watermark", present),
        ),
    ]
    return [_fault(*row, raises=("frame",)) for row in rows]


def _shift() -> list[PlantedFault]:
    """Faults of the test patches alone."""
    rows: list[tuple[str, str, str, tuple[float, ...], str]] = [
        ("jpeg", "JPEG", "points of JPEG quality below 100", LOSSES, "storage:jpeg"),
        ("blur", "Gaussian blur", "px of Gaussian blur", BLURS, "storage:blurred"),
        ("noise", "noise", "gray levels of noise", NOISES, "storage:noisy"),
        ("cast", "color cast", "gray levels of color cast", LEVELS, "color:cast"),
        ("brightness", "brightness", "gray levels of brightness", LEVELS, "color:brightened"),
        ("stain", "stains stronger", "of stain strength", (*FEW, *TENTHS), "color:restained"),
        ("scale", "enlarged", "times larger, less 1", ENLARGED, "combined:enlarged"),
    ]
    return [
        _fault(
            *(f"test-{name}", f"{title}, test patches only", f"{unit}, test patches only"),
            *(doses, function, in_test),
            raises=("shift",),
        )
        for name, title, unit, doses, function in rows
    ]


def _controls() -> list[PlantedFault]:
    """What is no fault of a class: nothing, or the same for all."""
    rows: list[Row] = [
        ("nothing", "nothing", "(nothing)", (0,), "color:brightened", alike),
        (
            *("alike-jpeg", "every patch JPEG", "points of JPEG quality below 100, all alike"),
            *((5, *ALIKE_LOSSES[1:], 40), "storage:jpeg", alike),
        ),
        (
            *("random-stain", "stains of every patch changed at random", "of stains, at random"),
            *((*FEW, 0.1, 0.13, 0.16, 0.2), "color:stain_jitter", alike),
        ),
        (
            *("random-gamma", "tone curve of every patch drawn at random"),
            *("of log2 of gamma, at random", (0.05, 0.1, 0.15, 0.2, 0.25, 0.3)),
            *("color:random_gamma", alike),
        ),
        (
            *("alike-gamma", "every patch through the same tone curve", "gamma of every patch"),
            ALIKE_GAMMAS,
            "color:gamma",
            lambda dose: (log2(dose),) * 4,
        ),
        (
            *("alike-jpeg-normalized", "every patch JPEG, then normalized as Macenko and others"),
            *("points of JPEG quality below 100, all normalized since", (10, 15, 20, 25, 30)),
            *("combined:jpeg_normalized", alike),
        ),
        (
            *("normalized", "every patch normalized as Macenko and others do"),
            *("(all normalized)", (1,), "color:macenko", alike),
        ),
        *(
            (
                *(f"alike-{name}", f"every patch JPEG, then normalized {how}"),
                *("points of JPEG quality below 100, all normalized since", ALIKE_LOSSES),
                *(f"combined:jpeg_{function}", alike),
            )
            for name, how, function in (
                ("jpeg-torchstain", "by torchstain after Macenko", "torchstain"),
                ("jpeg-ruifrok", "by torchstain to the stains of Ruifrok", "to_ruifrok"),
                ("jpeg-mucosa", "by torchstain to a patch of mucosa", "to_mucosa"),
                ("jpeg-tumor", "by torchstain to a patch of tumor", "to_tumor"),
                ("jpeg-reinhard", "by torchstain after Reinhard", "reinhard"),
            )
        ),
        (
            *("alike-white", "every patch as bright as its white at a level, then JPEG of 70"),
            *("gray level of a white of 240, all JPEG of 70 since", ALIKE_WHITES),
            *("combined:lit_jpeg", alike),
        ),
    ]
    return [_fault(*row) for row in rows]

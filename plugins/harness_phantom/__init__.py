"""Phantoms: synthetic H&E patches with faults planted at a known dose, to calibrate probes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from harness import Dataset, Fault, Phantom, Splits, hookimpl

CLASSES = ("ADI", "BACK", "DEB", "LYM", "MUC", "MUS", "NORM", "STR", "TUM")
VERSION = 1
"""Raise it when a patch changes, so that what was stored about it is not read back."""
DOSES = (0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0)
SAMPLE = "the 111 test patches of the NCT-CRC-HE sample"
FAULTS = tuple(
    Fault(name=name, title=title, doses=DOSES, raises=tuple(probe.split()), fitted=fitted)
    for name, title, probe, fitted in (
        (
            "tint",
            "color filter per class, before the camera",
            "color",
            f"classes differ in tint as in {SAMPLE} (0.061 optical density); as in those of them "
            "that are not corrupt at a dose of 0.2 (0.011)",
        ),
        (
            "jpeg",
            "JPEG quality per class, patches as the decoder left them",
            "compression",
            "not fitted, as no real patch at hand is as a decoder left it; qualities of 83, 90 and "
            "95 in three classes, six are not compressed",
        ),
        (
            "recolored",
            "JPEG quality per class, then the stains of every patch changed, as normalization does",
            "compression",
            f"edges of blocks tell the same qualities as in the classes of {SAMPLE}, 66 to 89, "
            "whatever made them there; the dose scales how far classes differ",
        ),
        (
            "range",
            "contrast stretched until it clips, a share per class",
            "dynamic-range",
            f"as many patches of three classes as are corrupt in {SAMPLE}",
        ),
        (
            "overflow",
            "8-bit values wrapped round, a share per class",
            "dynamic-range",
            "not fitted, as no real patch at hand overflows; as many patches as under range",
        ),
        (
            "duplicates",
            "test patches copied from training patches",
            "leakage",
            "not fitted, as the real patches at hand have none; 5 % of the test patches",
        ),
        (
            "shift",
            "test patches tinted and compressed, training patches not",
            "shift",
            "not fitted; JPEG quality 80 and a tint like that of a class",
        ),
        (
            "alike",
            "every patch compressed alike, which is no fault of a class",
            "",
            "not fitted; JPEG quality 70",
        ),
        (
            "alike-recolored",
            "every patch compressed alike, then its stains changed, which is no fault of a class",
            "",
            "not fitted; JPEG quality 80",
        ),
        (
            "restained",
            "every patch compressed alike, then both stains made stronger or weaker by class, "
            "which is no fault that a probe looks for",
            "",
            "not fitted; JPEG quality 80, stains 0.8 to 1.2 times as strong",
        ),
        (
            "toned",
            "every patch through the same 8-bit tone curve, which is no fault of a class",
            "",
            "not fitted; gamma 0.8",
        ),
    )
)
NORMALIZED = Fault(
    name="normalized",
    title="every patch compressed alike, then its stains normalized, each on its own by torchstain "
    "after Macenko and others, which is no fault of a class",
    doses=(0.5, 0.75, 1.0),
    raises=(),
    fitted="not fitted; JPEG quality 70, at lower doses up to 85",
)
"""Of the varied phantom alone."""
TONED_DOSES = (0.2, 0.4, 0.5, 0.55, 0.65, 0.75, 0.85, 0.95, 1.0)
"""Gammas of .96, .91, .89, .88, .87, .85, .83, .81 and .80."""
VARIED_FAULTS = (
    *(replace(f, doses=TONED_DOSES if f.name == "toned" else (0.35, 0.7, 1.0)) for f in FAULTS),
    NORMALIZED,
)
"""Fewer doses, so that a seed takes three minutes of one core; of tone curves more, as whether one
is seen does not grow with its dose."""
CALIBRATION = (12, 12)
"""Training and test patches a class of the phantom that calibrates probes."""
SHOWN = (40, 20)
"""Training and test patches a class of the datasets."""


def make(seed: int) -> Callable[[Mapping[str, float]], Splits]:
    """Return the function that plants faults, given as doses by name, in the patches of a seed.

    Scans are rendered when first read and kept (70 MB), so that planting again is cheap.
    """
    from harness_phantom.split import kept_scans, splits

    return partial(splits, seed, *CALIBRATION, scans=kept_scans())


def make_varied(seed: int) -> Callable[[Mapping[str, float]], Splits]:
    """The same as ``make`` with the white, stains, size and numbers of ``varied.drawn``."""
    from harness_phantom.split import kept_scans, splits
    from harness_phantom.varied import drawn

    look, per_class = drawn(seed)
    return partial(splits, seed, *per_class, scans=kept_scans(look), look=look)


def load(doses: Mapping[str, float], folder: Path) -> Splits:
    """Describe a dataset with these faults; its patches are rendered whenever they are read."""
    from harness_phantom.split import splits

    return splits(0, *SHOWN, doses)


@hookimpl
def harness_phantoms() -> list[Phantom]:
    """The tissue phantom, on which limits of probes were set, and one that judges alone."""
    return [
        Phantom(
            name="phantom",
            title="Nine kinds of synthetic tissue that differ in structure alone",
            classes=CLASSES,
            faults=FAULTS,
            make=make,
            version=VERSION,
        ),
        Phantom(
            name="phantom-varied",
            title="The same tissue; white (220 to 250), strength of stains (0.7 to 1.3), side of "
            "patches (96 to 224 px) and their number (12 to 40 a class and part) vary by seed. It "
            "judges only: no limit of a probe was set on it",
            classes=CLASSES,
            faults=VARIED_FAULTS,
            make=make_varied,
            version=VERSION,
        ),
    ]


@hookimpl
def harness_datasets() -> list[Dataset]:
    """Phantoms as datasets: without fault, with each at a dose of 1, and with all."""

    def phantom(name: str, title: str, faults: tuple[str, ...]) -> Dataset:
        return Dataset(
            name=f"phantom-{name}",
            title=f"Synthetic tissue: {title}",
            classes=CLASSES,
            load=partial(load, dict.fromkeys(faults, 1.0)),
            demo=True,
            on_request=True,
        )

    return [
        phantom("clean", "no fault", ()),
        *(phantom(f.name, f.title, (f.name,)) for f in FAULTS),
        phantom("all", "all faults together", tuple(f.name for f in FAULTS if f.raises)),
    ]

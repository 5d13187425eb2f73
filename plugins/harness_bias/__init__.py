"""Probes: what color, compression and clipping give away, in a dataset and in a model's answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness import (
    Column,
    DatasetProbe,
    Estimate,
    Features,
    ModelProbe,
    Perturbation,
    hookimpl,
    later,
)
from harness.hooks.toml_files import read_toml
from harness.text import numbers
from harness_bias.audit import limits

WORDS = Path(__file__).with_name("audit") / "words.toml"
"""By probe: what it asks, what a fault means, and what to do about it."""


def _features(name: str, module: str, version: int = 1) -> Features:
    extract = later(f"harness_bias.measure.{module}:extract")
    return Features(name=f"bias-{name}", extract=extract, version=version)


COLOR = _features("color", "color")
RANGE = _features("range", "dynamic_range", version=2)
FINE = _features("fine", "fine")
FRAME = _features("frame", "frame")
PATTERN = _features("pattern", "pattern")
RESAMPLING = _features("resampling", "resampling")
LEVELS = _features("levels", "levels", version=2)
RESIDUAL = _features("residual", "residual")
COMPRESSION = _features("compression", "compression")
LEAKAGE = _features("leakage", "leakage")
KEYPOINTS = _features("keypoints", "keypoints")


@hookimpl
def harness_probes() -> list[DatasetProbe | ModelProbe]:
    """Probes of datasets and of models."""
    return [*_dataset_probes(), *_model_probes()]


@hookimpl
def harness_perturbations() -> list[Perturbation]:
    """Recompression as a class of the dataset typically is."""
    return [
        Perturbation(
            name="jpeg-as-class",
            title="Recompressed as JPEG at the quality that is typical of a class",
            apply=later("harness_bias.measure.as_class:recompress_as"),
            role="steering",
            learns=COMPRESSION,
            typical=later("harness_bias.measure.as_class:typical"),
        )
    ]


def _dataset_probes() -> list[DatasetProbe]:
    words = read_toml(WORDS)

    def probe(
        name: str,
        title: str,
        *features: Features,
        plots: tuple[str, ...] = (),
        galleries: tuple[str, ...] = (),
        version: int = 3,
        **more: Any,
    ) -> DatasetProbe:
        module = f"audit.{name.replace('-', '_')}"
        return DatasetProbe(
            name=name,
            title=title,
            features=features,
            measure=later(f"harness_bias.{module}:measure"),
            plots={plot: later(f"harness_bias.plots:{plot.replace('-', '_')}") for plot in plots},
            galleries={
                gallery: later(f"harness_bias.galleries:{gallery.replace('-', '_')}")
                for gallery in galleries
            },
            tuned_on=later("harness_bias.audit.signatures:tuned_on") if FINE in features else None,
            limits=limits.said(name),
            false_flags=limits.false_flags(name),
            **words[name],
            version=version,
            **more,
        )

    return [
        probe(
            "color",
            "Color: how much of the class it gives away, and a cast not explained by H&E stains",
            *(COLOR, RANGE, FRAME),
            plots=("color-signatures", "tint"),
            version=4,
        ),
        probe(
            "compression",
            "Compression: JPEG and other lossy formats",
            *(COMPRESSION, FINE, RANGE),
            plots=("blockiness",),
            galleries=("strongest-compression", "weakest-compression"),
            check=later("harness_bias.audit.compression:check"),
            version=4,
        ),
        probe(
            "sharpness",
            "Sharpness and scale: blur, sharpening, enlargement",
            *(FINE, RANGE, RESAMPLING),
            version=5,
        ),
        probe(
            "noise",
            "Noise, and the fixed pattern of a camera",
            *(FINE, RANGE, PATTERN),
            version=5,
        ),
        probe("frame", "Frame and marks: whether a fixed place tells the class", FRAME),
        probe(
            "dynamic-range",
            "Tone and dynamic range: tone curves, clipping, combs, wrap-round",
            *(RANGE, LEVELS, COLOR),
            plots=("dynamic-range",),
            galleries=("corrupt",),
            version=4,
        ),
        probe(
            "residual",
            "Unexplained trace: what a small network finds in residuals of shuffled blocks",
            *(RESIDUAL, FINE, RANGE),
            version=4,
        ),
        probe("metadata", "Names and metadata of files"),
        probe(
            "leakage",
            "Leakage: duplicates and overlaps within and between the splits",
            *(LEAKAGE, KEYPOINTS),
            galleries=("duplicates", "overlaps"),
            check=later("harness_bias.audit.leakage:check"),
            threaded=True,
            version=4,
        ),
        probe(
            "shift",
            "Shift: training and test patches that differ by acquisition alone",
            *(COLOR, RANGE, COMPRESSION),
        ),
    ]


def _model_probes() -> list[ModelProbe]:
    def percent(estimate: Estimate) -> str:
        return numbers.percent(estimate.value, 1)

    def points(estimate: Estimate) -> str:
        return numbers.points(estimate.value, 1)

    def probe(name: str, title: str, *columns: Column, plots: tuple[str, ...] = ()) -> ModelProbe:
        return ModelProbe(
            name=name,
            title=title,
            measure=later(f"harness_bias.models.{name}:measure"),
            needs=later(f"harness_bias.models.{name}:needs"),
            columns=columns,
            plots={plot: later(f"harness_bias.plots:{plot.replace('-', '_')}") for plot in plots},
        )

    return [
        probe(
            "robustness",
            "Robustness: accuracy under changes of staining, scanning and storage",
            Column(
                estimate="mean accuracy under change",
                heading="perturbed %",
                about="mean accuracy on test patches changed in stain, color, focus, noise, "
                "compression and dynamic range.",
                show=percent,
            ),
            plots=("robustness",),
        ),
        probe(
            "reliance",
            "Color reliance: accuracy with structure, or color, taken away",
            Column(
                estimate="color only",
                heading="pixels shuffled %",
                about="accuracy on test patches whose pixels are shuffled, so that color is all "
                "that is left.",
                show=percent,
            ),
            plots=("reliance",),
        ),
        probe(
            "steering",
            "Steering: predictions that follow the color or compression of another class",
            Column(
                estimate="follows color",
                heading="follows color",
                about="how many points more often a test patch is called a class once it is given "
                "the colors of that class.",
                show=points,
            ),
            plots=("steering",),
        ),
        ModelProbe(
            name="agreement",
            title="Agreement with color alone",
            measure=later("harness_bias.models.agreement:measure"),
        ),
    ]

"""The hooks: what a plugin may implement. Each returns descriptions from ``harness.types``.

A plugin is an importable module named in the entry-point group ``harness``:

    [project.entry-points.harness]
    my_plugin = "my_package.my_module"
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pluggy

from harness.probes import DatasetProbe, ModelProbe, Phantom
from harness.types import (
    Dataset,
    DerivedModel,
    Model,
    ModelFamily,
    Perturbation,
    PublishedResult,
    Reader,
)

hookspec = pluggy.HookspecMarker("harness")
hookimpl = pluggy.HookimplMarker("harness")


@hookspec
def harness_datasets() -> Iterable[Dataset]:
    """Datasets to evaluate on."""
    raise AssertionError("a hook specification is never called")


@hookspec
def harness_models() -> Iterable[Model | DerivedModel | ModelFamily]:
    """Models to fit, models derived from the logits of others, and families of models."""
    raise AssertionError("a hook specification is never called")


@hookspec
def harness_perturbations() -> Iterable[Perturbation]:
    """Changes to make to test patches."""
    raise AssertionError("a hook specification is never called")


@hookspec
def harness_probes() -> Iterable[DatasetProbe | ModelProbe]:
    """Questions to ask of a dataset or of a model's stored predictions."""
    raise AssertionError("a hook specification is never called")


@hookspec
def harness_phantoms() -> Iterable[Phantom]:
    """Synthetic patches with planted faults, to calibrate dataset probes."""
    raise AssertionError("a hook specification is never called")


@hookspec
def harness_published_results() -> Iterable[PublishedResult]:
    """Figures from the literature to stand beside measured ones."""
    raise AssertionError("a hook specification is never called")


@hookspec
def harness_readers() -> Iterable[Reader]:
    """Kinds of TOML file that describe a dataset, a model or the like, for ``--plugin``."""
    raise AssertionError("a hook specification is never called")


@hookspec
def harness_run_started(jobs: tuple[Mapping[str, Any], ...]) -> None:
    """A run is about to start. ``jobs`` are the keys of the results it still has to compute."""


@hookspec
def harness_result_stored(
    record: Mapping[str, Any], folder: Path, figures: Mapping[str, float]
) -> None:
    """A result was stored: its record, and the folder that holds it. Read, do not write there.

    ``figures`` says what a prediction comes to: accuracy, balanced_accuracy, macro_f1, mcc and,
    where it is defined, macro_auroc, as fractions of 1. It is empty for other kinds of results.
    The record's ``perturbation`` is "clean" or the name of what was done to the test patches.
    """


@hookspec
def harness_run_ended(failures: Mapping[str, str]) -> None:
    """A run is over. ``failures`` maps what did not finish to why; empty when all is well."""

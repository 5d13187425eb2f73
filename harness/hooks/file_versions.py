"""Plugins in files: whoever edits one and runs it again must not be shown results of before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import singledispatch
from pathlib import Path
from typing import Any

from harness.data.splits import Versioned
from harness.types.datasets import Dataset, Split, Splits
from harness.types.models import Features, Model, ModelFamily, Setting
from harness.types.perturbations import Perturbation
from harness.types.probes import DatasetProbe


@singledispatch
def of_file(item: Any, version: int) -> Any:
    """A contribution of a file, under a version that changes with the file."""
    return replace(item, version=version) if hasattr(item, "version") else item


@of_file.register
def _(item: Model, version: int) -> Any:
    features = item.features
    if isinstance(features, Features):
        return replace(item, version=version, features=replace(features, version=version))
    if features is None:
        return replace(item, version=version)

    def found(settings: Mapping[str, Setting]) -> Features:
        return replace(features(settings), version=version)

    return replace(item, version=version, features=found)


@of_file.register
def _(item: ModelFamily, version: int) -> Any:
    return replace(item, make=lambda rest: of_file(item.make(rest), version))


@of_file.register
def _(item: Perturbation, version: int) -> Any:
    learns = item.learns and replace(item.learns, version=version)
    return replace(item, version=version, learns=learns)


@of_file.register
def _(item: DatasetProbe, version: int) -> Any:
    features = tuple(replace(part, version=version) for part in item.features)
    return replace(item, version=version, features=features)


@of_file.register
def _(item: Dataset, version: int) -> Any:
    def changed(split: Split | None) -> Any:
        return None if split is None else Versioned(split, version)

    def load(folder: Path) -> Splits:
        splits = item.load(folder)
        if not isinstance(splits, Splits):  # as is said where it is used
            return splits
        return replace(
            splits,
            train=changed(splits.train),
            test=changed(splits.test),
            validation=changed(splits.validation),
        )

    return replace(item, load=load)

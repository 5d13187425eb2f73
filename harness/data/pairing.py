"""Two versions of the same patches: those parts of two datasets that both have.

Such a part is a dataset of its own, with a name that says what it is made of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data import classes
from harness.data.splits import Subset
from harness.errors import HarnessError
from harness.types.datasets import Dataset, Split, Splits

COMMON = "-common-with-"
"""A-common-with-B: patches of A to train and to select on that B has, too, in the order of A."""
MATCHED = "-matched-to-"
"""B-matched-to-A: the same patches as they are in B, in the order of A."""


def base(name: str) -> str:
    """Of a pair, the name of the dataset that the patches are of."""
    return name.partition(COMMON)[0].partition(MATCHED)[0]


def partner(name: str) -> str:
    """Of a pair, the name of the other dataset."""
    return name.partition(COMMON)[2] or name.partition(MATCHED)[2]


def made_of(name: str, find: Callable[[str], Dataset]) -> Dataset | None:
    """The dataset with the name of a pair; None for other names."""
    for between in (COMMON, MATCHED):
        own, found, partner = name.partition(between)
        if found and own and partner:
            return _paired(find(own), find(partner), between)
    return None


def _paired(own: Dataset, partner: Dataset, between: str) -> Dataset:
    def load(folder: Path) -> Splits:
        first, second = (own, partner) if between == COMMON else (partner, own)
        loaded = [dataset.load(folder) for dataset in (first, second)]
        number = 0 if between == COMMON else 1
        kept = _shared(first, second, *loaded)[number]
        fewer: dict[str, Any] = {
            part: Subset(getattr(loaded[number], part), indices) for part, indices in kept.items()
        }
        shortfall = f"{len(kept['train']):,} training patches that both versions have"
        return replace(loaded[number], train_shortfall=shortfall, **fewer)

    return replace(
        own,
        name=f"{own.name}{between}{partner.name}",
        load=load,
        missing=lambda folder: own.missing(folder) or partner.missing(folder),
        on_request=True,
    )


def pair(one: Dataset, other: Dataset, data: Path) -> tuple[tuple[str, str], int]:
    """Names of datasets with only those patches to train and to select on that both have.

    The number of those to train on comes along. Patches are the same when their ids are, but for
    the part before the first slash where all ids of a split share it, as it then names the archive.
    A dataset that loses no patches, and none of whose patches moves, keeps its name, so that its
    other results count. Raises HarnessError unless classes and test patches are the same.
    """
    loaded = [dataset.load(data) for dataset in (one, other)]
    kept = _shared(one, other, *loaded)
    names = (f"{one.name}{COMMON}{other.name}", f"{other.name}{MATCHED}{one.name}")
    found = []
    for name, dataset, splits, by_part in zip(names, (one, other), loaded, kept, strict=True):
        whole = {part: np.arange(len(getattr(splits, part).labels)) for part in by_part}
        all_kept = all(np.array_equal(by_part[part], at) for part, at in whole.items())
        found.append(dataset.name if all_kept else name)
    return (found[0], found[1]), len(kept[0]["train"])


def _shared(
    one: Dataset, other: Dataset, splits: Splits, other_splits: Splits
) -> list[dict[str, NDArray[np.int64]]]:
    """By part, where in each dataset the patches are that both have."""
    if one.name == other.name:
        raise HarnessError(f"contrast: {one.name} is contrasted with itself; name two datasets")
    if one.classes != other.classes:
        same = set(one.classes) == set(other.classes)
        raise HarnessError(
            f"contrast: {one.name} and {other.name} have "
            f"{'their classes in another order' if same else 'other classes'} "
            f"({', '.join(one.classes)}; {', '.join(other.classes)})"
            f"{classes.spelling(one.classes, other.classes)}; name two versions of one dataset"
        )
    datasets, loaded = (one, other), (splits, other_splits)
    tests = [splits.test for splits in loaded]
    same_names = list(tests[0].ids) == list(tests[1].ids)
    if not same_names or tests[0].fingerprint != tests[1].fingerprint:
        what = f"have other test patches{' of the same names' if same_names else ''}"
        raise HarnessError(
            f"contrast: {one.name} and {other.name} {what}; name two versions of one dataset that "
            "share their test patches"
        )
    trains = [splits.train for splits in loaded]
    for dataset, train in zip(datasets, trains, strict=True):
        if train is None:
            raise HarnessError(
                f"contrast: {dataset.name} has no training patches of its own; name another dataset"
            )
    kept = [{"train": indices} for indices in _common(datasets, trains, "training")]
    validations = [splits.validation for splits in loaded]
    alone = [d.name for d, own in zip(datasets, validations, strict=True) if own is None]
    if len(alone) == 1:
        raise HarnessError(
            f"contrast: {alone[0]} has no validation patches and the other has; name two versions "
            "of one dataset"
        )
    if not alone:
        for by_part, indices in zip(
            kept, _common(datasets, validations, "validation"), strict=True
        ):
            by_part["validation"] = indices
    return kept


def _common(
    datasets: Sequence[Dataset], parts: Sequence[Any], called: str
) -> list[NDArray[np.int64]]:
    """Where in a part of each dataset the patches are that both have, in the order of the one."""
    one, other = datasets
    places = [_places(*known, called) for known in zip(datasets, parts, strict=True)]
    shared = [key for key in places[0] if key in places[1]]
    if not shared:
        raise HarnessError(
            f"contrast: {one.name} and {other.name} have no {called} patch in common; their files "
            "must have the same names"
        )
    kept = [np.array([at[key] for key in shared]) for at in places]
    labels = [part.labels[indices] for part, indices in zip(parts, kept, strict=True)]
    for first in np.flatnonzero(labels[0] != labels[1])[:1]:
        of_one, of_other = (one.classes[found[first]] for found in labels)
        raise HarnessError(
            f"contrast: {shared[first]} is {of_one} in {one.name} and {of_other} in {other.name}; "
            "correct its label"
        )
    return kept


def _places(dataset: Dataset, split: Split, called: str) -> dict[str, int]:
    """The place of each patch of a split by its id, less the archive that all ids begin with."""
    ids = list(split.ids)
    archives = {id_.partition("/")[0] if "/" in id_ else None for id_ in ids}
    if len(archives) == 1 and None not in archives:
        ids = [id_.partition("/")[2] for id_ in ids]
    places = {id_: place for place, id_ in enumerate(ids)}
    if len(places) < len(ids):
        twice = next(id_ for place, id_ in enumerate(ids) if places[id_] != place)
        raise HarnessError(
            f"contrast: {dataset.name} has two {called} patches with the id {twice}; rename one"
        )
    return places

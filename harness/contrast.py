"""One model, two versions of the same training patches: what the difference between them does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from harness import compare
from harness.compare import Compared
from harness.errors import HarnessError
from harness.plan import Plan
from harness.probes import Figure, Table
from harness.report import render, write_page
from harness.splits import Subset
from harness.statistics.ranking import holm
from harness.store import Store
from harness.types import Dataset, DerivedModel, Model, Split, Splits

SCHEMA = 1


def pair(one: Dataset, other: Dataset, data: Path) -> tuple[tuple[Dataset, Dataset], int]:
    """Two datasets, with only those training patches that both have, and the number of these.

    Patches are the same when their ids are, but for the part before the first slash, which names
    the archive. A dataset that loses patches goes by another name, NAME-common, so that its other
    results stay what they are. Raises HarnessError unless classes and test patches are the same.
    """
    if one.name == other.name:
        raise HarnessError(f"contrast: {one.name} is contrasted with itself; name two datasets")
    if one.classes != other.classes:
        raise HarnessError(
            f"contrast: {one.name} and {other.name} have other classes "
            f"({', '.join(one.classes)}; {', '.join(other.classes)}); name two versions of one"
        )
    loaded = one.load(data), other.load(data)
    tests = [splits.test for splits in loaded]
    if list(tests[0].ids) != list(tests[1].ids) or (tests[0].labels != tests[1].labels).any():
        raise HarnessError(
            f"contrast: {one.name} and {other.name} have other test patches; name two versions of "
            "one dataset"
        )
    parts = [splits.train for splits in loaded]
    trains = [part for part in parts if part is not None]
    if len(trains) < 2:
        raise HarnessError(
            f"contrast: {one.name if parts[0] is None else other.name} has no training patches of "
            "its own"
        )
    places = [_places(train) for train in trains]
    common = [key for key in places[0] if key in places[1]]
    if not common:
        raise HarnessError(
            f"contrast: {one.name} and {other.name} have no training patch in common; their files "
            "must have the same names"
        )
    for key in common:
        labels = [t.labels[at[key]] for t, at in zip(trains, places, strict=True)]
        if labels[0] != labels[1]:
            raise HarnessError(
                f"contrast: {key} is {one.classes[labels[0]]} in {one.name} and "
                f"{one.classes[labels[1]]} in {other.name}; correct its label"
            )
    chosen = [
        _only(dataset, splits, train, np.array([at[key] for key in common]))
        for dataset, splits, train, at in zip((one, other), loaded, trains, places, strict=True)
    ]
    return (chosen[0], chosen[1]), len(common)


def _places(split: Split) -> dict[str, int]:
    return {id_.partition("/")[2] or id_: place for place, id_ in enumerate(split.ids)}


def _only(dataset: Dataset, splits: Splits, train: Split, kept: Any) -> Dataset:
    """The dataset with some of its training patches, or as it is if these are all, in order."""
    if np.array_equal(kept, np.arange(len(train.labels))):
        return replace(dataset, load=lambda folder: splits)
    fewer = replace(
        splits,
        train=Subset(train, kept),
        train_shortfall=f"{len(kept):,} training patches that both versions have",
    )
    return replace(dataset, name=f"{dataset.name}-common", load=lambda folder: fewer)


@dataclass(frozen=True)
class Contrast:
    """What two versions of the training patches make of some models."""

    datasets: tuple[str, str]
    n_train: int
    """Training patches that both versions have; one fit gets these, less what it holds out."""
    compared: Mapping[str, Compared]
    """By model; the version named first is ``one``."""


def contrast(
    store: Store,
    plan: Plan,
    datasets: tuple[str, str],
    models: Sequence[Model | DerivedModel],
    n_train: int,
) -> Contrast:
    """Compare what was planned and computed; a model that lacks a result is left out."""
    versions = {model.name: model.version for model in models if isinstance(model, Model)}
    sides = [compare.measured(store, name, versions) for name in datasets]
    compared = {}
    for model in [model.name for model in models]:
        digests = [_digest(plan, store, dataset, model) for dataset in datasets]
        if None in digests:
            continue
        found = [
            compare.find(entries, str(digest), name)
            for (_, entries), digest, name in zip(sides, digests, datasets, strict=True)
        ]
        named = [replace(entry, name=name) for entry, name in zip(found, datasets, strict=True)]
        compared[model] = compare.compare(sides[0][0], *named)
    return Contrast(datasets, n_train, compared)


def _digest(plan: Plan, store: Store, dataset: str, model: str) -> str | None:
    """Digest of the planned prediction of clean patches; None if it is not there."""
    for job in plan.jobs.values():
        key = job.key
        clean = key.fields.get("perturbation") == "clean" and key.fields.get("view") == "identity"
        if (key.kind, key.dataset, key.name) == ("prediction", dataset, model) and clean:
            return key.digest if key in store else None
    return None


def tables(found: Contrast) -> list[Table]:
    """Accuracies of each model side by side, and its differences in recall by class."""
    one, other = found.datasets
    corrected = holm(np.array([_p(compared) for compared in found.compared.values()]))
    rows: list[tuple[str | float | None, ...]] = []
    for (model, compared), p in zip(found.compared.items(), corrected, strict=True):
        gap = compared.first.differences["accuracy"]
        if compared.seeds:
            gap = compared.seeds.difference
        sides = (compared.one, compared.other)
        first = compared.first
        rows.append(
            (
                model,
                *(f"{100 * entry.right.mean():.2f}" for entry in sides),
                f"{100 * gap.value:+.2f} {_ends(gap)}",
                f"{p:.3f}" if p >= 0.001 else "< 0.001",
                f"{first.only_one} / {first.only_other}",
                ", ".join(str(run.record["seed"]) for run in compared.one.runs),
                "; ".join(dict.fromkeys(entry.record["selected_on"] for entry in sides)),
                compared.one.record["initial_weights"],
                compared.one.record["deviations"],
            )
        )
    accuracies = Table(
        name="accuracy",
        title="Accuracy %",
        headings=(
            *("model", one, other, "difference (95 %)", "p (Holm)", "right only with either"),
            *("seeds", "selected on", "initial weights", "notes"),
        ),
        rows=tuple(rows),
    )
    recalls = Table(
        name="recall",
        title=f"Recall with {one} minus that with {other}, points (95 %)",
        headings=("class", *found.compared),
        rows=tuple(
            (name, *(_recall(compared, name) for compared in found.compared.values()))
            for name in next(iter(found.compared.values())).truth.classes
        ),
    )
    return [accuracies, recalls]


def _p(compared: Compared) -> float:
    return compared.seeds.p if compared.seeds else compared.first.p


def _recall(compared: Compared, name: str) -> str:
    gap = compared.recalls.get(name)
    return "" if gap is None else f"{100 * gap.value:+.1f} {_ends(gap)}"


def _ends(gap: Figure) -> str:
    return f"({100 * (gap.low or 0):+.2f} to {100 * (gap.high or 0):+.2f})"


def about(found: Contrast) -> str:
    """What was done, for the page and the terminal."""
    one, other = found.datasets
    truth = next(iter(found.compared.values())).truth
    return (
        f"Each model was trained on the {found.n_train:,} training patches that {one} and {other} "
        f"both have, once as they are in each, with the same seed, held-out patches and order, and "
        f"predicts the same {len(truth.labels):,} test patches. Differences are {one} minus "
        f"{other}, with paired intervals; p is McNemar's (over seeds and patches where a model was "
        "trained several times), corrected for the number of models."
    )


def write(found: Contrast, folder: Path) -> list[Path]:
    """Write ``<one>-against-<other>.md`` and ``.json``."""
    name = "-against-".join(found.datasets)
    page = [f"# {' against '.join(found.datasets)}", about(found)]
    for table in tables(found):
        page += [f"## {table.title}", render(table, "github")]
    content = {
        "schema": SCHEMA,
        "datasets": list(found.datasets),
        "n_train": found.n_train,
        "models": {model: compare.as_json(compared) for model, compared in found.compared.items()},
    }
    return write_page(folder / name, page, content)

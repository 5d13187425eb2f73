"""One model, two versions of the same training patches: what the difference between them does."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from harness import classes, compare, figures, predictions
from harness.compare import Compared
from harness.errors import HarnessError
from harness.markup import inline, visible
from harness.numbers import p_value, percent, points
from harness.plan import Plan
from harness.predictions import GroundTruth, Run
from harness.probes import Figure, Table
from harness.report import render, write_page
from harness.rows import Entry
from harness.splits import Subset
from harness.statistics.intervals import Sampling
from harness.statistics.ranking import holm
from harness.store import Store
from harness.types import Dataset, Split, Splits

SCHEMA = 1
LONGEST = 200
"""Characters of a file's name, which some systems limit to 255 bytes."""


def pair(one: Dataset, other: Dataset, data: Path) -> tuple[tuple[Dataset, Dataset], int]:
    """Two datasets, with only those patches to train on and to select on that both have.

    The number of those to train on comes along. Patches are the same when their ids are, but for
    the part before the first slash where all ids of a split share it, as it then names the archive.
    A dataset that loses patches goes by another name, NAME-common, so that its other results stay
    what they are. Raises HarnessError unless classes and test patches are the same.
    """
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
    datasets = one, other
    loaded = [dataset.load(data) for dataset in datasets]
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
    chosen = [_only(*known) for known in zip(datasets, loaded, kept, strict=True)]
    return (chosen[0], chosen[1]), len(kept[0]["train"])


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


def _only(dataset: Dataset, splits: Splits, kept: Mapping[str, NDArray[np.int64]]) -> Dataset:
    """The dataset with some patches of some parts, or as it is if these are all, in order."""
    fewer: dict[str, Any] = {part: Subset(getattr(splits, part), at) for part, at in kept.items()}
    whole = {part: np.arange(len(getattr(splits, part).labels)) for part in kept}
    if all(np.array_equal(kept[part], at) for part, at in whole.items()):
        return replace(dataset, load=lambda folder: splits)
    shortfall = f"{len(kept['train']):,} training patches that both versions have"
    found = replace(splits, train_shortfall=shortfall, **fewer)
    return replace(dataset, name=f"{dataset.name}-common", load=lambda folder: found)


@dataclass(frozen=True)
class Contrast:
    """What two versions of the training patches make of some models."""

    datasets: tuple[str, str]
    n_train: int
    """Training patches that both versions have; one fit gets these, less what it holds out."""
    compared: Mapping[str, Compared]
    """By model; the version named first is ``one``. Both sides have the same seeds."""


def contrast(
    store: Store, plan: Plan, datasets: tuple[str, str], models: Sequence[str], n_train: int
) -> Contrast:
    """Compare what was planned and computed, whatever else the store holds.

    Seeds that lack a result of either version are left out, and models without any other.
    """
    truths = [predictions.ground_truth(store, name) for name in datasets]
    compared = {}
    for model in models:
        sides = [_planned(plan, store, dataset, model) for dataset in datasets]
        if seeds := sorted(sides[0].keys() & sides[1].keys()):
            entries = [
                _entry(store, truth, [runs[seed] for seed in seeds])
                for truth, runs in zip(truths, sides, strict=True)
            ]
            compared[model] = compare.compare(truths[0], entries[0], entries[1])
    return Contrast(datasets, n_train, compared)


def _planned(plan: Plan, store: Store, dataset: str, model: str) -> dict[int, Run]:
    """By seed: the planned predictions of clean patches that are stored."""
    found = {}
    for job in plan.jobs.values():
        key = job.key
        clean = key.fields.get("perturbation") == "clean" and key.fields.get("view") == "identity"
        wanted = (key.kind, key.dataset, key.name) == ("prediction", dataset, model) and clean
        if wanted and key in store:  # what is damaged could not be computed again, as was said
            run = Run(store.record(key), store.folder(key))
            found[run.record["seed"]] = run
    return found


def _entry(store: Store, truth: GroundTruth, runs: Sequence[Run]) -> Entry:
    sampling = Sampling(groups=truth.groups)
    return Entry(
        name=truth.dataset,
        runs=tuple(runs),
        found=tuple(figures.of_run(store, run, truth, sampling) for run in runs),
        right=np.stack([run.logits().argmax(axis=1) == truth.labels for run in runs]),
        findings={},
    )


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
                *(percent(float(entry.right.mean())) for entry in sides),
                f"{points(gap.value)} {_ends(gap)}",
                p_value(p),
                f"{first.only_one} / {first.only_other}",
                ", ".join(str(run.record["seed"]) for run in compared.one.runs),
                *(
                    "; ".join(dict.fromkeys(filter(None, (e.record[name] for e in sides))))
                    for name in ("selected_on", "initial_weights", "deviations")
                ),
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
    return "" if gap is None else f"{points(gap.value)} {_ends(gap)}"


def _ends(gap: Figure) -> str:
    return f"({points(gap.low or 0)} to {points(gap.high or 0)})"


def about(found: Contrast, name: Callable[[str], str] = visible) -> str:
    """What was done, for the page and the terminal. ``name`` escapes the datasets' names."""
    one, other = map(name, found.datasets)
    truth = next(iter(found.compared.values())).truth
    test = "McNemar's" if truth.groups is None else "of the differences summed over groups"
    of_first = ""
    several = [compared.seeds is not None for compared in found.compared.values()]
    if any(several):
        over = "over seeds and patches"
        test = over if all(several) else f"{test}, or {over} where a model has several seeds"
        of_first = (
            " Accuracies, their difference and p are of all seeds; which patches are right only "
            "with either, and recalls, are of the first seed."
        )
    alone = "" if all(several) else " With one seed, p is about these two trainings (`--seeds`)."
    return (
        f"Each model was trained on the {found.n_train:,} training patches that {one} and {other} "
        "both have, once as they are in each, with the same seeds, order and patches to select on, "
        f"and predicts the same {len(truth.labels):,} test patches. Differences are {one} minus "
        f"{other}, with paired intervals; p is {test}, corrected for the number of models."
        f"{of_first}{alone}"
    )


def write(found: Contrast, folder: Path) -> list[Path]:
    """Write ``<one>-against-<other>-of-<models>.md`` and ``.json``."""
    models = "-and-".join(quote(model, safe="+") for model in found.compared)
    name = f"{'-against-'.join(found.datasets)}-of-{models}"
    if len(name) > LONGEST:
        name = f"{name[:LONGEST]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    page = [f"# {inline(' against '.join(found.datasets))}", about(found, inline)]
    for table in tables(found):
        page += [f"## {inline(table.title)}", render(table, "github")]
    content = {
        "schema": SCHEMA,
        "datasets": list(found.datasets),
        "n_train": found.n_train,
        "models": {model: compare.as_json(compared) for model, compared in found.compared.items()},
    }
    return write_page(folder / f"{name}.md", page, content)

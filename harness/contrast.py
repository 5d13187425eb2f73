"""One model, two versions of the same training patches: what the difference between them does."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np

from harness import compare, figures, pairing, predictions
from harness.compare import Compared
from harness.markup import inline, visible
from harness.numbers import p_value, percent, points
from harness.plan import Plan
from harness.predictions import GroundTruth, Run
from harness.probes import Figure, Table
from harness.report import render, write_page
from harness.rows import Entry
from harness.statistics.intervals import Sampling
from harness.statistics.ranking import holm
from harness.store import Store

SCHEMA = 1
LONGEST = 200
"""Characters of a file's name, which some systems limit to 255 bytes."""


@dataclass(frozen=True)
class Contrast:
    """What two versions of the training patches make of some models."""

    datasets: tuple[str, str]
    n_train: int
    """Training patches that both versions have; one fit gets these, less what it holds out."""
    compared: Mapping[str, Compared]
    """By model; the version named first is ``one``. Both sides have the same seeds."""

    @property
    def titles(self) -> tuple[str, str]:
        """What the two versions are called, whether or not all their patches are used."""
        one, other = map(pairing.base, self.datasets)
        return one, other


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
    one, other = found.titles
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
    one, other = map(name, found.titles)
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
    name = f"{'-against-'.join(found.titles)}-of-{models}"
    if len(name) > LONGEST:
        name = f"{name[:LONGEST]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    page = [f"# {inline(' against '.join(found.titles))}", about(found, inline)]
    for table in tables(found):
        page += [f"## {inline(table.title)}", render(table, "github")]
    content = {
        "schema": SCHEMA,
        "datasets": list(found.datasets),
        "n_train": found.n_train,
        "models": {model: compare.as_json(compared) for model, compared in found.compared.items()},
    }
    return write_page(folder / f"{name}.md", page, content)

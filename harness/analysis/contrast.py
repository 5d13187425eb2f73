"""One model, two versions of the same training patches: what the difference between them does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.analysis import compare, estimates
from harness.analysis.compare import Compared
from harness.analysis.dataframes import of_rows
from harness.analysis.rows import Entry
from harness.data import pairing
from harness.planning.plan import Plan
from harness.statistics.intervals import Sampling
from harness.statistics.ranking import holm
from harness.store import predictions
from harness.store.predictions import GroundTruth, Run
from harness.store.store import Store


@dataclass(frozen=True)
class Contrast:
    """What two versions of the training patches make of some models."""

    datasets: tuple[str, str]
    n_train: int
    """Training patches that both versions have; one fit gets these, less what it holds out."""
    compared: Mapping[str, Compared]
    """By model; the version named first is ``one``. Both sides have the same seeds."""
    failed: Mapping[str, str] = field(default_factory=dict)
    """What could not be computed, and why."""

    @property
    def titles(self) -> tuple[str, str]:
        """What the two versions are called, whether or not all their patches are used."""
        one, other = map(pairing.base, self.datasets)
        return one, other

    @property
    def p_values(self) -> dict[str, float]:
        """By model: p of the difference in accuracy, after Holm's correction for their number."""
        corrected = holm(np.array([compared.p for compared in self.compared.values()]))
        return dict(zip(self.compared, corrected.tolist(), strict=True))

    def to_dataframe(self) -> Any:
        """A pandas DataFrame, a row a model: accuracies with either version and their difference.

        Accuracies are the means over seeds. Raises HarnessError without pandas.
        """
        one, other = self.titles
        return of_rows(
            [
                {
                    "model": model,
                    one: float(compared.one.right.mean()),
                    other: float(compared.other.right.mean()),
                    "difference": compared.difference.value,
                    "low": compared.difference.low,
                    "high": compared.difference.high,
                    "p_holm": self.p_values[model],
                    "seeds": [run.record["seed"] for run in compared.one.runs],
                }
                for model, compared in self.compared.items()
            ]
        )

    def __repr__(self) -> str:
        one, other = self.titles
        return f"<contrast of {one} and {other}: {', '.join(self.compared)}>"

    def __str__(self) -> str:
        from harness.reports import display

        return display.text_of_contrast(self)

    def _repr_html_(self) -> str:
        from harness.reports import display

        return display.html_of_contrast(self)


def contrast(
    store: Store, plan: Plan, datasets: tuple[str, str], models: Sequence[str], n_train: int
) -> Contrast:
    """Compare what was planned and computed, whatever else the store holds.

    Seeds that lack a result of either version are left out, and models without any other.
    """
    truths = [predictions.ground_truth(store, name) for name in datasets]
    compared = {}
    for model in models:
        sides = [planned(plan, store, dataset, model) for dataset in datasets]
        if seeds := sorted(sides[0].keys() & sides[1].keys()):
            entries = [
                entry(store, truth, [runs[seed] for seed in seeds])
                for truth, runs in zip(truths, sides, strict=True)
            ]
            compared[model] = compare.compare(truths[0], entries[0], entries[1])
    return Contrast(datasets, n_train, compared)


def planned(plan: Plan, store: Store, dataset: str, model: str) -> dict[int, Run]:
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


def entry(store: Store, truth: GroundTruth, runs: Sequence[Run]) -> Entry:
    """A row of runs that are of one model and differ in their seeds."""
    sampling = Sampling(groups=truth.groups)
    return Entry(
        name=truth.dataset,
        runs=tuple(runs),
        found=tuple(estimates.of_run(store, run, truth, sampling) for run in runs),
        right=np.stack([run.logits().argmax(axis=1) == truth.labels for run in runs]),
        findings={},
    )

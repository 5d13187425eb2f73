"""The leaderboard: rows per dataset, from stored predictions and published results alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from harness.analysis import asking, estimates, measuring
from harness.analysis.asking import Ask
from harness.analysis.chosen_rows import Rows
from harness.analysis.dataframes import of_rows
from harness.analysis.measuring import Measure
from harness.analysis.rows import (
    Entry,
    Row,
    cells,
    changed_row,
    failed_row,
    measured_row,
    metric_cells,
    published_row,
    with_scaled,
)
from harness.data import comparability
from harness.statistics import ranking
from harness.statistics.equivalence import MARGIN
from harness.statistics.intervals import Sampling
from harness.statistics.ranking import Pairwise
from harness.store import failures, predictions
from harness.store.failures import FailedModel
from harness.store.predictions import GroundTruth, Run
from harness.store.store import Store
from harness.store.stored import DamagedError
from harness.types.findings import Finding
from harness.types.metrics import Metric
from harness.types.perturbations import Perturbation
from harness.types.probes import ModelProbe
from harness.types.published import PublishedResult


@dataclass(frozen=True)
class Board:
    """A leaderboard: what the dataset is, and its rows, measured ones first."""

    truth: GroundTruth
    reference: PublishedResult | None
    rows: list[Row]
    entries: tuple[Entry, ...] = ()
    """Of the measured rows, in their order."""
    pairs: Pairwise | None = None
    """How the entries compare, each with each; None where there are fewer than two."""
    sampling: Sampling = field(default_factory=Sampling)
    probes: tuple[ModelProbe, ...] = ()
    published: tuple[PublishedResult, ...] = ()
    """Those of the same test set, perturbed ones included."""
    findings: Mapping[str, Mapping[str, Finding]] = field(default_factory=dict)
    """What each probe found, by the probe's and the model's name; the best row of a model."""
    changed: tuple[Row, ...] = ()
    """Published accuracies under perturbations, each beside the measured one of the same model."""
    margin: float = MARGIN
    """Difference in accuracy within which a model reproduces what was published."""
    metrics: tuple[Metric, ...] = ()
    columns: tuple[str, ...] = ("default",)
    """The sets of columns, and single ones, that tables for people show."""
    chosen: Rows = field(default_factory=Rows)
    """The rows that LaTeX has."""
    pictures: tuple[str, ...] = ()
    """Markdown that shows its pictures, for the page."""

    def other_test_data(self, result: PublishedResult) -> str:
        """Why a published result is about other test patches than those here; "" if it is not."""
        return comparability.other_test_data(result, self.dataset, self.published)

    def to_dataframe(self) -> Any:
        """A pandas DataFrame with all fields of all rows. Raises HarnessError without pandas."""
        return of_rows(self.rows)

    def to_latex(self, columns: Sequence[str] = ("default",), models: Sequence[str] = ()) -> str:
        """A table in LaTeX (booktabs) with caption and label.

        ``columns`` are those of ``--columns``, ``models`` those of ``--model``: names of models,
        which may have ``*`` and ``?``. By default, the rows are those that the command prints.
        Raises HarnessError for a column that there is not, and for a model that no row has.
        """
        from harness.reports import display

        chosen = Rows(tuple(models)) if models else self.chosen
        chosen.check([self])
        return display.latex_of_board(replace(self, chosen=chosen), columns)

    def __repr__(self) -> str:
        kinds = Counter(row["result"] for row in self.rows)
        rows = ", ".join(f"{n} {kind}" for kind, n in kinds.items())
        return f"<leaderboard of {self.truth.dataset}: {rows or 'no rows'}>"

    def __str__(self) -> str:
        from harness.reports import display

        return display.text_of_board(self)

    def _repr_html_(self) -> str:
        from harness.reports import display

        return display.html_of_board(self)

    @property
    def assumed(self) -> list[str]:
        """A sentence for pages about the design effect, if there is one."""
        effect = self.sampling.design_effect
        return [] if effect == 1 else [f"Intervals and p assume a design effect of {effect:g}."]

    @property
    def dataset(self) -> dict[str, Any]:
        """What is said of the dataset."""
        return self.truth.described


def build(
    store: Store,
    dataset: str,
    published: Sequence[PublishedResult],
    probes: Sequence[ModelProbe] = (),
    perturbations: Mapping[str, Perturbation] = MappingProxyType({}),
    design_effect: float = 1.0,
    with_temperature: bool = False,
    versions: Mapping[str, int] = MappingProxyType({}),
    ask: Ask = asking.ask,
    damaged: Callable[[DamagedError], None] | None = None,
    margin: float = MARGIN,
    metrics: Sequence[Metric] = (),
    measure: Measure = measuring.measure,
    columns: Sequence[str] = ("default",),
) -> Board:
    """The board of a dataset in the store, about the copy of it that was used last.

    ``versions`` has the version of each model that is installed; results of others are left out.
    With ``with_temperature``, models with held-out logits have a second row, of logits scaled.
    ``ask`` asks a probe, and ``measure`` a metric, and each decides what becomes of one that fails.
    ``margin`` is the difference in accuracy within which a model reproduces what was published.
    What is damaged is handed to ``damaged``, and the row of its model says so in place of figures;
    without it, and where the dataset itself is damaged, DamagedError is raised. ``columns`` are
    those that tables for people show.
    """
    found_damaged: dict[Path, DamagedError] = {}

    def note_damaged(error: DamagedError) -> None:
        if damaged is None:
            raise error
        if error.path not in found_damaged:
            found_damaged[error.path] = error
            damaged(error)

    truth = predictions.ground_truth(store, dataset)
    described = truth.described
    sampling = Sampling(groups=truth.groups, design_effect=design_effect)
    same_test = [
        result
        for result in published
        if described["test_set"] and result.test_set == described["test_set"]
    ]
    related = [result for result in same_test if result.perturbation == "clean"]
    reference = next((result for result in related if result.reference), None)
    fails = failed(store, truth, note_damaged)
    entries = collect(
        *(store, truth, sampling, probes, perturbations, versions, ask, note_damaged),
        metrics,
        measure,
    )
    for error in found_damaged.values():
        if error.name not in {one.model for one in fails}:
            fails.append(failures.of_damaged(error))
    entries = [e for e in entries if e.record["model"] not in {one.model for one in fails}]
    rows = [measured_row(entry, truth, sampling, same_test, reference, margin) for entry in entries]
    for row, entry in zip(rows, entries, strict=True):
        row |= cells(probes, entry.findings)
        row |= metric_cells(metrics, [found.metrics for found in entry.found])
    pairs = _rank(rows, entries, sampling)
    if with_temperature:
        rows = with_scaled(
            rows, entries, store, truth, sampling, probes, note_damaged, metrics, measure
        )
    empty = cells(probes, {}) | metric_cells(metrics)
    rows += [failed_row(one, store, truth) | empty for one in fails]
    findings: dict[str, dict[str, Finding]] = {probe.name: {} for probe in probes}
    best: dict[str, Run] = {}
    for entry in entries:
        best.setdefault(entry.record["model"], entry.runs[0])
        for name, finding in entry.findings.items():
            findings[name].setdefault(entry.record["model"], finding)
    names = {
        (entry.record["model"], predictions.trained_on(entry.record, described))
        for entry in entries
    }
    others = [r for r in related if (r.name, r.trained_on) not in names]
    others.sort(key=lambda r: (-(r.accuracy or 0.0), -(r.balanced_accuracy or 0.0), r.name))
    rows += [published_row(result, truth, sampling, reference) | empty for result in others]
    changed = [
        changed_row(
            result,
            best.get(result.name),
            truth.labels,
            comparability.other_test_data(result, described, same_test),
        )
        for result in same_test
        if result.perturbation != "clean" and result.accuracy is not None
    ]
    return Board(
        truth=truth,
        reference=reference,
        rows=rows,
        entries=tuple(entries),
        pairs=pairs,
        sampling=sampling,
        probes=tuple(probes),
        published=tuple(same_test),
        findings=findings,
        changed=tuple(changed),
        margin=margin,
        metrics=tuple(metrics),
        columns=tuple(columns),
    )


def failed(
    store: Store, truth: GroundTruth, damaged: Callable[[DamagedError], None] | None = None
) -> list[FailedModel]:
    """Models that failed on this instance of the dataset and were not measured on it by the same
    version of their plugin: what an earlier one measured says nothing of the present one."""
    data = truth.described["key"]["fields"]["data"]
    measured = {
        (record["model"], record["plugin"])
        for _, record in store.records("prediction", truth.dataset, damaged)
        if (record["data"], record.get("perturbation"), record.get("view"))
        == (data, "clean", "identity")
    }
    known = failures.recorded(store, truth.dataset, data, damaged)
    return [one for one in known if (one.model, one.plugin) not in measured]


def collect(
    store: Store,
    truth: GroundTruth,
    sampling: Sampling,
    probes: Sequence[ModelProbe] = (),
    perturbations: Mapping[str, Perturbation] = MappingProxyType({}),
    versions: Mapping[str, int] = MappingProxyType({}),
    ask: Ask = asking.ask,
    damaged: Callable[[DamagedError], None] | None = None,
    metrics: Sequence[Metric] = (),
    measure: Measure = measuring.measure,
) -> list[Entry]:
    """Every measured model on a dataset, the most accurate first.

    Those that fell back to random weights, as pretrained ones could not be obtained, come after the
    others. Results that are damaged are handed to ``damaged``; without it, DamagedError is raised.
    """
    together = predictions.trainings(
        predictions.runs(store, truth.dataset, perturbations, damaged), versions
    )
    kept = [run for group in together for run in group]
    effect = sampling.design_effect
    seen = predictions.views(truth, kept, perturbations, effect) if probes else []
    view_of = {id(run): view for run, view in zip(kept, seen, strict=False)}
    entries = []
    models = [group[0].record["model"] for group in together]
    for group in together:
        name, digest = group[0].record["model"], group[0].record["digest"]
        # Perturbed patches are predicted by the first training alone.
        asked = {probe.name: ask(probe, view_of[id(group[0])]) for probe in probes}
        entries.append(
            Entry(
                name=name if models.count(name) == 1 else f"{name}:{digest}",
                runs=tuple(group),
                found=tuple(
                    replace(
                        estimates.of_run(store, run, truth, sampling),
                        metrics=measuring.of_run(run, truth, sampling, metrics, measure),
                    )
                    for run in group
                ),
                right=np.stack([run.logits().argmax(axis=1) == truth.labels for run in group]),
                findings={name: finding for name, finding in asked.items() if finding},
            )
        )
    entries.sort(key=_place)
    return entries


def _place(entry: Entry) -> tuple[bool, float, str, int]:
    """Where an entry stands: those that fell back to random weights below all others."""
    fell_back = bool(entry.record.get("initial_weights_fallback"))
    return fell_back, -float(entry.right.mean()), entry.record["model"], entry.record["seed"]


def _rank(rows: Sequence[Row], entries: Sequence[Entry], sampling: Sampling) -> Pairwise | None:
    """Give measured rows their ranks, and the range of ranks that the data leave open.

    Returns how all pairs compare; None with fewer than two models.
    """
    accuracies = np.array([row["accuracy"] for row in rows])
    pairs, p = None, np.ones((len(rows), len(rows)))
    if len(entries) > 1:
        right = [entry.right for entry in entries]
        pairs = ranking.pairwise(right, sampling.groups, sampling.design_effect)
        p = pairs.holm
    ranges = ranking.rank_ranges(accuracies, p)
    for row, (best, worst) in zip(rows, ranges, strict=True):
        row["rank"] = 1 + int((accuracies > row["accuracy"]).sum())
        row["rank_best"], row["rank_worst"] = best, worst
    return pairs

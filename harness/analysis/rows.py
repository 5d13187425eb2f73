"""What stands in a row of the leaderboard, of a measured model or of a published result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.analysis import estimates, measuring, reproduction, temperature
from harness.analysis.measuring import Measure
from harness.data import classes, comparability
from harness.statistics.equivalence import MARGIN
from harness.statistics.estimates import Estimate
from harness.statistics.intervals import Sampling
from harness.statistics.unpaired import difference
from harness.store import predictions
from harness.store.failures import FailedModel, as_failure
from harness.store.predictions import GroundTruth, Run
from harness.store.store import Store
from harness.store.stored import DamagedError
from harness.text import numbers
from harness.types.findings import Finding
from harness.types.metrics import Metric
from harness.types.probes import Column, ModelProbe
from harness.types.published import PublishedResult

Row = dict[str, Any]
ONCE = ("rank", "published_", "difference_", "reproduced")
"""What fields that a row of scaled logits does not repeat begin with."""


NOT_FITTED: Row = dict.fromkeys(("n_train", "n_train_max", "n_held_out", "n_held_out_max"))


@dataclass(frozen=True)
class Entry:
    """A measured model on the leaderboard: its trainings, and what came of them."""

    name: str
    """The model; with the digest of its first result where it was set up in several ways."""
    runs: tuple[Run, ...]
    found: tuple[estimates.RunFigures, ...]
    """Of each training."""
    right: Any = field(repr=False)
    """Which patches each training gets right, bool (S, N)."""
    findings: Mapping[str, Finding]
    """What probes found, by their name."""

    @property
    def record(self) -> dict[str, Any]:
        """Of the first training."""
        return self.runs[0].record

    @property
    def trained_here(self) -> bool:
        """Whether the harness fitted it; otherwise it is a pretrained classifier."""
        return not self.record.get("trained_on")

    @property
    def no_probabilities(self) -> str:
        """Why there are no figures of calibration; "" if there are."""
        return next((why for run in self.runs if (why := run.no_probabilities)), "")


def fields(probe: ModelProbe, column: Column) -> tuple[str, str, str]:
    """Names of the value, the low and the high end of a probe's column in a row."""
    name = f"{probe.name}.{column.estimate}"
    return name, f"{name}_low", f"{name}_high"


def cells(probes: Sequence[ModelProbe], findings: Mapping[str, Finding]) -> Row:
    """Fields of a row for the columns of probes; None where a probe found nothing."""
    filled: Row = {}
    for probe in probes:
        for column in probe.columns:
            known = findings[probe.name].estimates if probe.name in findings else ()
            estimate = next((f for f in known if f.name == column.estimate), None)
            filled |= _fields(fields(probe, column)[0], estimate)
    return filled


def metric_field(metric: Metric) -> str:
    """Name of a metric's value in a row."""
    return f"metric.{metric.name}"


def metric_cells(metrics: Sequence[Metric], runs: Sequence[Mapping[str, Estimate]] = ()) -> Row:
    """Fields of a row for metrics: means over trainings; None where one is not defined."""
    found = estimates.mean(runs) if runs else {}
    filled: Row = {}
    for metric in metrics:
        filled |= _fields(metric_field(metric), found.get(metric.name))
    return filled


def _fields(name: str, estimate: Estimate | None) -> Row:
    """Fields of a row for a figure."""
    if estimate is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def _all_fields(found: Mapping[str, Estimate]) -> Row:
    filled: Row = {}
    for name in estimates.NAMES:
        filled |= _fields(name, found.get(name))
    return filled


def measured_row(
    entry: Entry,
    truth: GroundTruth,
    sampling: Sampling,
    related: Sequence[PublishedResult],
    reference: PublishedResult | None,
    margin: float = MARGIN,
) -> Row:
    """The row of a measured model, beside its published counterpart and the reference.

    ``related`` are all published results of the dataset's test set. ``margin`` is the difference in
    accuracy within which a model reproduces what was published.
    """
    record, dataset = entry.record, truth.described
    pretrained = bool(record.get("trained_on"))
    trained_on = predictions.trained_on(record, dataset)
    found = estimates.mean([run.estimates for run in entry.found])
    accuracies = [run.estimates["accuracy"].value for run in entry.found]
    records = [run.record for run in entry.runs]
    same = next(
        (
            result
            for result in related
            if result.perturbation == "clean"
            and (result.name, result.trained_on) == (record["model"], trained_on)
        ),
        None,
    )

    theirs = Sampling(design_effect=sampling.design_effect)

    def judged(result: PublishedResult | None, why_none: str) -> reproduction.Reproduction:
        if result is None or result.accuracy is None:
            why = "only balanced accuracy was published" if result else why_none
            return reproduction.Reproduction("not comparable", why, None)
        if other := comparability.other_test_data(result, dataset, related):
            return reproduction.Reproduction("not comparable", other, None)
        return reproduction.judge(
            found["accuracy"], accuracies, result, record, dataset, theirs, margin
        )

    to_published, to_reference = judged(same, "not published"), judged(reference, "no reference")
    several = len(accuracies) > 1
    provided = comparability.unverified(dataset, fitted_here=not pretrained)
    notes = _notes(record, dataset)
    if provided and (to_published.difference or to_reference.difference):
        notes.append(f"not verified that {provided}")
    return {
        "rank": None,
        "rank_best": None,
        "rank_worst": None,
        "result": "measured",
        "model": record["model"],
        "title": record["title"],
        **_all_fields(found),
        "calibration_empty_because": entry.no_probabilities,
        "seeds": [one["seed"] for one in records],
        "accuracy_sd": float(np.std(accuracies, ddof=1)) if several else None,
        "accuracy_min": min(accuracies) if several else None,
        "accuracy_max": max(accuracies) if several else None,
        "published_accuracy": same.accuracy if same else None,
        "published_balanced_accuracy": same.balanced_accuracy if same else None,
        "published_selected_on": same.selected_on if same else None,
        "published_source": same.source if same else None,
        **_fields("difference_to_published", to_published.difference),
        "reproduced": to_published.verdict if same else None,
        "reproduced_because": to_published.because,
        "reproduced_if": provided if same and to_published.verdict != "not comparable" else "",
        **_reproduced(to_published),
        **_fields("difference_to_reference", to_reference.difference),
        "difference_to_reference_empty_because": (
            "" if to_reference.difference else to_reference.because
        ),
        "selected_on": record["selected_on"],
        "initial_weights": record["initial_weights"],
        "initial_weights_fallback": bool(record.get("initial_weights_fallback")),
        "trained_on": trained_on,
        **_fitted_on(records, dataset),
        "n_test": len(truth.labels),
        "test_identity": comparability.identity(dataset, "test"),
        "train_identity": None if pretrained else comparability.identity(dataset, "train"),
        "fit_seconds": sum(
            {
                part["digest"]: part["seconds"]
                for one in records
                for part in one["fits"] + one["features"]
            }.values()
        ),
        "patches_per_second": record["n"] / record["seconds"] if record["seconds"] else None,
        "device": record["device"],
        "notes": _joined([*notes, entry.no_probabilities]),
        "recall": _recalls(estimates.mean([run.recall for run in entry.found]), truth),
        "confusion": np.sum([run.confusion for run in entry.found], axis=0).tolist(),
        "source": f"{record['plugin']}, "
        + ("result " if len(records) == 1 else "results ")
        + ", ".join(one["digest"] for one in records),
    }


def _reproduced(found: reproduction.Reproduction | None) -> Row:
    """Fields of a row behind a verdict: the 90 % interval, and what would decide."""
    return {
        "reproduced_low90": found.low90 if found else None,
        "reproduced_high90": found.high90 if found else None,
        "reproduced_patches_needed": found.needed.patches if found else None,
        "reproduced_seeds_needed": found.needed.seeds if found else None,
    }


def _notes(record: Mapping[str, Any], dataset: Mapping[str, Any]) -> list[str]:
    """What a reader must know of how a model was set up."""
    notes = [record["deviations"]]
    if not record.get("trained_on"):
        notes = [dataset["train_shortfall"], *notes, *classes.notes(dataset, record["selected_on"])]
    if not record.get("classes_declared", True):
        notes.append("the model does not say which classes its outputs are")
    return notes


def _joined(notes: Sequence[str]) -> str:
    return "; ".join(filter(None, notes))


def _fitted_on(records: Sequence[Mapping[str, Any]], dataset: Mapping[str, Any]) -> Row:
    """Patches that one fit is fitted on and that it selects on: fewest and most of all fits."""
    if records[0].get("trained_on"):
        return NOT_FITTED
    fits = [fit for record in records for fit in record["fits"]]
    fitted = [fit["n"] for fit in fits if fit.get("n")]
    held = [fit.get("n_selection", 0) for fit in fits]
    if records[0]["selected_on"] != "held-out" or not any(held):
        held = []
    return {
        "n_train": min(fitted, default=dataset["n_train"]),
        "n_train_max": max(fitted, default=dataset.get("n_train_max", dataset["n_train"])),
        "n_held_out": min(held, default=None),
        "n_held_out_max": max(held, default=None),
    }


def published_row(
    result: PublishedResult,
    truth: GroundTruth,
    sampling: Sampling,
    reference: PublishedResult | None,
) -> Row:
    """The row of a result that nobody measured here."""
    theirs = Sampling(design_effect=sampling.design_effect)
    found = reproduction.estimates(result, theirs)
    names = comparability.class_names(result, truth.described)
    gap, why = None, ""
    if reference is None:
        why = "no reference"
    elif reference is result:
        why = "the reference"
    elif "accuracy" not in found:
        why = "only balanced accuracy was published"
    elif other := comparability.between(result, reference):
        why = other
    else:
        gap = difference(found["accuracy"], reproduction.estimates(reference, theirs)["accuracy"])
    return {
        "rank": None,
        "rank_best": None,
        "rank_worst": None,
        "result": "published",
        "model": result.name,
        "title": result.title,
        **_all_fields(found),
        "calibration_empty_because": "published",
        "seeds": None,
        "accuracy_sd": None,
        "accuracy_min": None,
        "accuracy_max": None,
        "published_accuracy": result.accuracy,
        "published_balanced_accuracy": result.balanced_accuracy,
        "published_selected_on": result.selected_on,
        "published_source": result.source,
        **_fields("difference_to_published", None),
        "reproduced": None,
        "reproduced_because": "published",
        "reproduced_if": "",
        **_reproduced(None),
        **_fields("difference_to_reference", gap),
        "difference_to_reference_empty_because": why,
        "selected_on": result.selected_on,
        "initial_weights": None,
        "initial_weights_fallback": False,
        "trained_on": result.trained_on,
        **NOT_FITTED,
        "n_test": result.n,
        "test_identity": None,
        "train_identity": None,
        "fit_seconds": None,
        "patches_per_second": None,
        "device": None,
        "notes": "read at the source" if result.checked == "source" else "seen quoted elsewhere",
        "recall": _recalls(reproduction.recalls(result, names, theirs) if names else {}, truth),
        "confusion": result.confusion,
        "source": result.source,
    }


def failed_row(failed: FailedModel, store: Store, truth: GroundTruth) -> Row:
    """The row of a model that could not be measured."""
    return {
        "rank": None,
        "rank_best": None,
        "rank_worst": None,
        "result": "failed",
        "model": failed.model,
        "title": failed.title,
        **_all_fields({}),
        "calibration_empty_because": "failed",
        "seeds": None,
        "accuracy_sd": None,
        "accuracy_min": None,
        "accuracy_max": None,
        "published_accuracy": None,
        "published_balanced_accuracy": None,
        "published_selected_on": None,
        "published_source": None,
        **_fields("difference_to_published", None),
        "reproduced": None,
        "reproduced_because": "failed",
        "reproduced_if": "",
        **_reproduced(None),
        **_fields("difference_to_reference", None),
        "difference_to_reference_empty_because": "failed",
        "selected_on": "",
        "initial_weights": None,
        "initial_weights_fallback": False,
        "trained_on": truth.described["trained_on"],
        **NOT_FITTED,
        "n_test": len(truth.labels),
        "test_identity": comparability.identity(truth.described, "test"),
        "train_identity": comparability.identity(truth.described, "train"),
        "fit_seconds": None,
        "patches_per_second": None,
        "device": None,
        "notes": str(as_failure(store, failed)),
        "recall": _recalls({}, truth),
        "confusion": None,
        "source": failed.plugin,
    }


def _recalls(found: Mapping[str, Estimate], truth: GroundTruth) -> list[Row]:
    """Recall by class, for JSON."""
    return [{"class": name, **_fields("recall", found.get(name))} for name in truth.classes]


def with_scaled(
    rows: Sequence[Row],
    entries: Sequence[Entry],
    store: Store,
    truth: GroundTruth,
    sampling: Sampling,
    probes: Sequence[ModelProbe],
    damaged: Callable[[DamagedError], None],
    metrics: Sequence[Metric] = (),
    measure: Measure = measuring.measure,
) -> list[Row]:
    """Measured rows, and after each the one of its scaled logits where these are known.

    A fit that is damaged is handed to ``damaged``, and its model has no such row.
    """
    known = {run.record["digest"]: run for entry in entries for run in entry.runs}
    found = []
    for row, entry in zip(rows, entries, strict=True):
        found.append(row)
        try:
            runs = [temperature.scaled(store, truth, run, known) for run in entry.runs]
        except DamagedError as error:
            damaged(error)
            continue
        scaled = [run for run in runs if run is not None]
        if len(scaled) < len(runs):
            continue
        means = estimates.mean(
            [estimates.of_run(store, run, truth, sampling).estimates for run in scaled]
        )
        used = np.unique([run.temperatures for run in scaled])
        said = "temperature " + ", ".join(numbers.column(used.tolist()))
        said = _joined([said, *_notes(entry.record, truth.described)])
        found.append(
            row
            | _all_fields(means)
            | cells(probes, {})
            | metric_cells(
                metrics,
                [measuring.of_run(run, truth, sampling, metrics, measure) for run in scaled],
            )
            | {
                # What the row above says already.
                **{name: None for name in row if name.startswith(ONCE)},
                **{"reproduced_because": "scaled", "reproduced_if": "", "result": "scaled"},
                "calibration_empty_because": "",
                **{"difference_to_reference_empty_because": "scaled"},
                **{"model": f"{row['model']}+temperature", "notes": said},
                "title": f"{row['title']}, temperature-scaled on the held-out part",
            }
        )
    return found


def changed_row(result: PublishedResult, run: Run | None, labels: Any, other: str) -> Row:
    """A published accuracy under a perturbation, beside the measured one if there is one.

    ``other`` says why it is of other test patches; "" if it is not.
    """
    accuracy = None
    if run is not None and result.level is not None:
        accuracy = run.accuracy(labels, result.perturbation, result.level)
    return {
        "perturbation": result.perturbation,
        "level": result.level,
        "model": result.name,
        "accuracy": accuracy,
        "published_accuracy": result.accuracy,
        "not_comparable_because": other,
        "published_selected_on": result.selected_on,
        "published_source": result.source,
    }

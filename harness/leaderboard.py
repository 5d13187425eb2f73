"""The leaderboard: rows per dataset, from stored predictions and published results alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from harness import metrics, predictions
from harness.probes import Column, Finding, ModelProbe
from harness.store import Store, read_record
from harness.types import Perturbation, PublishedResult

Row = dict[str, Any]


@dataclass(frozen=True)
class Board:
    """A leaderboard: what the dataset is, and its rows, measured ones first."""

    dataset: dict[str, Any]
    reference: PublishedResult | None
    rows: list[Row]
    probes: tuple[ModelProbe, ...] = ()
    published: tuple[PublishedResult, ...] = ()
    """Those of the same test set, perturbed ones included."""
    findings: Mapping[str, Mapping[str, Finding]] = field(default_factory=dict)
    """What each probe found, by the probe's and the model's name; the best row of a model."""
    changed: tuple[Row, ...] = ()
    """Published accuracies under perturbations, each beside the measured one of the same model."""


def build(
    store: Store,
    dataset: str,
    published: Sequence[PublishedResult],
    probes: Sequence[ModelProbe] = (),
    perturbations: Mapping[str, Perturbation] = MappingProxyType({}),
) -> Board:
    """The board of a dataset in the store, about the copy of it that was used last."""
    folder = store.datasets()[dataset]
    described = read_record(folder)
    labels = np.load(folder / "labels.npy")
    same_test = [
        result
        for result in published
        if described["test_set"] and result.test_set == described["test_set"]
    ]
    related = [result for result in same_test if result.perturbation == "clean"]
    reference = next((result for result in related if result.reference), None)
    runs = predictions.runs(store, dataset, perturbations)
    seen = predictions.views(store, dataset, runs, perturbations) if probes else [None] * len(runs)
    measured: list[tuple[Row, predictions.Run, dict[str, Finding]]] = []
    for run, view in zip(runs, seen, strict=True):
        row = _measured(run.record, labels, run.logits(), described, related, reference)
        asked = {p.name: predictions.ask(p, view) for p in probes} if view else {}
        found = {name: finding for name, finding in asked.items() if finding}
        measured.append((row | _cells(probes, found), run, found))
    measured.sort(key=lambda m: (-m[0]["accuracy"], m[0]["model"], m[0]["seed"]))
    rows = [row for row, _, _ in measured]
    for row in rows:
        row["rank"] = 1 + sum(other["accuracy"] > row["accuracy"] for other in rows)
    best = {row["model"]: run for row, run, _ in reversed(measured)}
    findings: dict[str, dict[str, Finding]] = {probe.name: {} for probe in probes}
    for row, _, found in measured:
        for name, finding in found.items():
            findings[name].setdefault(row["model"], finding)
    names = {(row["model"], described["trained_on"]) for row in rows}
    others = [r for r in related if (r.name, r.trained_on) not in names]
    others.sort(key=lambda r: (-(r.accuracy or 0.0), -(r.balanced_accuracy or 0.0), r.name))
    rows += [_published(result) | _cells(probes, {}) for result in others]
    changed = [
        _changed(result, best.get(result.name), labels)
        for result in same_test
        if result.perturbation != "clean" and result.accuracy is not None
    ]
    return Board(
        described, reference, rows, tuple(probes), tuple(same_test), findings, tuple(changed)
    )


def _changed(result: PublishedResult, run: predictions.Run | None, labels: Any) -> Row:
    accuracy = None
    if run is not None and result.level is not None:
        accuracy = run.accuracy(labels, result.perturbation, result.level)
    return {
        "perturbation": result.perturbation,
        "level": result.level,
        "model": result.name,
        "accuracy": accuracy,
        "published_accuracy": result.accuracy,
        "published_selected_on": result.selected_on,
        "published_source": result.source,
    }


def fields(probe: ModelProbe, column: Column) -> tuple[str, str, str]:
    """Names of the value, the low and the high end of a probe's column in a row."""
    name = f"{probe.name}.{column.figure}"
    return name, f"{name}_low", f"{name}_high"


def _cells(probes: Sequence[ModelProbe], findings: Mapping[str, Finding]) -> Row:
    """Fields of a row for the columns of probes; None where a probe found nothing."""
    cells: Row = {}
    for probe in probes:
        for column in probe.columns:
            values: tuple[float | None, ...] = (None, None, None)
            known = findings[probe.name].figures if probe.name in findings else ()
            for figure in known:
                if figure.name == column.figure:
                    values = (figure.value, figure.low, figure.high)
            cells |= dict(zip(fields(probe, column), values, strict=True))
    return cells


def _measured(
    record: dict[str, Any],
    labels: Any,
    logits: Any,
    dataset: dict[str, Any],
    related: Sequence[PublishedResult],
    reference: PublishedResult | None,
) -> Row:
    figures = metrics.from_logits(labels, logits)
    same = next(
        (
            result
            for result in related
            if (result.name, result.trained_on) == (record["model"], dataset["trained_on"])
        ),
        None,
    )

    def difference(result: PublishedResult | None, why_none: str) -> tuple[float | None, str]:
        if result is None or result.accuracy is None:
            return None, why_none
        if dataset["shortfall"]:
            return None, dataset["shortfall"]
        return figures.accuracy - result.accuracy, ""

    to_published, why_published = difference(same, "not published")
    to_reference, why_reference = difference(reference, "no reference")
    return {
        "rank": None,
        "result": "measured",
        "model": record["model"],
        "title": record["title"],
        "accuracy": figures.accuracy,
        "accuracy_low": figures.interval[0],
        "accuracy_high": figures.interval[1],
        "balanced_accuracy": figures.balanced_accuracy,
        "published_accuracy": same.accuracy if same else None,
        "published_balanced_accuracy": same.balanced_accuracy if same else None,
        "published_selected_on": same.selected_on if same else None,
        "published_source": same.source if same else None,
        "difference_to_published": to_published,
        "difference_to_published_empty_because": why_published,
        "difference_to_reference": to_reference,
        "difference_to_reference_empty_because": why_reference,
        "selected_on": record["selected_on"],
        "initial_weights": record["initial_weights"],
        "seed": record["seed"],
        "trained_on": dataset["trained_on"],
        "n_train": dataset["n_train"],
        "n_test": figures.n,
        "fit_seconds": sum(part["seconds"] for part in record["fits"] + record["features"]),
        "patches_per_second": record["n"] / record["seconds"] if record["seconds"] else None,
        "device": record["device"],
        "notes": "; ".join(filter(None, (dataset["train_shortfall"], record["deviations"]))),
        "recall": _plain(figures.recall),
        "confusion": figures.confusion.tolist(),
        "source": f"{record['plugin']}, result {record['digest']}",
    }


def _published(result: PublishedResult) -> Row:
    interval: tuple[float | None, float | None] = (None, None)
    if result.accuracy is not None:
        interval = metrics.wilson(round(result.accuracy * result.n), result.n)
    confusion = result.confusion
    recall = None
    if confusion is not None:
        recall = _plain(metrics.from_confusion(np.array(confusion)).recall)
    return {
        "rank": None,
        "result": "published",
        "model": result.name,
        "title": result.title,
        "accuracy": result.accuracy,
        "accuracy_low": interval[0],
        "accuracy_high": interval[1],
        "balanced_accuracy": result.balanced_accuracy,
        "published_accuracy": result.accuracy,
        "published_balanced_accuracy": result.balanced_accuracy,
        "published_selected_on": result.selected_on,
        "published_source": result.source,
        "difference_to_published": None,
        "difference_to_published_empty_because": "published",
        "difference_to_reference": None,
        "difference_to_reference_empty_because": "published",
        "selected_on": result.selected_on,
        "initial_weights": None,
        "seed": None,
        "trained_on": result.trained_on,
        "n_train": None,
        "n_test": result.n,
        "fit_seconds": None,
        "patches_per_second": None,
        "device": None,
        "notes": "read at the source" if result.checked == "source" else "seen quoted elsewhere",
        "recall": recall,
        "confusion": confusion,
        "source": result.source,
    }


def _plain(values: Any) -> list[float | None]:
    """A list that JSON can hold: None for NaN."""
    return [None if math.isnan(value) else float(value) for value in values]

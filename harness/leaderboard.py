"""The leaderboard: one table per dataset, from stored predictions and published results alone."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness import metrics
from harness.store import Store, read_record, write_atomically
from harness.types import PublishedResult

SCHEMA = 1
DATASET_FIELDS = (
    *("name", "title", "classes", "license", "source", "digest", "folds"),
    *("test_set", "trained_on", "shortfall", "train_shortfall"),
    *("n_train", "n_test", "test_counts"),
)
MATRICES = ("recall", "confusion")
Row = dict[str, Any]


@dataclass(frozen=True)
class Board:
    """A leaderboard: what the dataset is, and its rows, measured ones first."""

    dataset: dict[str, Any]
    reference: PublishedResult | None
    rows: list[Row]


def build(store: Store, dataset: str, published: Sequence[PublishedResult]) -> Board:
    """The board of a dataset in the store, about the copy of it that was used last."""
    folder = store.datasets()[dataset]
    described = read_record(folder)
    labels = np.load(folder / "labels.npy")
    related = [
        result
        for result in published
        if described["test_set"]
        and result.test_set == described["test_set"]
        and result.perturbation == "clean"
    ]
    reference = next((result for result in related if result.reference), None)
    rows = []
    for path, record in store.records("prediction", dataset):
        plain = record["perturbation"] == "clean" and record["view"] == "identity"
        if plain and record["data"] == described["key"]["fields"]["data"]:
            logits = np.load(path / "logits.npy")
            rows.append(_measured(record, labels, logits, described, related, reference))
    rows.sort(key=lambda row: (-row["accuracy"], row["model"], row["seed"]))
    for row in rows:
        row["rank"] = 1 + sum(other["accuracy"] > row["accuracy"] for other in rows)
    names = {(row["model"], described["trained_on"]) for row in rows}
    others = [r for r in related if (r.name, r.trained_on) not in names]
    others.sort(key=lambda r: (-(r.accuracy or 0.0), -(r.balanced_accuracy or 0.0), r.name))
    rows += [_published(result) for result in others]
    return Board(described, reference, rows)


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


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f}"


def _accuracy(row: Row) -> str:
    if row["accuracy"] is None:
        return ""
    low, high = _percent(row["accuracy_low"]), _percent(row["accuracy_high"])
    return f"{_percent(row['accuracy'])} ({low}–{high})"


def _difference(field: str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        value = row[f"difference_to_{field}"]
        if value is not None:
            return f"{100 * value:+.2f}"
        why = row[f"difference_to_{field}_empty_because"]
        return "" if why == "published" else f"({why})"

    return cell


def _seconds(row: Row) -> str:
    return "" if row["fit_seconds"] is None else f"{row['fit_seconds']:,.1f}"


def _rate(row: Row) -> str:
    return "" if row["patches_per_second"] is None else f"{row['patches_per_second']:,.0f}"


def columns(board: Board) -> dict[str, Callable[[Row], str]]:
    """Headings of the table for people, each with the function that fills its cells."""
    reference = board.reference.title if board.reference else "reference"
    return {
        "rank": lambda row: str(row["rank"] or ""),
        "result": lambda row: str(row["result"]),
        "model": lambda row: str(row["model"]),
        "accuracy % (95 % interval)": _accuracy,
        "balanced %": lambda row: _percent(row["balanced_accuracy"]),
        "published %": lambda row: (
            _percent(row["published_accuracy"]) if row["result"] == "measured" else ""
        ),
        "Δ published": _difference("published"),
        f"Δ {reference}": _difference("reference"),
        "selected on": lambda row: row["selected_on"],
        "initial weights": lambda row: row["initial_weights"] or "",
        "seed": lambda row: "" if row["seed"] is None else str(row["seed"]),
        "trained on": lambda row: f"{row['n_train']:,}" if row["n_train"] else row["trained_on"],
        "tested on": lambda row: f"{row['n_test']:,}",
        "fit s": _seconds,
        "predict patches/s": _rate,
        "device": lambda row: row["device"] or "",
        "notes": lambda row: row["notes"],
    }


def table(board: Board, style: str) -> str:
    """The table for people, in a format of ``tabulate`` ("github" for Markdown)."""
    from tabulate import tabulate

    shown = columns(board)
    cells = [[cell(row) for cell in shown.values()] for row in board.rows]
    filled = [
        number
        for number, heading in enumerate(shown)
        if heading == "rank" or any(row[number] for row in cells)
    ]
    rows = [[row[number] for number in filled] for row in cells]
    headings = [list(shown)[number] for number in filled]
    return str(tabulate(rows, headings, tablefmt=style, disable_numparse=True))


def about(board: Board) -> list[str]:
    """Sentences that a reader of the table needs."""
    dataset = board.dataset
    how = "a fixed test split"
    if dataset["folds"]:
        how = (
            f"stratified {dataset['folds']}-fold cross-validation over the test patches; each is "
            "predicted by a model that has not seen it"
        )
    lines = [
        f"{dataset['title']}: {dataset['n_test']:,} test patches, {len(dataset['classes'])} "
        f"classes, models fitted on {dataset['n_train']:,} patches. Evaluation: {how}."
    ]
    if dataset["source"]:
        lines.append(f"Data: {dataset['source']} License: {dataset['license']}.")
    if dataset["shortfall"]:
        lines.append(
            f"Not the published test set {dataset['test_set']} ({dataset['shortfall']}): published "
            "figures stand beside for orientation, and no difference to them is shown."
            if dataset["test_set"]
            else dataset["shortfall"]
        )
    folds = (
        ", and patches of one patient may be on both sides of a fold" if dataset["folds"] else ""
    )
    lines.append(
        "Patches count as independent. Which of them come from one patient is not known here, so "
        f"intervals are too narrow{folds}."
    )
    lines.append(
        "Accuracy with its 95 % Wilson interval. Only measured rows are ranked; published rows "
        "were not run here. Differences (Δ) are in percentage points. “Selected on” is the split "
        "that chose the checkpoint: none, a held-out part of the training patches, or test. "
        "“Trained on” counts the patches given to one fit, held-out ones included. “Fit s” adds up "
        "all fits of a row and the extraction of the features that they share."
    )
    return lines


def markdown(board: Board) -> str:
    """The board as a Markdown page."""
    name = board.dataset["name"]
    paragraphs = "\n\n".join(about(board))
    made = "Written by `harness`; `harness leaderboard` writes it again from the store."
    return f"# {name}\n\n{paragraphs}\n\n{table(board, 'github')}\n\n{made}\n"


def to_json(board: Board) -> str:
    """The board with every figure, confusion matrices included."""
    content = {
        "schema": SCHEMA,
        "dataset": {field: board.dataset[field] for field in DATASET_FIELDS},
        "reference": board.reference.name if board.reference else None,
        "rows": board.rows,
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def to_csv(board: Board) -> str:
    """The rows without their matrices, as CSV; accuracies are fractions of 1."""
    text = io.StringIO()
    fields = [field for field in (board.rows[0] if board.rows else {}) if field not in MATRICES]
    writer = csv.DictWriter(text, fields, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(board.rows)
    return text.getvalue()


def write(board: Board, folder: Path) -> list[Path]:
    """Write ``<dataset>.md``, ``.csv`` and ``.json``; returns their paths."""
    written = []
    for suffix, text in ((".md", markdown), (".csv", to_csv), (".json", to_json)):
        path = folder / f"{board.dataset['name']}{suffix}"
        write_atomically(path, text(board))
        written.append(path)
    return written

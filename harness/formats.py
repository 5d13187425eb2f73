"""The leaderboard as a table for people, a Markdown page, JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

from harness.leaderboard import Board, Row, fields
from harness.probes import Column, Figure, ModelProbe
from harness.store import write_atomically

SCHEMA = 2
DATASET_FIELDS = (
    *("name", "title", "classes", "license", "source", "digest", "folds"),
    *("test_set", "trained_on", "shortfall", "train_shortfall"),
    *("n_train", "n_test", "test_counts"),
)
MATRICES = ("recall", "confusion")


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


def _probed(probe: ModelProbe, column: Column) -> Callable[[Row], str]:
    value, low, high = fields(probe, column)

    def cell(row: Row) -> str:
        if row[value] is None:
            return ""
        return column.show(
            Figure(name=column.figure, value=row[value], low=row[low], high=row[high])
        )

    return cell


def columns(board: Board) -> dict[str, Callable[[Row], str]]:
    """Headings of the table for people, each with the function that fills its cells."""
    reference = board.reference.title if board.reference else "reference"
    asked = {
        column.heading: _probed(probe, column) for probe in board.probes for column in probe.columns
    }
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
        **asked,
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
    asked = [
        f"“{column.heading}”: {column.about}"
        for probe in board.probes
        if board.findings.get(probe.name)
        for column in probe.columns
    ]
    return lines + ([" ".join(asked)] if asked else [])


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

"""The board of a report: cells, and accuracies on one scale."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from harness.analysis import compare
from harness.analysis.leaderboard import Board
from harness.analysis.rows import Entry, Row
from harness.reports import board_pictures, columns
from harness.reports.formats import FELL_BACK
from harness.reports.html.gathered import Gathered
from harness.text.numbers import percent, points

NUMBER = re.compile(r"(?:[<>] ?)?([-−+]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?)(?![\w.-])")
MINUS = re.compile(r"(?<![\w.])-(?=\d)")

RESULTS = {
    "measured": "measured",
    "published": "published",
    "failed": "failed",
    "scaled": "scaled: logits divided by a temperature",
}
"""Kinds of rows, and what the filter calls them."""


def context(gathered: Gathered, links: Mapping[str, str]) -> dict[str, Any]:
    """Columns, rows and the scale of accuracies. ``links`` has the anchor of each entry."""
    board = gathered.board
    reference = board.reference.title if board.reference else "reference"
    shown = columns.choose(
        ("all",),
        board.probes,
        reference,
        board.sampling.design_effect,
        board.margin,
        board.metrics,
    )
    cells = [[column.cell(row) for column in shown] for row in board.rows]
    kept = [k for k in range(len(shown)) if any(row[k] for row in cells)]
    others = {
        (result.name, result.trained_on): board.other_test_data(result)
        for result in board.published
        if result.perturbation == "clean"
    }
    scale, line = _scale(board), _reference(board)
    entry_of = {id(row): entry for row, entry in measured(board)}
    rows = []
    for row, texts in zip(board.rows, cells, strict=True):
        elsewhere = ""
        if row["result"] == "published":
            elsewhere = others.get((row["model"], row["trained_on"]), "")
        entry = entry_of.get(id(row))
        rows.append(
            {
                "result": row["result"],
                "model": row["model"],
                "link": links[entry.name] if entry else "",
                "protocol": row["selected_on"] or "not known",
                "weights": row["initial_weights"] or "not known",
                "elsewhere": elsewhere,
                "bar": _bar(row),
                "fell_back": row["initial_weights_fallback"],
                # A line or a shade is drawn only behind accuracies on the same patches.
                "reference": line is not None and bool(line["elsewhere"]) == bool(elsewhere),
                "floors": not elsewhere,
                "rank": (row["rank_best"], row["rank_worst"]),
                "cells": [
                    {"text": MINUS.sub("−", texts[k]), "order": order(texts[k])} for k in kept
                ],
            }
        )
    return {
        "columns": [
            {
                "name": shown[k].name,
                "heading": shown[k].heading,
                "default": bool({"default", *board.columns} & {*shown[k].sets, shown[k].name}),
            }
            for k in kept
        ],
        "rows": rows,
        "scale": scale,
        "reference": line,
        "floors": floors(gathered),
        "results": [
            (kind, name) for kind, name in RESULTS.items() if kind in {r["result"] for r in rows}
        ],
        "kinds": {
            "measured": any(row["result"] == "measured" for row in rows),
            "same": any(row["result"] == "published" and not row["elsewhere"] for row in rows),
            "elsewhere": any(row["elsewhere"] for row in rows),
        },
        "headline": headline(gathered),
        "fell_back": FELL_BACK if any(row["fell_back"] for row in rows) else "",
    }


def measured(board: Board) -> list[tuple[Row, Entry]]:
    """The measured rows with their entries; a model may have several, with other settings."""
    rows = [row for row in board.rows if row["result"] == "measured"]
    return list(zip(rows, board.entries, strict=True))


def order(text: str) -> str:
    """By what a cell is sorted: the number that it begins with, or its text."""
    found = NUMBER.match(text)
    if not found:
        return text
    return found[1].replace("−", "-").replace("+", "").replace(",", "")


def _bar(row: Row) -> dict[str, float] | None:
    """Accuracy with its interval, in percent."""
    if row["accuracy"] is None:
        return None
    value = 100 * row["accuracy"]
    low, high = (row[f"accuracy_{end}"] for end in ("low", "high"))
    return {
        "value": value,
        "low": value if low is None else 100 * low,
        "high": value if high is None else 100 * high,
    }


def floors(gathered: Gathered) -> dict[str, float]:
    """The best accuracy (%) of models that see color alone, and of those with random weights."""
    content = board_pictures.intervals(gathered.board, gathered.baselines)
    return {kind: content[kind] for kind in ("color", "random") if content[kind] is not None}


def _scale(board: Board) -> dict[str, Any]:
    """Where the scale of accuracies starts, and its ticks, in percent."""
    bars = [bar for row in board.rows if (bar := _bar(row))]
    least = min((bar["low"] for bar in bars), default=0.0)
    start = max(0, 10 * math.floor((least - 2) / 10))
    step = 10 if start >= 50 else 20
    return {"start": start, "ticks": [tick for tick in range(0, 101, step) if tick >= start]}


def _reference(board: Board) -> dict[str, Any] | None:
    """The published result that all are compared with."""
    if board.reference is None or board.reference.accuracy is None:
        return None
    return {
        "title": board.reference.title,
        "value": 100 * board.reference.accuracy,
        "elsewhere": board.other_test_data(board.reference),
    }


def headline(gathered: Gathered) -> str:
    """How accurate the best model is, and how much of that color alone reaches."""
    board = gathered.board
    found = measured(board)
    if not found:
        return "No model was measured here."
    color = [(row, one) for row, one in found if one.record["model"] in gathered.baselines]
    rest = [(row, one) for row, one in found if one.record["model"] not in gathered.baselines]
    if not rest:
        row = found[0][0]
        return (
            f"Only models that see color alone were measured. The best, {row['model']}, is right "
            f"on {_said(row)}."
        )
    row, best = rest[0]
    said = f"The most accurate model, {row['model']}, is right on {_said(row)}."
    if row["initial_weights_fallback"]:
        said += " It started from random weights, as pretrained ones were not available."
    if not color:
        return f"{said} No model that sees color alone was measured beside it."
    floor, alone = color[0]
    compared = compare.compare(board.truth, best, alone, board.sampling.design_effect)
    gap = compared.difference
    low, high = (float(end or 0.0) for end in (gap.low, gap.high))
    said += (
        f" Color alone ({floor['model']}) is right on {_said(floor)}. The difference is "
        f"{points(gap.value, 1)} points (95 % interval {points(low, 1)} to {points(high, 1)})"
    )
    said = MINUS.sub("−", said)
    if low <= 0 <= high:
        return f"{said}: these test patches do not distinguish the two."
    if gap.value < 0:
        return f"{said}: seeing structure of tissue adds nothing here."
    return f"{said}, which is what seeing structure of tissue adds."


def _said(row: Row) -> str:
    """The accuracy of a row with its interval."""
    text = f"{percent(row['accuracy'], 1)} % of the test patches"
    if row["accuracy_low"] is None:
        return text
    return f"{text} ({percent(row['accuracy_low'], 1)}–{percent(row['accuracy_high'], 1)})"

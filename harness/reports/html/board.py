"""The board of a report: cells, and accuracies on one scale."""

from __future__ import annotations

import math
import re
from typing import Any

from harness.analysis.leaderboard import Board
from harness.analysis.rows import Row
from harness.reports import columns
from harness.reports.html.gathered import Gathered

NUMBER = re.compile(r"[-−+]?\d[\d,]*\.?\d*")


def context(gathered: Gathered, links: dict[str, str]) -> dict[str, Any]:
    """Columns, rows and the scale of accuracies. ``links`` has the anchor of each model."""
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
    others = {result.name: board.other_test_data(result) for result in board.published}
    grouped = board.truth.groups is not None
    return {
        "columns": [
            {
                "name": shown[k].name,
                "heading": shown[k].heading,
                "default": bool({"default", *board.columns} & {*shown[k].sets, shown[k].name}),
                "about": shown[k].sentence(board.rows, grouped),
            }
            for k in kept
        ],
        "rows": [
            {
                "result": row["result"],
                "model": row["model"],
                "link": links.get(row["model"], ""),
                "protocol": row["selected_on"] or "not known",
                "weights": row["initial_weights"] or "not known",
                "elsewhere": others.get(row["model"], "") if row["result"] == "published" else "",
                "bar": _bar(row),
                "fell_back": row["initial_weights_fallback"],
                "rank": (row["rank_best"], row["rank_worst"]),
                "cells": [{"text": line[k], "order": order(line[k])} for k in kept],
            }
            for row, line in zip(board.rows, cells, strict=True)
        ],
        **_scale(gathered, others),
    }


def order(text: str) -> str:
    """By what a cell is sorted: the number that it begins with, or its text."""
    found = NUMBER.match(text)
    if not found:
        return text
    return found[0].replace("−", "-").replace("+", "").replace(",", "")


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


def floors(gathered: Gathered) -> dict[str, tuple[str, float]]:
    """The best accuracy (%) of models that see color alone and of random weights, and whose."""
    found: dict[str, tuple[str, float]] = {}
    for row in gathered.board.rows:
        if row["result"] != "measured" or row["accuracy"] is None:
            continue
        kinds = {
            "color": row["model"] in gathered.baselines,
            "random": "[random]" in row["model"],
        }
        for kind, belongs in kinds.items():
            best = found.get(kind, ("", -1.0))[1]
            if belongs and 100 * row["accuracy"] > best:
                found[kind] = row["model"], 100 * row["accuracy"]
    return found


def _scale(gathered: Gathered, others: dict[str, str]) -> dict[str, Any]:
    board = gathered.board
    bars = [bar for row in board.rows if (bar := _bar(row))]
    least = min((bar["low"] for bar in bars), default=0.0)
    start = max(0, 10 * math.floor((least - 2) / 10))
    step = 10 if start >= 50 else 20
    reference = None
    if board.reference and board.reference.accuracy is not None:
        reference = {
            "title": board.reference.title,
            "value": 100 * board.reference.accuracy,
            "elsewhere": others.get(board.reference.name, ""),
        }
    return {
        "scale": {
            "start": start,
            "ticks": [tick for tick in range(0, 101, step) if tick >= start],
        },
        "reference": reference,
        "floors": floors(gathered),
        "headline": headline(board, gathered),
    }


def headline(board: Board, gathered: Gathered) -> str:
    """One sentence: how far the best measured model is above the best that sees color alone."""
    measured = [r for r in board.rows if r["result"] == "measured" and r["accuracy"] is not None]
    color = floors(gathered).get("color")
    if not measured:
        return "No model was measured here."
    best = next((r for r in measured if r["model"] not in gathered.baselines), None)
    if not color or best is None:
        top = measured[0]
        return (
            f"The best of {len(measured)} measured models, {top['model']}, is right in "
            f"{100 * top['accuracy']:.1f} % of the test patches."
        )
    name, value = color
    ratio = value / (100 * best["accuracy"]) if best["accuracy"] else 0
    return (
        f"The best network measured here, {best['model']}, is right in "
        f"{100 * best['accuracy']:.1f} % of the test patches. A model that sees color alone, "
        f"{name}, is right in {value:.1f} %: {100 * ratio:.0f} % of that accuracy can be had "
        "without looking at tissue."
    )

"""Every two models of a report side by side."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

from harness.analysis import compare
from harness.analysis.leaderboard import Board
from harness.statistics.estimates import Estimate
from harness.text.numbers import points

MOST = 20
"""Models that are compared with each other, the most accurate: pairs grow with the square."""

FIGURES = {
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "mcc": "Matthews correlation, times 100",
    "macro_auroc": "macro AUROC, times 100",
}


def context(board: Board) -> dict[str, Any]:
    """Differences of figures, in percentage points but for correlations, of all pairs of models."""
    entries = board.entries[:MOST]
    found = []
    for k, one in enumerate(entries):
        for j in range(k + 1, len(entries)):
            pair = compare.compare(
                board.truth, one, entries[j], board.sampling.design_effect, board.margin
            )
            found.append(
                {
                    "one": k,
                    "other": j,
                    "p": float(pair.p),
                    "holm": None if board.pairs is None else float(board.pairs.holm[k, j]),
                    "figures": [_row(gap) for gap in pair.first.differences.values()],
                    "recalls": [_row(gap) for gap in pair.recalls.values()],
                }
            )
    return {
        "models": [entry.name for entry in entries],
        "named": FIGURES,
        "left_out": len(board.entries) - len(entries),
        "pairs": found,
    }


def tables(compared: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Differences of each pair of a ``context`` besides accuracy, as tables for a template."""
    models, pairs = compared["models"], compared["pairs"]
    names = [f"{models[pair['one']]} minus {models[pair['other']]}" for pair in pairs]
    made = []
    for part, title, told in (
        ("figures", "Differences of other figures, points (95 % interval)", FIGURES),
        ("recalls", "Differences of recall by class, points (95 % interval)", {}),
    ):
        found = [{name: _told(*gap) for name, *gap in pair[part]} for pair in pairs]
        columns = [name for name in dict.fromkeys(chain(*found)) if name != "accuracy"]
        made.append(
            {
                "title": title,
                "headings": ["pair", *(told.get(name, name) for name in columns)],
                "rows": [
                    [name, *(row.get(column, "") for column in columns)]
                    for name, row in zip(names, found, strict=True)
                ],
            }
        )
    return made


def _told(value: float, low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return points(value, 1).replace("-", "−")
    shown = f"{points(value, 1)} ({points(low, 1)} to {points(high, 1)})"
    return shown.replace("-", "−")


def _row(gap: Estimate) -> list[Any]:
    low, high = (None if end is None else round(float(end), 5) for end in (gap.low, gap.high))
    return [gap.name, round(float(gap.value), 5), low, high]

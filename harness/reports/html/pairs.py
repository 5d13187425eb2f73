"""Every two models of a report side by side."""

from __future__ import annotations

from typing import Any

from harness.analysis import compare
from harness.analysis.leaderboard import Board
from harness.statistics.estimates import Estimate

MOST = 20
"""Models that are compared with each other, the most accurate: pairs grow with the square."""


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
        "left_out": len(board.entries) - len(entries),
        "pairs": found,
    }


def _row(gap: Estimate) -> list[Any]:
    low, high = (None if end is None else round(float(end), 5) for end in (gap.low, gap.high))
    return [gap.name, round(float(gap.value), 5), low, high]

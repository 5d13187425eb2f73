"""What each probe would have seen, and how often it errs, as measured on real patches.

``tests/simulations/limits.py`` writes ``limits.csv`` and ``false_flags.csv`` from the page of
``harness calibrate --real nct-crc-he-sample``.
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_name("limits.csv")
FALSE_FLAGS = Path(__file__).with_name("false_flags.csv")
NAMED = 4
"""Kinds of fault whose limits are said; the page of the fault has all."""


@cache
def _rows(table: Path) -> list[dict[str, str]]:
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def said(probe: str) -> str:
    """What a probe would have seen, in words."""
    rows = [row for row in _rows(TABLE) if row["probe"] == probe]
    if not rows:
        return "How small a fault it would have seen was not measured on real patches"
    first, more = rows[0], len(rows) - NAMED
    smallest = "; ".join(map(_dose, rows[:NAMED]))
    others = f"; limits of {more} more kinds are on the page of the fault" if more > 0 else ""
    return (
        f"With {first['patches']} patches, as in the calibration on {first['dataset']}, it would "
        f"have seen {smallest}{others}"
    )


def false_flags(probe: str) -> str:
    """How often a probe raised its flag without its fault, in words; "" if not measured."""
    for row in _rows(FALSE_FLAGS):
        if row["probe"] == probe:
            return (
                f"In the calibration on {row['dataset']} ({row['patches']} patches) it raised its "
                f"flag in {row['flags']} of {row['draws']} draws without any fault (95 % interval "
                f"{row['from']} to {row['to']} %), and in {row['flags_on_others']} of "
                f"{row['draws_of_others']} with a fault of another kind alone"
            )
    return ""


def _dose(row: dict[str, str]) -> str:
    """Such as "1 point between JPEG qualities"."""
    unit = row["unit"]
    if row["dose"] == "1":
        unit = unit.replace("points ", "point ", 1).replace("steps ", "step ", 1)
    return f"{row['dose']} {unit}"

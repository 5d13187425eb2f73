"""What each probe would have seen, as measured on real patches with planted faults.

``limits.csv`` is written by ``tests/simulations/limits.py`` from the page of ``harness calibrate
--real nct-crc-he-sample``.
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_name("limits.csv")


@cache
def _rows() -> list[dict[str, str]]:
    with TABLE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def said(probe: str) -> str:
    """What a probe would have seen, in words; "" if that was not measured."""
    rows = [row for row in _rows() if row["probe"] == probe]
    if not rows:
        return ""
    first = rows[0]
    return (
        f"With {first['patches']} patches, as in the calibration on {first['dataset']}, it would "
        f"have seen {'; '.join(row['dose'] + ' ' + row['unit'] for row in rows)}"
    )

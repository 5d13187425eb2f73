"""Write limits.csv and false_flags.csv of harness_bias from the calibration's page.

harness calibrate --real nct-crc-he-sample
python tests/simulations/limits.py
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from harness.text.numbers import given
from harness_bias.audit.limits import FALSE_FLAGS, TABLE

PAGE = Path(__file__).parents[2] / "leaderboards/calibration-real-nct-crc-he-sample.json"


def _common(content: dict[str, Any]) -> dict[str, str]:
    return {
        "dataset": content["dataset"],
        "patches": str(len(content["patches"])),
        "draws": str(content["draws"]),
    }


def rows(content: dict[str, Any]) -> list[dict[str, str]]:
    """The limits of a page that are at some dose."""
    return [
        {
            **_common(content),
            **{name: limit[name] for name in ("probe", "fault", "unit")},
            "dose": given(limit["dose"]),
        }
        for limit in content["limits"]
        if limit["dose"] is not None
    ]


def false_flags(content: dict[str, Any]) -> list[dict[str, str]]:
    """How often each probe raised its flag without a fault, and on faults of another probe."""
    tables = {
        table["name"]: {
            row[0]: dict(zip(table["headings"], row, strict=True)) for row in table["rows"]
        }
        for table in content["tables"]
    }
    return [
        {
            **_common(content),
            "probe": probe,
            **{name: str(row[name]) for name in ("flags", "draws", "from", "to")},
            "flags_on_others": str(tables["cross-talk"][probe]["flags"]),
            "draws_of_others": str(tables["cross-talk"][probe]["draws"]),
        }
        for probe, row in tables["false flags"].items()
    ]


def write(path: Path, some: list[dict[str, str]], *names: str) -> None:
    """Write rows as CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(some)


def main() -> None:
    """Write the files."""
    content = json.loads(PAGE.read_text(encoding="utf-8"))
    write(TABLE, rows(content), *("dataset", "patches", "draws", "probe", "fault", "dose", "unit"))
    write(
        FALSE_FLAGS,
        false_flags(content),
        *("dataset", "patches", "probe", "flags", "draws", "from", "to"),
        *("flags_on_others", "draws_of_others"),
    )


if __name__ == "__main__":
    main()

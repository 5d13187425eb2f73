"""Write what probes would have seen: limits.csv of harness_bias, from the calibration's page.

harness calibrate --real nct-crc-he-sample
python tests/simulations/limits.py
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from harness.text.numbers import given
from harness_bias.audit.limits import TABLE

PAGE = Path(__file__).parents[2] / "leaderboards/calibration-real-nct-crc-he-sample.json"


def rows(content: dict[str, Any]) -> list[dict[str, str]]:
    """The limits of a page that are at some dose."""
    common = {
        "dataset": content["dataset"],
        "patches": str(len(content["patches"])),
        "draws": str(content["draws"]),
    }
    return [
        {
            **common,
            **{name: limit[name] for name in ("probe", "fault", "unit")},
            "dose": given(limit["dose"]),
        }
        for limit in content["limits"]
        if limit["dose"] is not None
    ]


def main() -> None:
    """Write the file."""
    content = json.loads(PAGE.read_text(encoding="utf-8"))
    with TABLE.open("w", encoding="utf-8", newline="") as file:
        names = ["dataset", "patches", "draws", "probe", "fault", "dose", "unit"]
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows(content))


if __name__ == "__main__":
    main()

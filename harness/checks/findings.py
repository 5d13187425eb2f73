"""What findings and plots of any probe promise."""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from typing import Any

from harness.checks.bench import shaped
from harness.checks.outcome import Broken
from harness.types.findings import Finding, finding_from


def as_json(finding: Any) -> str:
    """A finding as JSON, after a look at what it holds."""
    if not isinstance(finding, Finding):
        raise Broken(f"measure returned {shaped(finding)}", "return harness.Finding")
    try:
        text = json.dumps(asdict(finding), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise Broken(
            f"the finding is no JSON ({error})",
            "convert numpy numbers with float() and give None in place of NaN",
        ) from error
    if finding_from(json.loads(text)) != finding:
        raise Broken("the finding reads back from JSON as another", "use tuples, text and floats")
    for table in finding.tables:
        if any(len(row) != len(table.headings) for row in table.rows):
            raise Broken(
                f"table {table.name!r} has rows that are not {len(table.headings)} long",
                "give each heading a cell",
            )
    names = [item.name for items in (finding.estimates, finding.tables) for item in items]
    if twice := {name for name in names if names.count(name) > 1}:
        raise Broken(f"{min(twice)!r} names two figures or tables", "give each its own name")
    return text


def drawn(name: str, picture: Any) -> None:
    """Raise Broken unless a picture is one that can be saved."""
    if not hasattr(picture, "savefig"):
        raise Broken(f"plot {name!r} returned {shaped(picture)}", "return a matplotlib Figure")
    picture.savefig(io.BytesIO(), format="png", dpi=40)

"""The audit of a report: each property with a verdict in words, and the patches that show it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from harness.analysis.audits import DatasetAudit
from harness.reports.html.models import Draw, body
from harness.reports.report import VERDICTS
from harness.types.findings import Finding

PICTURED = 24
"""Patches of a table that are shown as pictures."""


def context(audit: DatasetAudit, draw: Draw) -> list[dict[str, Any]]:
    """Every probe, those that found something first."""
    found = []
    for probe in audit.probes:
        finding = audit.findings[probe.name]
        pictures = [
            draw(
                f"{probe.title.partition(':')[0]}: {plot.replace('-', ' ')}",
                plotted,
                [finding],
                asdict(finding),
            )
            for plot, plotted in probe.plots.items()
        ]
        found.append(
            {
                "name": probe.name,
                "title": probe.title,
                "question": probe.question,
                "verdict": VERDICTS[finding.flag],
                "flag": {True: "found", False: "unseen", None: "open"}[finding.flag],
                "meaning": probe.meaning,
                "advice": probe.advice,
                "limits": probe.limits,
                "patches": shown(finding),
                **body(finding),
                "pictures": list(filter(None, pictures)),
            }
        )
    return sorted(found, key=lambda one: {"found": 0, "open": 1, "unseen": 2}[one["flag"]])


def shown(finding: Finding) -> list[dict[str, Any]]:
    """Patches, or pairs of patches, that tables of a finding name in their first columns."""
    found = []
    for table in finding.tables:
        if not table.rows or table.headings[0] != "patch":
            continue
        paired = table.headings[1] == "other patch"
        rows = [
            {
                "ids": [str(cell) for cell in row[: 1 + paired]],
                "caption": ", ".join(str(c) for c in row[1 + paired :] if isinstance(c, str)),
            }
            for row in table.rows[:PICTURED]
        ]
        found.append({"title": table.title, "rows": rows, "of": len(table.rows)})
    return found

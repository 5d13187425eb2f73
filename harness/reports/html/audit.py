"""The audit of a report: each property with a verdict in words, and the patches that show it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from harness.analysis.audits import DatasetAudit
from harness.hooks.guard import contained
from harness.reports.html.models import Draw, body
from harness.reports.report import VERDICTS, in_short, in_words
from harness.store.failures import Collected
from harness.types.findings import Finding
from harness.types.probes import DatasetProbe

PICTURED = 24
"""Patches of a table that are shown as pictures."""


def context(audit: DatasetAudit, draw: Draw, problems: Collected) -> list[dict[str, Any]]:
    """Every probe, those that found something first. Galleries that fail are ``problems``."""
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
                "short": in_short(probe, finding),
                "words": in_words(probe, finding),
                "patches": _galleries(probe, finding, problems) or shown(probe, finding),
                **body(finding),
                "pictures": list(filter(None, pictures)),
            }
        )
    return sorted(found, key=lambda one: {"found": 0, "open": 1, "unseen": 2}[one["flag"]])


def _galleries(probe: DatasetProbe, finding: Finding, problems: Collected) -> list[dict[str, Any]]:
    """What a probe itself shows as patches."""
    found = []
    for name, gallery in probe.galleries.items():
        try:
            with contained():
                rows = [(str(caption), list(map(str, ids))) for caption, ids in gallery(finding)]
        except (Exception, SystemExit) as error:
            problems.add(f"patches {name!r} of {probe.name} in the report", error)
            continue
        if rows:
            kept = [{"ids": ids, "caption": caption} for caption, ids in rows[:PICTURED]]
            title = name.replace("-", " ").capitalize()
            found.append(
                {"title": title, "name": f"{probe.name}-{name}", "rows": kept, "of": len(rows)}
            )
    return found


def shown(probe: DatasetProbe, finding: Finding) -> list[dict[str, Any]]:
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
        name = f"{probe.name}-{table.name}"
        found.append({"title": table.title, "name": name, "rows": rows, "of": len(table.rows)})
    return found

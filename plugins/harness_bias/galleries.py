"""Which patches show what the probes found."""

from __future__ import annotations

from collections import Counter

from harness import Finding
from harness.text.numbers import percent

Shown = list[tuple[str, tuple[str, ...]]]


def corrupt(finding: Finding) -> Shown:
    """Corrupt patches, and what is wrong with each: the first of each class and part first."""
    found, before = [], Counter[tuple[object, object]]()
    for patch, name, part, why in finding.table("corrupt").rows:
        before[name, part] += 1
        found.append((before[name, part], (f"{name}, {part}: {why}", (str(patch),))))
    return [shown for _, shown in sorted(found, key=lambda one: one[0])]


def duplicates(finding: Finding) -> Shown:
    """Pairs of duplicates, and what they are."""
    rows = finding.table("pairs").rows
    return [(_said(kind, through), (str(one), str(other))) for one, other, kind, through, _ in rows]


def overlaps(finding: Finding) -> Shown:
    """Pairs that overlap, and how much."""
    rows = finding.table("overlaps").rows
    return [
        (f"overlap of {percent(float(area or 0), 0)} %", (str(one), str(other)))
        for one, other, _, area, _ in rows
    ]


def _said(kind: object, through: object) -> str:
    """What a pair is, and by which turn one becomes the other, if by any."""
    return str(kind) if through in ("", "none") else f"{kind}, {through}"

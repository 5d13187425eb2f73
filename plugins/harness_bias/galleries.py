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


def strongest_compression(finding: Finding) -> Shown:
    """The most compressed patches, and the quality that they tell."""
    return _compressed(finding, "strongest")


def weakest_compression(finding: Finding) -> Shown:
    """The least compressed patches, and the quality that they tell."""
    return _compressed(finding, "weakest")


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


def _compressed(finding: Finding, end: str) -> Shown:
    rows = [row for table in finding.tables if table.name == "extremes" for row in table.rows]
    found: Shown = []
    for patch, name, part, told, how, which in rows:
        if which == end:
            quality = (
                "90 or more" if (told, how) == (90, "block edges") else f"{float(told or 0):.0f}"
            )
            found.append((f"{name}, {part}: quality {quality} by its {how}", (str(patch),)))
    return found


def _said(kind: object, through: object) -> str:
    """What a pair is, and by which turn one becomes the other, if by any."""
    return str(kind) if through in ("", "none") else f"{kind}, {through}"

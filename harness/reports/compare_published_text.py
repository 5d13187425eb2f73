"""Comparisons with published results as text for a person."""

from __future__ import annotations

from collections.abc import Callable

from harness.analysis import reproduction
from harness.analysis.compare_published import PREFIX, ComparedCounts
from harness.reports.report import simple
from harness.statistics import equivalence
from harness.text.numbers import equals_p, rounded
from harness.types.findings import Table


def text(compared: ComparedCounts, show: Callable[[Table], str] = simple) -> list[str]:
    """Paragraphs for a person; ``show`` makes text of tables."""
    one, other = compared.one, compared.other
    lines = [
        *introduction(compared),
        *verdict(compared),
        show(estimates(compared)),
    ]
    if one.confusion is not None and other.confusion is not None and (one.classes or other.classes):
        lines.append(show(reproduction.class_table(compared.recalls)))
    return lines


def introduction(compared: ComparedCounts) -> list[str]:
    """What is compared, and what that assumes."""
    one, other, effect = compared.one, compared.other, compared.design_effect
    lines = [
        f"{one.name} and {other.name} on {one.test_set}. Which patches each gets right is not "
        "known, so they are compared as if on different patches: what models have in common is "
        "lost, and small differences are missed.",
        *(f"Not verified: that {unverified}." for unverified in compared.unverified),
    ]
    if effect != 1:
        lines.append(f"Intervals and p values assume a design effect of {effect:g}.")
    return lines


def verdict(compared: ComparedCounts) -> list[str]:
    """Whether accuracies can be distinguished, in a sentence; none where either is not known."""
    if compared.p is None:
        return []
    one, other, gap = compared.one, compared.other, compared.differences["accuracy"]
    size = equals_p(compared.p)
    inner = equivalence.narrowed(gap)
    within = reproduction.equal_within(gap, inner.low or 0, inner.high or 0, compared.margin)
    if compared.p >= 0.05:
        if "not shown" in within and compared.needed.patches:
            within += f": {reproduction.would_decide(compared.needed)}"
        return [f"They cannot be distinguished in accuracy ({size}, score test). {within}."]
    ahead = one.estimates["accuracy"].value > other.estimates["accuracy"].value
    better, worse = (one, other) if ahead else (other, one)
    return [f"{better.name} is more accurate than {worse.name} ({size}, score test). {within}."]


def estimates(compared: ComparedCounts) -> Table:
    """The figures that both have, and their differences."""
    one, other = compared.one, compared.other
    rows = []
    for name, estimate in one.estimates.items():
        theirs = other.estimates.get(name)
        if theirs is None:
            continue
        shown = ["", ""]
        if gap := compared.differences.get(name):
            ends = [rounded(end or 0, 4, signed=True) for end in (gap.low, gap.high)]
            shown = [rounded(gap.value, 4, signed=True), " to ".join(ends)]
        values = [rounded(one.value, 4, (-1.0, 0.0, 1.0)) for one in (estimate, theirs)]
        rows.append((name.replace("_", " "), *values, *shown))
    names = [one.name, other.name]
    if all(name.startswith(PREFIX) for name in names):
        names = [name.removeprefix(PREFIX) for name in names]
    return Table(
        name="figures",
        title="",
        headings=("figure", *names, "difference", "95 % interval"),
        rows=tuple(rows),
    )

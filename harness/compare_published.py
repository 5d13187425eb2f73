"""Comparisons with published results, of which only counts are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness import comparability, reproduction
from harness.errors import HarnessError
from harness.numbers import equals_p, rounded
from harness.predictions import GroundTruth
from harness.probes import Figure, Table
from harness.registry import Plugin, absent
from harness.report import simple
from harness.rows import Entry
from harness.statistics import equivalence, intervals
from harness.statistics.intervals import INDEPENDENT, Sampling
from harness.statistics.unpaired import difference, proportions_p
from harness.types import PublishedResult

PREFIX = "published:"
Matrix = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Side:
    """What is known of a model that is compared."""

    name: str
    test_set: str
    n: int
    figures: Mapping[str, Figure]
    confusion: Matrix | None
    result: PublishedResult | None = None
    """Of a published result."""
    dataset: Mapping[str, Any] = field(default_factory=dict)
    """Of a measured model: the record of its dataset."""


def of_result(
    results: Sequence[PublishedResult],
    name: str,
    test_set: str = "",
    plugins: Sequence[Plugin] = (),
    sampling: Sampling = INDEPENDENT,
) -> Side:
    """A published result by ``published:MODEL``.

    ``test_set`` is the one that is meant where there are several. ``plugins`` are all that were
    found, as the result may be of one that is left out. Raises HarnessError when there is none, or
    when there still are several.
    """
    clean = [result for result in results if result.perturbation == "clean"]
    wanted = name.removeprefix(PREFIX)
    named = [result for result in clean if result.name == wanted]
    if not named:
        known = {result.name for result in clean}
        raise HarnessError(
            f"compare: nothing published is named {wanted!r}; {absent(wanted, known, plugins)}"
        )
    named = [result for result in named if result.test_set == test_set] or named
    if len(named) > 1:
        which = "; ".join(f"{one.test_set}, trained on {one.trained_on}" for one in named)
        raise HarnessError(
            f"compare: {len(named)} published results are named {wanted!r} ({which}), so which is "
            "meant is not known"
        )
    found = named[0]
    figures = reproduction.figures(found, sampling)
    return Side(name, found.test_set, found.n, figures, found.confusion, result=found)


def of_entry(entry: Entry, truth: GroundTruth) -> Side:
    """A measured model. Raises HarnessError when its test patches are not all of a test set."""
    described = truth.described
    if described["shortfall"]:
        raise HarnessError(
            f"compare: {entry.name} was measured on other test patches than those of "
            f"{described['test_set']} ({described['shortfall']}); name two measured or two "
            "published ones"
        )
    found = entry.found[0]
    return Side(
        entry.name,
        described["test_set"],
        len(truth.labels),
        found.figures,
        found.confusion,
        dataset=described,
    )


def text(
    one: Side,
    other: Side,
    known: Sequence[PublishedResult],
    design_effect: float = 1.0,
    margin: float = equivalence.MARGIN,
    show: Callable[[Table], str] = simple,
) -> list[str]:
    """Paragraphs for a person. Raises HarnessError when the sides are of different test patches.

    ``show`` makes text of tables.
    ``known`` are published results, of which those of the same test set tell how it is composed.
    ``design_effect`` is the one that the intervals of the sides have, and ``margin`` the difference
    in accuracy within which they count as equal.
    """
    if one.test_set != other.test_set:
        raise HarnessError(
            f"compare: {one.name} is about {one.test_set or 'a test set without a name'}, "
            f"{other.name} about {other.test_set or 'a test set without a name'}"
        )
    known = [result for result in known if result.test_set == one.test_set]
    if differs := _differs(one, other, known):
        raise HarnessError(
            f"compare: {one.name} and {other.name} are about different test patches of "
            f"{one.test_set} ({differs}); name two measured or two published ones"
        )
    provided = [
        f"Not verified: that {unverified}."
        for side in (one, other)
        if side.dataset
        and (unverified := comparability.unverified(side.dataset, fitted_here=False))
    ]
    assumed = []
    if design_effect != 1:
        assumed = [f"Intervals and p values assume a design effect of {design_effect:g}."]
    lines = [
        f"{one.name} and {other.name} on {one.test_set}. Which patches each gets right is not "
        "known, so they are compared as if on different patches: what models have in common is "
        "lost, and small differences are missed.",
        *provided,
        *assumed,
        *_verdict(one, other, design_effect, margin),
        show(_figures(one, other)),
    ]
    classes = _classes(one) or _classes(other)
    if one.confusion is not None and other.confusion is not None and classes:
        found = reproduction.by_class(one.confusion, other.confusion, classes, design_effect)
        lines.append(show(reproduction.class_table(found)))
    return lines


def _differs(one: Side, other: Side, known: Sequence[PublishedResult]) -> str:
    """Why two sides are not about the same test patches; "" if they are."""
    if one.result and other.result:
        return comparability.between(one.result, other.result)
    result, dataset = one.result or other.result, one.dataset or other.dataset
    return comparability.other_test_data(result, dataset, known) if result and dataset else ""


def _classes(side: Side) -> Sequence[str]:
    return side.result.classes if side.result else side.dataset["classes"]


def _verdict(one: Side, other: Side, design_effect: float, margin: float) -> list[str]:
    if "accuracy" not in one.figures or "accuracy" not in other.figures:
        return []
    counts = [
        number / design_effect
        for side in (one, other)
        for number in (round(side.figures["accuracy"].value * side.n), side.n)
    ]
    p = proportions_p(*counts)
    size = equals_p(p)
    gap = difference(one.figures["accuracy"], other.figures["accuracy"])
    inner = equivalence.narrowed(gap)
    within = reproduction.equal_within(gap, inner.low or 0, inner.high or 0, margin)
    if p >= 0.05:
        error = ((gap.high or 0) - (gap.low or 0)) / 2 / intervals.Z
        more = equivalence.needed(gap.value, margin, error, min(one.n, other.n))
        if "not shown" in within and more.patches:
            within += f": {reproduction.would_decide(more)}"
        return [f"They cannot be told apart in accuracy ({size}, score test). {within}."]
    ahead = one.figures["accuracy"].value > other.figures["accuracy"].value
    better, worse = (one, other) if ahead else (other, one)
    return [f"{better.name} is more accurate than {worse.name} ({size}, score test). {within}."]


def _figures(one: Side, other: Side) -> Table:
    rows = []
    for name, figure in one.figures.items():
        theirs = other.figures.get(name)
        if theirs is None:
            continue
        shown = ["", ""]
        if None not in (figure.low, figure.high, theirs.low, theirs.high):
            gap = difference(figure, theirs)
            ends = [rounded(end or 0, 4, signed=True) for end in (gap.low, gap.high)]
            shown = [rounded(gap.value, 4, signed=True), " to ".join(ends)]
        values = [rounded(one.value, 4, (-1.0, 0.0, 1.0)) for one in (figure, theirs)]
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

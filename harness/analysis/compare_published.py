"""Comparisons with published results, of which only counts are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.analysis import reproduction
from harness.analysis.rows import Entry
from harness.data import comparability
from harness.errors import HarnessError
from harness.hooks.registry import Plugin, absent
from harness.statistics import equivalence, intervals
from harness.statistics.estimates import Estimate
from harness.statistics.intervals import INDEPENDENT, Sampling
from harness.statistics.unpaired import difference, proportions_p
from harness.store.predictions import GroundTruth
from harness.types.published import PublishedResult

PREFIX = "published:"
Matrix = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Side:
    """What is known of a model that is compared."""

    name: str
    test_set: str
    n: int
    estimates: Mapping[str, Estimate]
    confusion: Matrix | None
    result: PublishedResult | None = None
    """Of a published result."""
    dataset: Mapping[str, Any] = field(default_factory=dict)
    """Of a measured model: the record of its dataset."""

    @property
    def classes(self) -> Sequence[str]:
        """Names of the classes; none where they are not known."""
        return self.result.classes if self.result else self.dataset["classes"]


@dataclass(frozen=True)
class ComparedCounts:
    """Two results on one test set, at least one of them published.

    Which patches each gets right is not known, so they are compared as if on different patches.
    """

    one: Side
    other: Side
    p: float | None
    """Of the score test on accuracies; None where either accuracy is not known."""
    differences: Mapping[str, Estimate]
    """Of the figures that both have with an interval."""
    recalls: tuple[reproduction.ClassDifference, ...]
    """Differences in recall by class, where both have a confusion matrix."""
    needed: equivalence.Needed
    """What would decide whether accuracies are equal, where they cannot be distinguished."""
    unverified: tuple[str, ...] = ()
    """What is assumed about the data of a measured model, and not verified."""
    design_effect: float = 1.0
    margin: float = equivalence.MARGIN
    """Difference in accuracy within which they count as equal."""

    def __repr__(self) -> str:
        return f"<comparison of {self.one.name} and {self.other.name} on {self.one.test_set}>"

    def __str__(self) -> str:
        from harness.reports import display

        return display.text_of_counts(self)

    def _repr_html_(self) -> str:
        from harness.reports import display

        return display.html_of_counts(self)


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
    estimates = reproduction.estimates(found, sampling)
    return Side(name, found.test_set, found.n, estimates, found.confusion, result=found)


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
        found.estimates,
        found.confusion,
        dataset=described,
    )


def compare(
    one: Side,
    other: Side,
    known: Sequence[PublishedResult],
    design_effect: float = 1.0,
    margin: float = equivalence.MARGIN,
) -> ComparedCounts:
    """Compare two sides. Raises HarnessError when they are of different test patches.

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
    unverified = tuple(
        found
        for side in (one, other)
        if side.dataset and (found := comparability.unverified(side.dataset, fitted_here=False))
    )
    differences = {
        name: difference(estimate, other.estimates[name])
        for name, estimate in one.estimates.items()
        if name in other.estimates
        and _has_interval(estimate)
        and _has_interval(other.estimates[name])
    }
    p, needed = None, equivalence.Needed()
    if gap := differences.get("accuracy"):
        counts = [
            number / design_effect
            for side in (one, other)
            for number in (round(side.estimates["accuracy"].value * side.n), side.n)
        ]
        p = proportions_p(*counts)
        if p >= 0.05:
            error = ((gap.high or 0) - (gap.low or 0)) / 2 / intervals.Z
            needed = equivalence.needed(gap.value, margin, error, min(one.n, other.n))
    classes = one.classes or other.classes
    recalls: Sequence[reproduction.ClassDifference] = ()
    if one.confusion is not None and other.confusion is not None and classes:
        recalls = reproduction.by_class(one.confusion, other.confusion, classes, design_effect)
    return ComparedCounts(
        one=one,
        other=other,
        p=p,
        differences=differences,
        recalls=tuple(recalls),
        needed=needed,
        unverified=unverified,
        design_effect=design_effect,
        margin=margin,
    )


def _has_interval(estimate: Estimate) -> bool:
    return estimate.low is not None and estimate.high is not None


def _differs(one: Side, other: Side, known: Sequence[PublishedResult]) -> str:
    """Why two sides are not about the same test patches; "" if they are."""
    if one.result and other.result:
        return comparability.between(one.result, other.result)
    result, dataset = one.result or other.result, one.dataset or other.dataset
    return comparability.other_test_data(result, dataset, known) if result and dataset else ""

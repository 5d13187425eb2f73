"""Whether figures are equal within a margin, and how much data it would take to say so.

Two one-sided tests (TOST; Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 15, 1987)
show that a difference is within a margin when its 90 % interval is. Each errs in 5 % of trials.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import variance
from typing import Literal

from harness.statistics.estimates import Estimate

MARGIN = 0.005
"""Difference in accuracy, as a fraction of 1, within which models count as equal if no other is
given: about what trainings of one recipe differ by, and 36 of the 7,180 patches of CRC-VAL-HE-7K.
"""
MOST_SEEDS = 1000
"""No more seeds than these are asked for."""

Outcome = Literal["equivalent", "different", "inconclusive"]


def narrowed(estimate: Estimate) -> Estimate:
    """A figure with a 95 % interval, with about its 90 % one: ends at 1.645 instead of 1.960.

    Of an interval with Student's quantile, it is somewhat wider than a 90 % one.
    """
    from scipy.special import ndtri

    assert estimate.low is not None
    assert estimate.high is not None
    ratio = float(ndtri(0.95) / ndtri(0.975))
    low = estimate.value - ratio * (estimate.value - estimate.low)
    high = estimate.value + ratio * (estimate.high - estimate.value)
    return replace(estimate, low=low, high=high)


def outcome(difference: Estimate, low90: float, high90: float, margin: float) -> Outcome:
    """What a difference with its 95 % interval and the ends of its 90 % interval shows.

    Equivalent: the 90 % interval is within the margin. Different: the 95 % interval does not hold
    zero, and the difference itself is larger than the margin. So wider intervals turn either into
    "inconclusive" and never one into the other.
    """
    if -margin < low90 and high90 < margin:
        return "equivalent"
    assert difference.low is not None
    assert difference.high is not None
    if abs(difference.value) > margin and (difference.low > 0 or difference.high < 0):
        return "different"
    return "inconclusive"


@dataclass(frozen=True)
class Needed:
    """How much data would decide, with a power of 80 %."""

    patches: int | None = None
    """Test patches; None if no number would, or if there are as many."""
    seeds: int | None = None
    """Trainings of the model; likewise."""
    both: bool = False
    """Whether it takes both; otherwise either will do."""
    never: bool = False
    """Whether nothing would, as the spread over trainings is too large."""


def needed(
    difference: float, margin: float, error: float, n: int, accuracies: Sequence[float] = ()
) -> Needed:
    """What it would take to decide.

    If the difference is within the margin: to show it where the accuracies are truly equal. If it
    is larger: to show that it is not zero where it is truly as large. ``error`` is its standard
    error from ``n`` patches. ``accuracies`` are those of the trainings, which are compared with one
    training more, so that their variance counts 1 + 1/S times.
    """
    from scipy.special import ndtri, stdtrit

    within = abs(difference) <= margin
    tails = (0.95, 0.90) if within else (0.975, 0.80)
    room = (margin if within else abs(difference)) ** 2
    quantiles = float(sum(ndtri(tails))) ** 2
    spread = variance(accuracies) if len(accuracies) > 1 else 0.0
    by_patches = quantiles * error**2

    def by_seeds(count: int) -> float:
        return (
            float(sum(stdtrit(count - 1, tails))) ** 2 * spread * (1 + 1 / count) if spread else 0
        )

    def patches(seeds_take: float) -> int | None:
        return math.ceil(n * by_patches / (room - seeds_take)) if seeds_take < room else None

    def seeds(room: float) -> int | None:
        if not spread or by_seeds(MOST_SEEDS) > room:
            return None
        more = range(len(accuracies) + 1, MOST_SEEDS)
        return more[0] + bisect_left(more, True, key=lambda count: by_seeds(count) <= room)

    now = by_seeds(len(accuracies))
    if by_patches + now <= room:
        return Needed()
    if quantiles * spread >= room:
        return Needed(never=True)
    either = Needed(patches(now), seeds(room - by_patches))
    if either.patches or either.seeds:
        return either
    count = seeds((room + quantiles * spread) / 2)
    return Needed(patches(by_seeds(count)), count, both=True) if count else Needed(never=True)

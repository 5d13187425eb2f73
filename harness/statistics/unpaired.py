"""Comparisons with figures of which only counts are known, such as published ones."""

from __future__ import annotations

import numpy as np

from harness.statistics.estimates import Estimate


def proportions_p(correct: float, n: float, other_correct: float, other_n: float) -> float:
    """p value of the score test that two independent proportions are equal, two-sided.

    Counts may be effective ones, not whole. It is the chi-squared test of the two by two table,
    without correction for continuity.
    """
    from scipy.special import ndtr

    pooled = (correct + other_correct) / (n + other_n)
    error = np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / other_n))
    if error == 0:
        return 1.0
    return float(2 * ndtr(-abs(correct / n - other_correct / other_n) / error))


def difference(one: Estimate, other: Estimate) -> Estimate:
    """Difference of two figures from independent samples, with its 95 % interval.

    From the intervals of both (Zou and Donner, Statistics in Medicine 27, 2008); of proportions
    with Wilson's intervals it is Newcombe's hybrid score interval (Statistics in Medicine 17,
    1998).
    """
    value = one.value - other.value
    (one_below, one_above), (other_below, other_above) = _margins(one), _margins(other)
    below, above = np.hypot(one_below, other_above), np.hypot(one_above, other_below)
    return Estimate(name=one.name, value=value, low=float(value - below), high=float(value + above))


def _margins(estimate: Estimate) -> tuple[float, float]:
    """How far the ends of its interval are below and above a figure."""
    if estimate.low is None or estimate.high is None:
        raise ValueError(f"{estimate.name} has no interval")
    return estimate.value - estimate.low, estimate.high - estimate.value

"""What a design effect makes of intervals and p values that count patches as independent.

A design effect (Kish 1965) is the factor by which variances are larger than those of independent
patches. It divides a test statistic, and multiplies how far the ends of an interval are from the
figure, by its square root. 1 changes nothing.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from harness.statistics.estimates import Estimate
from harness.statistics.metrics import Floats


def larger(p: ArrayLike, effect: float) -> Floats:
    """Two-sided p values (any shape), each of a normal statistic that is divided by the root."""
    from scipy.special import ndtr, ndtri

    found = np.asarray(p, np.float64)
    return found if effect == 1 else 2 * ndtr(ndtri(found / 2) / np.sqrt(effect))


def wider(estimate: Estimate, effect: float, least: float = -1.0, most: float = 1.0) -> Estimate:
    """A figure with its interval widened, cut at the least and the most that the figure can be.

    It is never narrower than it was.
    """
    if effect == 1 or estimate.low is None or estimate.high is None:
        return estimate
    root = float(np.sqrt(effect))
    low = estimate.value - root * (estimate.value - estimate.low)
    high = estimate.value + root * (estimate.high - estimate.value)
    low, high = max(least, low), min(most, high)
    return replace(estimate, low=min(low, estimate.low), high=max(high, estimate.high))

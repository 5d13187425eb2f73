"""What a design effect makes of intervals and p values that count patches as independent.

A design effect (Kish 1965) is the factor by which variances are larger than those of independent
patches. It divides a test statistic, and multiplies how far the ends of an interval are from the
figure, by its square root. 1 changes nothing.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from harness.statistics.estimates import Figure
from harness.statistics.metrics import Floats


def larger(p: ArrayLike, effect: float) -> Floats:
    """Two-sided p values (any shape), each of a normal statistic that is divided by the root."""
    from scipy.special import ndtr, ndtri

    found = np.asarray(p, np.float64)
    return found if effect == 1 else 2 * ndtr(ndtri(found / 2) / np.sqrt(effect))


def wider(figure: Figure, effect: float, least: float = -1.0, most: float = 1.0) -> Figure:
    """A figure with its interval widened, cut at the least and the most that the figure can be.

    It is never narrower than it was.
    """
    if effect == 1 or figure.low is None or figure.high is None:
        return figure
    root = float(np.sqrt(effect))
    low = figure.value - root * (figure.value - figure.low)
    high = figure.value + root * (figure.high - figure.value)
    low, high = max(least, low), min(most, high)
    return replace(figure, low=min(low, figure.low), high=max(high, figure.high))

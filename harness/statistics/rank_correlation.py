"""Whether one figure of models foretells another: the correlation of their ranks."""

from __future__ import annotations

import numpy as np

from harness.statistics.estimates import Estimate
from harness.statistics.intervals import Z
from harness.statistics.metrics import Floats

FEWEST = 5
"""Models from which ranks tell anything: of four, two unrelated figures have the same order, or
the opposite one, in 1 of 12 cases."""


def spearman(name: str, one: Floats, other: Floats) -> Estimate | None:
    """Spearman's rank correlation of two figures (M,) with its 95 % interval.

    The interval is that of Fisher's z with the standard error of Bonett and Wright (Psychometrika
    65, 2000). Where the order is the same, or the opposite one, its end is that of ranks of which
    two neighbors are swapped: otherwise it would have no width. None for fewer than ``FEWEST``
    models, and where all have the same figure.
    """
    from scipy.stats import spearmanr

    n = len(one)
    if n < FEWEST or not np.ptp(one) or not np.ptp(other):
        return None
    rho = float(spearmanr(one, other).statistic)
    most = 1 - 12 / (n * (n**2 - 1))
    used = float(np.clip(rho, -most, most))
    half = Z * np.sqrt((1 + used**2 / 2) / (n - 3))
    low, high = np.tanh(np.arctanh(used) + np.array([-half, half]))
    return Estimate(name=name, value=rho, low=min(float(low), rho), high=max(float(high), rho))

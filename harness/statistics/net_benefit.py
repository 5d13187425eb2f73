"""Net benefit of acting on a probability: decision curves."""

from __future__ import annotations

import numpy as np

from harness.statistics.metrics import Bools, Floats

THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
"""Of a table. Not above one half, as a false positive then counts more than a patch can gain."""


def net_benefits(positive: Bools, probability: Floats, threshold: float) -> Floats:
    """What each patch (N,) adds to the net benefit at a threshold in (0, 1); the mean is that.

    Whoever acts from a probability of ``threshold`` on takes so many odds of a false positive for
    a true one: a true positive counts 1, a false positive minus threshold / (1 - threshold), all
    else 0 (Vickers and Elkin, Medical Decision Making 26, 2006).
    """
    worth = np.where(positive, 1.0, -threshold / (1 - threshold))
    return np.where(probability >= threshold, worth, 0.0)

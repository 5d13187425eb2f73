"""The interval of a mean over patches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness import Estimate, Predictions
from harness.statistics.intervals import INDEPENDENT, Sampling, mean_of_shares
from harness.statistics.paired import mean_difference
from harness.text.numbers import percent, points


def sampling(predictions: Predictions) -> Sampling:
    """How the test patches were sampled: what groups there are, and the design effect."""
    return Sampling(groups=predictions.groups, design_effect=predictions.design_effect)


def mean_figure(
    name: str,
    per_patch: NDArray[np.float64],
    difference: bool = False,
    labels: NDArray[np.int64] | None = None,
    sampling: Sampling = INDEPENDENT,
) -> Estimate:
    """Mean of a number of each patch, (N,), with its 95 % interval; none of a single patch.

    The numbers are shares in 0..1, or, with ``difference``, differences of shares in -1..1. The
    interval is that of accuracies, or of their differences, everywhere else: ``mean_of_shares``
    and ``mean_difference``. Without ``labels``, (N,), all patches count as one class.
    """
    if len(per_patch) < 2:
        return Estimate(name=name, value=float(per_patch.mean()))
    if difference:
        return mean_difference(name, per_patch, sampling)
    strata = np.zeros(len(per_patch), np.int64) if labels is None else labels
    return mean_of_shares(name, per_patch, strata, sampling)


def in_percent(estimate: Estimate) -> str:
    """A share with its interval, for a summary."""
    if estimate.low is None or estimate.high is None:
        return f"{percent(estimate.value, 1)} %"
    low, high = percent(estimate.low, 1), percent(estimate.high, 1)
    return f"{percent(estimate.value, 1)} % ({low} to {high})"


def in_points(estimate: Estimate) -> str:
    """A difference with its interval, for a summary."""
    if estimate.low is None or estimate.high is None:
        return points(estimate.value, 1)
    return f"{points(estimate.value, 1)} ({points(estimate.low, 1)} to {points(estimate.high, 1)})"

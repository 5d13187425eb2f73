"""The interval of a mean over patches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness import Figure
from harness.numbers import percent, points

Z = 1.959964


def mean_figure(name: str, per_patch: NDArray[np.float64], difference: bool = False) -> Figure:
    """Mean of a number of each patch, (N,), with its 95 % interval; none of a single patch.

    The numbers are shares in 0..1, or, with ``difference``, differences of shares in -1..1. The
    interval is the normal one after patches are added at the ends of the range, so that few
    patches that happen to be alike do not count as certain: z squared / 2 at each end (Agresti and
    Coull, The American Statistician 52, 1998), or of differences half a one at each end and one in
    the middle (Agresti and Min, Statistics in Medicine 24, 2005).
    """
    value, n = float(per_patch.mean()), len(per_patch)
    if n < 2:
        return Figure(name=name, value=value)
    added = {-1.0: 0.5, 0.0: 1.0, 1.0: 0.5} if difference else {0.0: Z**2 / 2, 1.0: Z**2 / 2}
    ends, weights = np.array(list(added)), np.array(list(added.values()))
    total = n + weights.sum()
    mean = (per_patch.sum() + weights @ ends) / total
    squares = ((per_patch - mean) ** 2).sum() + weights @ (ends - mean) ** 2
    half = Z * float(np.sqrt(squares)) / total
    low, high = max(float(mean) - half, float(ends[0])), min(float(mean) + half, 1.0)
    return Figure(name=name, value=value, low=min(low, value), high=max(high, value))


def in_percent(figure: Figure) -> str:
    """A share with its interval, for a summary."""
    if figure.low is None or figure.high is None:
        return f"{percent(figure.value, 1)} %"
    return f"{percent(figure.value, 1)} % ({percent(figure.low, 1)} to {percent(figure.high, 1)})"


def in_points(figure: Figure) -> str:
    """A difference with its interval, for a summary."""
    if figure.low is None or figure.high is None:
        return points(figure.value, 1)
    return f"{points(figure.value, 1)} ({points(figure.low, 1)} to {points(figure.high, 1)})"

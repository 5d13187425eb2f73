"""The interval of a mean over patches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness import Figure


def mean_figure(name: str, per_patch: NDArray[np.float64]) -> Figure:
    """Mean of a number of each patch, (N,), with its 95 % interval by the normal approximation."""
    value, n = float(per_patch.mean()), len(per_patch)
    if n < 2:
        return Figure(name=name, value=value)
    half = 1.959964 * float(per_patch.std(ddof=1)) / n**0.5
    return Figure(name=name, value=value, low=value - half, high=value + half)

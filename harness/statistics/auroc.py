"""Area under the ROC curve, one class against the rest, and the variance of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.statistics.deviations import deviations
from harness.statistics.metrics import Floats


@dataclass(frozen=True)
class Auroc:
    """An area, or the difference of two, and the deviations that its variance is made of."""

    value: float
    deviations: Floats
    """By independent patch or group of patches: their squares add up to the variance."""
    unseen: float = 0.0
    """Variance besides, as few patches of a class do not show all that it can do."""

    @property
    def standard_error(self) -> float:
        """Standard error, 0 for one that is perfect."""
        return float(np.sqrt(np.square(self.deviations).sum() + self.unseen))

    @property
    def degrees_of_freedom(self) -> float:
        """Of the variance, after Satterthwaite: few where few patches make up most of it."""
        fourth = (self.deviations**4).sum()
        return float(2 * np.square(self.deviations).sum() ** 2 / fourth) if fourth else np.inf

    def __sub__(self, other: Auroc) -> Auroc:
        unseen = self.unseen + other.unseen
        return Auroc(self.value - other.value, self.deviations - other.deviations, unseen)


def below_each(values: Floats, others: Floats) -> Floats:
    """How many of ``others`` lie below each of ``values``; equal ones count half."""
    ordered = np.sort(others)
    sides = [np.searchsorted(ordered, values, side) for side in ("left", "right")]
    return (sides[0] + sides[1]) / 2


def macro_auroc(
    labels: NDArray[np.int64], scores: Floats, groups: NDArray[np.int64] | None = None
) -> Auroc:
    """Mean over classes of the area under the ROC curve of a class against the rest.

    ``scores`` (N, C), such as probabilities, rank the patches, each column by itself. Classes
    without patches, or without any patch of another class, are left out; NaN if none is left. The
    deviations are DeLong's structural components (DeLong, DeLong and Clarke-Pearson, Biometrics
    44, 1988), summed over classes, and the patches of a class count as one sample. With
    ``groups``, numbers (N,), those of a group are added up (Obuchowski, Biometrics 53, 1997).
    """
    n = len(labels)
    counts = np.bincount(labels, minlength=scores.shape[1])
    counted = np.flatnonzero((counts > 0) & (counts < n))
    areas = []
    more = 0.0
    parts = np.zeros(n)
    for label in counted:
        own = labels == label
        n_own, n_rest = int(counts[label]), n - int(counts[label])
        above = below_each(scores[own, label], scores[~own, label]) / n_rest
        below = 1 - below_each(scores[~own, label], scores[own, label]) / n_own
        areas.append(above.mean())
        more += sum(map(_unseen, (above, below))) / len(counted) ** 2
        parts[own] += above / (n_own * len(counted))
        parts[~own] += below / (n_rest * len(counted))
    value = float(np.mean(areas)) if areas else np.nan
    return Auroc(value, deviations(parts, labels, groups), more)


def _unseen(components: Floats) -> float:
    """By how much the variance of a mean of components, from 0 to 1, is larger with one more.

    One that is 1 as often as they are on average, and else 0, as in ``deviations.unseen``. One
    component alone could have been any.
    """
    n, mean = len(components), components.mean()
    if n == 1:
        return float(mean * (1 - mean))
    plain = components.var(ddof=1)
    smoothed = (n * components.var() + mean * (1 - mean)) / (n + 1)
    return float(max(smoothed - plain, 0.0) / n)

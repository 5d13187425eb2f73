"""What the variance of a figure is made of: how much each patch, or group of patches, moves it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.statistics.metrics import Floats


def deviations(
    influence: Floats, strata: NDArray[np.int64], groups: NDArray[np.int64] | None = None
) -> Floats:
    """Deviations of independent patches, or groups of them; their squares add up to the variance.

    ``influence``, (N,) or (N, K), says by how much a figure changes with the weight of each patch
    (the infinitesimal jackknife: Jaeckel 1972; Efron, The Jackknife, the Bootstrap and Other
    Resampling Plans, 1982). Another set of patches has as many of each of the ``strata``, numbers
    (N,) such as labels: so deviations are those from the mean of the stratum, and each stratum of
    n patches counts n / (n - 1) times. Strata of one patch are taken together, as one tells nothing
    of its spread (Cochran, Sampling Techniques, 1977, 5A.12).

    With ``groups``, numbers (N,) from 0 without gaps, those of a group are added up, and groups
    are one sample. Returns (N,) or (G,), with K columns if there are any.
    """
    if groups is not None:
        return _from_mean(_sums(influence, groups), np.zeros(int(groups.max()) + 1, np.int64))
    counts = np.bincount(strata)
    return _from_mean(influence, np.where(counts[strata] > 1, strata, len(counts)))


def unseen(
    influence: Floats, labels: NDArray[np.int64], outcomes: Floats, shares: Floats
) -> Floats:
    """What to add to a variance, (K,), as few patches of a class do not show all it can do.

    A class of which every patch is right, or every one wrong, shows no spread at all. To each class
    one patch is added that is right or wrong as often as patches of all classes are, which is the
    pseudocount of an additive smoothing towards the whole; counted is by how much more its patches
    vary then. ``influence`` is (N, K), with ``outcomes`` (C, O, K) what it is of a patch of each
    class with each outcome, such as right and wrong, and ``shares`` (O,) how often there are such.
    """
    more = np.zeros(influence.shape[1])
    for label in np.unique(labels):
        own = influence[labels == label]
        n = len(own)
        plain = own.var(axis=0, ddof=1) if n > 1 else 0.0
        mean, square = (
            (n * (own**power).mean(axis=0) + shares @ outcomes[label] ** power) / (n + 1)
            for power in (1, 2)
        )
        more += n * np.maximum(square - mean**2 - plain, 0.0)
    return more


def _from_mean(values: Floats, strata: NDArray[np.int64]) -> Floats:
    n = np.bincount(strata).astype(np.float64)
    means = (_sums(values, strata).T / np.maximum(n, 1)).T
    unbiased = np.sqrt(n / np.maximum(n - 1, 1))[strata]
    return np.asarray(((values - means[strata]).T * unbiased).T)


def _sums(values: Floats, numbers: NDArray[np.int64]) -> Floats:
    """Sums of the rows of each number."""
    if values.ndim == 1:
        return np.bincount(numbers, values).astype(np.float64)
    columns = [np.bincount(numbers, column) for column in values.T]
    return np.stack(columns, axis=1).astype(np.float64)

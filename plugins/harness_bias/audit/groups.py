"""Labels dealt anew at random, whole groups at once, and what a patch of a group counts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

Labels = NDArray[np.int64]
Floats = NDArray[np.float64]
Shuffled = Iterator[tuple[Labels, Floats]]
DEALS = 499


def weights(labels: Labels, groups: Labels | None) -> Floats:
    """What each patch counts, (N,): patches of one class and group count one together.

    So a patient with many patches says no more than one with few. Without groups, 1 each.
    """
    if groups is None:
        return np.ones(len(labels))
    _, member = np.unique(groups, return_inverse=True)
    return _weights(labels, member)


def shuffled(labels: Labels, groups: Labels | None) -> Shuffled:
    """``DEALS`` times labels dealt at random, (N,) from 0 without gaps, and ``weights``.

    Groups of one class change it as a whole, among each other: patches of one patient are alike
    whatever the class. In groups of several classes, labels change places within the group.
    """
    rng = np.random.default_rng(0)
    if groups is None:
        even = np.ones(len(labels))
        for _ in range(DEALS):
            yield rng.permutation(labels), even
        return
    _, first, member = np.unique(groups, return_index=True, return_inverse=True)
    of_group, is_pure = _pure(labels, first, member)
    mixed = np.flatnonzero(~is_pure[member])
    by_group = mixed[np.argsort(member[mixed], kind="stable")]
    for _ in range(DEALS):
        new = of_group.copy()
        new[is_pure] = rng.permutation(of_group[is_pure])
        dealt = new[member]
        dealt[by_group] = labels[mixed[np.lexsort((rng.random(len(mixed)), member[mixed]))]]
        yield dealt, _weights(dealt, member)


def least_p(labels: Labels, groups: Labels | None) -> float:
    """The smallest p that labels dealt at random can show, (N,) from 0 without gaps.

    One deal in as many as there are; deals that swap classes with equally many groups are alike.
    """
    if groups is None:
        return 0.0
    _, first, member = np.unique(groups, return_index=True, return_inverse=True)
    of_group, is_pure = _pure(labels, first, member)
    log_deals = _log_deals(np.bincount(of_group[is_pure]))
    for group in np.flatnonzero(~is_pure)[:100]:
        log_deals += _log_deals(np.bincount(labels[member == group]))
    return float(np.exp(-max(log_deals, 0.0)))


def _log_deals(counts: Labels) -> float:
    """Log of the number of ways to deal classes with these counts, up to names of equal ones."""
    counts = counts[counts > 0]
    _, alike = np.unique(counts, return_counts=True)
    ways = gammaln(counts.sum() + 1) - gammaln(counts + 1).sum()
    return float(ways - gammaln(alike + 1).sum())


def _pure(labels: Labels, first: Labels, member: Labels) -> tuple[Labels, NDArray[np.bool_]]:
    """The label of the first patch of each group, and whether all of its patches have it."""
    of_group = labels[first]
    others = np.bincount(member, labels != of_group[member])
    return of_group, others == 0


def _weights(labels: Labels, member: Labels) -> Floats:
    cell = labels * (int(member.max()) + 1) + member
    return np.asarray(1.0 / np.bincount(cell)[cell])

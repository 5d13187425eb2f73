"""Labels dealt anew at random, whole groups at once, and what a patch of a group counts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

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
    _, cell, counts = np.unique(
        np.stack([labels, groups]), axis=1, return_inverse=True, return_counts=True
    )
    return np.asarray(1.0 / counts[cell.ravel()])


def shuffled(labels: Labels, groups: Labels | None) -> Shuffled:
    """``DEALS`` times labels dealt at random, (N,) from 0 without gaps, and ``weights``.

    Where each group has one class, groups change their classes as a whole: patches of one patient
    are alike whatever the class. Where groups have several classes, these change within the group.
    """
    rng = np.random.default_rng(0)
    if groups is None:
        even = np.ones(len(labels))
        for _ in range(DEALS):
            yield rng.permutation(labels), even
        return
    _, first, of_patch = np.unique(groups, return_index=True, return_inverse=True)
    if (labels == labels[first][of_patch]).all():
        for _ in range(DEALS):
            dealt = rng.permutation(labels[first])[of_patch]
            yield dealt, weights(dealt, groups)
        return
    order = np.argsort(of_patch, kind="stable")
    bounds = np.flatnonzero(np.diff(of_patch[order])) + 1
    members = np.split(order, bounds)
    for _ in range(DEALS):
        dealt = labels.copy()
        for own in members:
            dealt[own] = rng.permutation(labels[own])
        yield dealt, weights(dealt, groups)

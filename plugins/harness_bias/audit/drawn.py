"""Some of many patches, as many of each class as its share is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness_bias.audit.enough import FEWEST

Labels = NDArray[np.int64]

SAME = 0.95
"""Product of the unit vectors of two patches from which they count as copies."""


def drawn(rows: NDArray[np.int64], labels: Labels, most: int) -> NDArray[np.int64]:
    """About ``most`` of some rows, the same share of each class, but no fewer than it takes.

    ``labels`` are those of all patches. The same rows whenever it is asked.
    """
    if len(rows) <= most:
        return rows
    rng = np.random.default_rng(0)
    share = most / len(rows)
    chosen = []
    for label in np.unique(labels[rows]):
        own = rows[labels[rows] == label]
        n = min(len(own), max(FEWEST, int(len(own) * share)))
        chosen.append(rng.choice(own, n, replace=False))
    return np.sort(np.concatenate(chosen))


def comparable(
    values: NDArray[np.float32], rows: NDArray[np.int64], labels: Labels, most: int
) -> NDArray[np.int64]:
    """Some of rows at most, no two of them copies, of classes that have enough of these.

    ``values`` (N, D), of which copies have the same, and ``labels`` are those of all patches.
    """
    rows = _of_common(drawn(rows, labels, most), labels)
    return _of_common(rows[_single(values[rows])], labels)


def _of_common(rows: NDArray[np.int64], labels: Labels) -> NDArray[np.int64]:
    """Rows of classes that have ``FEWEST`` of them."""
    return rows[(np.bincount(labels[rows]) >= FEWEST)[labels[rows]]]


def _single(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which rows of (N, D) are no copies of an earlier one, bool (N,)."""
    norm = np.linalg.norm(values, axis=1, keepdims=True)
    values = values / np.maximum(norm, 1e-6)
    is_single = np.ones(len(values), bool)
    for start in range(0, len(values), 1000):
        same = values[start : start + 1000] @ values[: start + 1000].T > SAME
        is_single[start : start + 1000] = ~np.tril(same, start - 1).any(axis=1)
    return is_single

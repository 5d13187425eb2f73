"""Some of many patches, as many of each class as its share is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness_bias.audit.enough import FEWEST

Labels = NDArray[np.int64]


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

"""Whether something befell some patches of one class and next to none of the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import fisher_exact

Labels = NDArray[np.int64]
SOME = 0.05
"""Share of a class that must be struck, and of which the others may have a quarter."""


@dataclass(frozen=True)
class Struck:
    """A class of which a share of the patches is struck, and which share of the others."""

    label: int
    share: float
    others: float
    p: float
    """Of Fisher's exact test, times the number of classes, and of ``tried``."""


def struck(
    strikes: NDArray[np.bool_], labels: Labels, groups: Labels | None, tried: int = 1
) -> Iterator[Struck]:
    """The classes whose share of struck patches, bool (N,), is at least four times the others'.

    Patients and slides, where known, count once: as struck if any of their patches is. ``tried``
    says out of how many kinds of strike this one was picked.
    """
    present = np.unique(labels)
    for label in present if len(present) > 1 else ():
        own = labels == label
        share, others = float(strikes[own].mean()), float(strikes[~own].mean())
        if share < SOME or others > share / 4:
            continue
        table = [_counts(strikes[side], groups, side) for side in (own, ~own)]
        p = float(fisher_exact(table, "greater").pvalue) * len(present) * tried
        yield Struck(int(label), share, others, min(p, 1.0))


def _counts(
    strikes: NDArray[np.bool_], groups: Labels | None, side: NDArray[np.bool_]
) -> tuple[int, int]:
    """How many patches, or groups, are struck, and how many are not."""
    if groups is not None:
        _, member = np.unique(groups[side], return_inverse=True)
        strikes = np.bincount(member, strikes) > 0
    return int(strikes.sum()), int((~strikes).sum())

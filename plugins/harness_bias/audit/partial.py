"""Whether something befell some patches of one class and next to none of the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import fisher_exact, mannwhitneyu

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
    """Of Fisher's exact test, or of groups, times the number of classes, and of ``tried``."""


def struck(
    strikes: NDArray[np.bool_], labels: Labels, groups: Labels | None, tried: int = 1
) -> Iterator[Struck]:
    """The classes whose share of struck patches, bool (N,), is at least four times the others'.

    Where patients or slides are known, their shares are compared by Mann and Whitney's test, so
    that each counts once. ``tried`` says out of how many kinds of strike this one was picked.
    """
    present = np.unique(labels)
    for label in present if len(present) > 1 else ():
        own = labels == label
        share, others = float(strikes[own].mean()), float(strikes[~own].mean())
        if share < SOME or others > share / 4:
            continue
        p = _p(strikes, own, groups) * len(present) * tried
        yield Struck(int(label), share, others, min(p, 1.0))


def _p(strikes: NDArray[np.bool_], own: NDArray[np.bool_], groups: Labels | None) -> float:
    """How surely more of one class's patches are struck, by patches or by shares of groups."""
    if groups is None:
        table = [[(strikes & side).sum(), (~strikes & side).sum()] for side in (own, ~own)]
        return float(fisher_exact(table, "greater").pvalue)
    shares = []
    for side in (own, ~own):
        _, member = np.unique(groups[side], return_inverse=True)
        shares.append(np.bincount(member, strikes[side]) / np.bincount(member))
    return float(mannwhitneyu(*shares, alternative="greater").pvalue)

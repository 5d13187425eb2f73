"""Cutting test patches into folds, so that each class that is tested is also fitted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

VERSION = 1
"""Raised when ``cut`` gives other folds, so that those that a store remembers are not used."""
Cut = Callable[
    [NDArray[np.int64], Sequence[str] | None, int, NDArray[np.bool_]], list[NDArray[np.int64]]
]
"""What ``cut`` is."""


def cut(
    labels: NDArray[np.int64],
    groups: Sequence[str] | None,
    folds: int,
    trained: NDArray[np.bool_],
) -> list[NDArray[np.int64]]:
    """Indices of the patches of each fold; stratified by class, the same in every run.

    ``labels`` are those of the N patches, ``groups`` what no fold may cut, and ``trained``, bool
    (C,), the classes that every fit sees anyway. The folds are those of scikit-learn's
    StratifiedKFold or StratifiedGroupKFold. The latter may put all groups of a class into one
    fold, which is then fitted without that class, or leave a fold empty. Where moving groups
    to other folds avoids that, they are moved.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    if groups is None:
        cutter: Any = StratifiedKFold(folds, shuffle=True, random_state=0)
        return [fold for _, fold in cutter.split(labels, labels)]
    names, group_of = np.unique(np.asarray(groups), return_inverse=True)
    cutter = StratifiedGroupKFold(folds, shuffle=True, random_state=0)
    fold_of = np.zeros(len(names), np.int64)
    for number, (_, fold) in enumerate(cutter.split(labels, labels, groups)):
        fold_of[group_of[fold]] = number
    counts = np.zeros((len(names), len(trained)), np.int64)
    np.add.at(counts, (group_of, labels), 1)
    fold_of = _improved(fold_of, counts, folds, trained)
    return [np.flatnonzero(fold_of[group_of] == number) for number in range(folds)]


def _improved(
    fold_of: NDArray[np.int64],
    counts: NDArray[np.int64],
    folds: int,
    trained: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """The fold of each group after the moves that help most, as long as any helps.

    ``counts`` has the patches of each group by class. A class of one group cannot be helped.
    """
    forced = counts[:, ~trained & ((counts > 0).sum(axis=0) == 1)].sum()
    best = _faults(fold_of, counts, folds, trained)
    while best[:2] > (0, forced):
        moves = []
        for group, fold in np.ndindex(len(fold_of), folds):
            moved = fold_of.copy()
            moved[group] = fold
            moves.append((_faults(moved, counts, folds, trained), group, fold))
        faults, group, fold = min(moves)
        if faults[:2] >= best[:2]:
            break
        best = faults
        fold_of = fold_of.copy()
        fold_of[group] = fold
    return fold_of


def _faults(
    fold_of: NDArray[np.int64],
    counts: NDArray[np.int64],
    folds: int,
    trained: NDArray[np.bool_],
) -> tuple[int, int, float]:
    """Empty folds, patches of classes that their fold is fitted without, and unequal sizes."""
    inside = np.zeros((folds, counts.shape[1]), np.int64)
    np.add.at(inside, fold_of, counts)
    unfitted = ~trained & (inside == inside.sum(axis=0))
    sizes = inside.sum(axis=1)
    return int((sizes == 0).sum()), int(inside[unfitted].sum()), float(sizes.std())

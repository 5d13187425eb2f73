"""Which of many models can be told apart, and the ranks that this leaves open."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.statistics import design_effect as widening
from harness.statistics.metrics import Bools, Floats
from harness.statistics.paired import mcnemar, of_groups
from harness.statistics.seeds import compare_runs


def holm(p: Floats) -> Floats:
    """Holm's correction of p values (M,), which holds the family-wise error (Holm 1979)."""
    order = np.argsort(p)
    corrected = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(corrected, 1)
    return adjusted


def pairwise(
    right: Sequence[Bools], groups: NDArray[np.int64] | None = None, design_effect: float = 1.0
) -> Floats:
    """Holm-corrected p values that two models are equally accurate, for every pair, (M, M).

    ``right`` says for each model which patches each of its trainings gets right, bool (S, N). Two
    models with one training each are compared by McNemar's mid-p, with groups (N,) by the sums over
    groups: that is about these two trainings. Others are compared by ``seeds.compare_runs``. All
    tests count variances ``design_effect`` times.
    """
    pairs = np.triu_indices(len(right), 1)
    p = np.ones((len(right), len(right)))
    correct = np.stack([runs[0] for runs in right]).astype(np.float64)
    only = np.rint(correct.sum(axis=1)[:, None] - correct @ correct.T).astype(np.int64)
    tested = widening.larger(mcnemar(only[pairs], only.T[pairs]), design_effect)
    for number, (one, other) in enumerate(zip(*map(np.ndarray.tolist, pairs), strict=True)):
        if len(right[one]) > 1 or len(right[other]) > 1:
            tested[number] = compare_runs(right[one], right[other], groups, design_effect).p
        elif groups is not None:
            alone, _ = of_groups(correct[one] - correct[other], groups)
            tested[number] = widening.larger(alone, design_effect)
    p[pairs] = holm(tested)
    return np.minimum(p, p.T)


def rank_ranges(values: Floats, p: Floats, level: float = 0.05) -> list[tuple[int, int]]:
    """For each model the best and the worst rank that the data leave open.

    From figures (M,), more is better, and corrected p values (M, M) of their differences: a model
    is behind all that are better by a difference that is not chance, and before all that are worse
    by one.
    """
    different = p < level
    ahead = (different & (values[None] > values[:, None])).sum(axis=1)
    behind = (different & (values[None] < values[:, None])).sum(axis=1)
    return [(int(1 + a), int(len(values) - b)) for a, b in zip(ahead, behind, strict=True)]

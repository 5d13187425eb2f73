"""Which of many models can be distinguished, and the ranks that this leaves open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.statistics import design_effect as widening
from harness.statistics.metrics import Bools, Floats
from harness.statistics.paired import mcnemar, of_groups, of_sums
from harness.statistics.seeds import POWER, compare_runs, detectable, detectable_over_seeds

LEVEL = 0.05
"""p values below this tell models apart."""


def holm(p: Floats) -> Floats:
    """Holm's correction of p values (M,), which holds the family-wise error (Holm 1979)."""
    order = np.argsort(p)
    corrected = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(corrected, 1)
    return adjusted


@dataclass(frozen=True)
class Pairwise:
    """Every pair of M models: whether they can be distinguished, and what it would take."""

    p: Floats
    """That two models are equally accurate, (M, M); 1 of a model and itself."""
    holm: Floats
    """The same after Holm's correction for the number of pairs."""
    discordance: float
    """Share of patches that exactly one of two models gets right, by the first training of each:
    the median over pairs."""
    detectable: float
    """The difference in accuracy that the test of a pair finds in 80 % of trials, the median over
    pairs; of two models that were named beforehand."""
    detectable_holm: float
    """Of any pair, after Holm's correction."""

    @property
    def pairs(self) -> int:
        """How many there are."""
        return len(self.p) * (len(self.p) - 1) // 2


def pairwise(
    right: Sequence[Bools], groups: NDArray[np.int64] | None = None, design_effect: float = 1.0
) -> Pairwise:
    """Compare all pairs of two or more models.

    ``right`` says for each model which patches each of its trainings gets right, bool (S, N). Two
    models with one training each are compared by McNemar's mid-p, with groups (N,) by the sums over
    groups: that is about these two trainings. Others are compared by ``seeds.compare_runs``. All
    tests count variances ``design_effect`` times.

    What can be detected assumes that a pair varies as it is seen to. Of McNemar's test the variance
    is the discordance by the number of patches (Miettinen, Biometrics 24, 1968), and the
    discordance is no less than the difference. After Holm's correction it is the first step of it,
    as if no other pair differed.
    """
    pairs = np.triu_indices(len(right), 1)
    correct = np.stack([runs[0] for runs in right]).astype(np.float64)
    n = correct.shape[1]
    only = np.rint(correct.sum(axis=1)[:, None] - correct @ correct.T).astype(np.int64)
    found = widening.larger(mcnemar(only[pairs], only.T[pairs]), design_effect)
    discordance = (only[pairs] + only.T[pairs]) / n
    levels = LEVEL, LEVEL / len(found)
    shown = np.stack([detectable_of(discordance, n / design_effect, level) for level in levels])
    for number, (one, other) in enumerate(zip(*map(np.ndarray.tolist, pairs), strict=True)):
        if len(right[one]) > 1 or len(right[other]) > 1:
            both = right[one], right[other], groups, design_effect
            found[number] = compare_runs(*both).p
            shown[:, number] = detectable_over_seeds(*both, levels)
        elif groups is not None:
            gaps = correct[one] - correct[other]
            alone, _ = of_groups(gaps, groups)
            found[number] = widening.larger(alone, design_effect)
            variance, freedom = of_sums(gaps, groups, design_effect)
            shown[:, number] = [
                detectable([(variance, freedom)], level) if freedom else 1.0 for level in levels
            ]
    p, corrected = np.ones((2, len(right), len(right)))
    p[pairs], corrected[pairs] = found, holm(found)
    return Pairwise(
        np.minimum(p, p.T),
        np.minimum(corrected, corrected.T),
        float(np.median(discordance)),
        *map(float, np.median(shown, axis=1)),
    )


def detectable_of(discordance: Floats, n: float, level: float = LEVEL) -> Floats:
    """Differences that McNemar's test at this level finds in 80 % of trials or a little more.

    ``discordance`` has the share of ``n`` patches that exactly one of two models gets right.
    """
    from scipy.special import ndtri

    quantiles = float(ndtri(1 - level / 2) + ndtri(POWER))
    # A difference has at least as many discordant patches.
    shares = np.maximum(discordance, quantiles**2 / n)
    return np.minimum(1.0, quantiles * np.sqrt(shares / n))


def rank_ranges(values: Floats, p: Floats, level: float = LEVEL) -> list[tuple[int, int]]:
    """For each model the best and the worst rank that the data leave open.

    From figures (M,), more is better, and corrected p values (M, M) of their differences: a model
    is behind all that are better by a difference that is not chance, and before all that are worse
    by one.
    """
    different = p < level
    ahead = (different & (values[None] > values[:, None])).sum(axis=1)
    behind = (different & (values[None] < values[:, None])).sum(axis=1)
    return [(int(1 + a), int(len(values) - b)) for a, b in zip(ahead, behind, strict=True)]

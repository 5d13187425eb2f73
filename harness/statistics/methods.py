"""Which of two methods is better, where the test patches are cut into folds.

Each fold is predicted by a training of its own, so folds tell how trainings on other patches
differ. A test that pools the patches of all folds, such as McNemar's, speaks of these very
trainings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.statistics.estimates import Estimate
from harness.statistics.metrics import Bools, Floats


@dataclass(frozen=True)
class MethodsComparison:
    """Difference in accuracy of two methods, each trained once or more for every fold."""

    difference: Estimate
    """Mean over folds, with its 95 % interval."""
    p: float
    """That methods of equal accuracy, trained on other patches, would differ so much."""
    folds: int


def compare_methods(
    one: Bools, other: Bools, folds: NDArray[np.int64], design_effect: float = 1.0
) -> MethodsComparison | None:
    """Compare methods by which patches each of their seeds gets right, bool (S, N) and (T, N).

    ``folds`` (N,) has the number of the fold of each patch. All seeds share the same folds, so they
    are no repeats of the cross-validation: the value of a fold is the mean over its seeds.
    None with fewer than two folds.
    """
    numbers = np.unique(folds, return_inverse=True)[1]
    k = int(numbers.max()) + 1
    if k < 2:
        return None
    gaps = one.mean(axis=0) - other.mean(axis=0)
    by_fold = np.bincount(numbers, gaps) / np.bincount(numbers)
    return corrected_t(by_fold, 1 / (k - 1), len(gaps), design_effect)


def corrected_t(
    gaps: Floats, overlap: float, n: int, design_effect: float = 1.0
) -> MethodsComparison:
    """Corrected resampled t-test of differences (J,), one for each fold of each repeat.

    Trainings of a cross-validation share patches, so their differences vary together, and the
    variance of a mean is more than that of independent ones: s² (1/J + ``overlap``), where
    ``overlap`` is the number of tested patches by that of patches that are fitted on, 1 / (K - 1)
    of K folds (Nadeau and Bengio, Machine Learning 52, 2003; of repeated cross-validation:
    Bouckaert and Frank, PAKDD 2004). Patches that every fit sees besides do not count, which is
    cautious. Folds that happen to agree show no variance at all: that of one of the ``n`` patches
    is added.
    """
    from scipy.special import stdtr, stdtrit

    j, value = len(gaps), float(gaps.mean())
    variance = float(gaps.var(ddof=1)) * (1 / j + overlap) + 1 / n**2
    error = math.sqrt(design_effect * variance)
    half = float(stdtrit(j - 1, 0.975)) * error
    return MethodsComparison(
        difference=Estimate(
            name="accuracy",
            value=value,
            low=max(-1.0, value - half),
            high=min(1.0, value + half),
        ),
        p=float(2 * stdtr(j - 1, -abs(value) / error)),
        folds=j,
    )

"""Comparisons of models that predicted the same patches."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.statistics import metrics
from harness.statistics.auroc import macro_auroc
from harness.statistics.deviations import deviations, unseen
from harness.statistics.estimates import Estimate
from harness.statistics.intervals import (
    INDEPENDENT,
    Sampling,
    Z,
    auroc_quantile,
    furthest,
    right_or_wrong,
    wilson,
)
from harness.statistics.metrics import OF_CONFUSION, Bools, Floats

SMOOTHING = 0.5
"""Variance of so many patches of the smallest class that is added to that of differences in which
classes count alike: where models differ on next to no patch, these show too little. Chosen by
simulation."""


def mcnemar(only_one: ArrayLike, only_other: ArrayLike) -> Floats:
    """Mid-p McNemar test of the patches that only one of two models gets right.

    Takes counts of any shape and returns p values of that shape; 1 where neither has any. Mid-p
    keeps to its level and misses fewer differences than the exact test (Fagerland, Lydersen and
    Laake, BMC Medical Research Methodology 13, 2013).
    """
    from scipy.special import bdtr

    one, other = np.broadcast_arrays(only_one, only_other)
    few, n = np.minimum(one, other), one + other
    fewer = np.where(few > 0, bdtr(np.maximum(few - 1, 0), n, 0.5), 0)
    tail = (fewer + bdtr(few, n, 0.5)) / 2
    return np.where(one == other, 1.0, np.minimum(2 * tail, 1.0))


def paired_difference(one: Bools, other: Bools) -> tuple[float, float, float]:
    """Difference of two accuracies on the same patches, and its 95 % interval.

    ``one`` and ``other`` say which patches are right, bool (N,). The interval is Wald's after half
    a patch is added to each of the four cells (Agresti and Min, Statistics in Medicine 24, 2005);
    it covers well also where few patches differ.
    """
    estimate = mean_difference("", one.astype(np.float64) - other)
    assert estimate.low is not None
    assert estimate.high is not None
    return estimate.value, estimate.low, estimate.high


def mean_difference(name: str, values: Floats, sampling: Sampling = INDEPENDENT) -> Estimate:
    """Mean of differences from -1 to 1, one for each patch (N,), with its 95 % interval.

    Such as that of being right once and being right another time, or of shares of changes under
    which a patch is right. Half a patch is added at each end of the range and one in the middle
    (Agresti and Min, Statistics in Medicine 24, 2005). With groups it is that of ``of_groups``.
    """
    value, n = float(values.mean()), len(values)
    if sampling.groups is not None:
        _, (low, high) = of_groups(values, sampling.groups, sampling.design_effect)
        return Estimate(name=name, value=value, low=low, high=high)
    ends, added = np.array([-1.0, 0.0, 1.0]), np.array([0.5, 1.0, 0.5])
    total = n + added.sum()
    mean = values.sum() / total
    squares = ((values - mean) ** 2).sum() + added @ (ends - mean) ** 2
    half = Z * float(np.sqrt(squares * sampling.design_effect)) / total
    low, high = max(-1.0, float(mean) - half), min(1.0, float(mean) + half)
    return Estimate(name=name, value=value, low=min(low, value), high=max(high, value))


@dataclass(frozen=True)
class Comparison:
    """How one model compares with another on the same patches."""

    only_one: int
    only_other: int
    """Patches that only this one of them gets right."""
    p: float
    """That models of equal accuracy would differ so much."""
    differences: dict[str, Estimate]
    """The one's figures minus the other's, by name, with 95 % intervals."""


def compare(
    labels: NDArray[np.int64],
    one: NDArray[np.float32],
    other: NDArray[np.float32],
    sampling: Sampling = INDEPENDENT,
    scores: tuple[Floats, Floats] | None = None,
) -> Comparison:
    """Compare two models by their logits (N, C) for the same patches, with labels (N,).

    ``scores`` (N, C) of each are what AUROC ranks patches by, the softmax of its logits if None.
    What ``of_predictions`` and ``auroc_difference`` find, without design effects. The p value and
    the interval of the accuracy are from different tests: rarely, and by a hair, only one of them
    calls models different.
    """
    found = of_predictions(labels, one.argmax(axis=1), other.argmax(axis=1), one.shape[1], sampling)
    ranked = scores or (metrics.probabilities(one), metrics.probabilities(other))
    area = auroc_difference_of(labels, *ranked, sampling)
    return replace(found, differences=found.differences | {"macro_auroc": area})


def of_predictions(
    labels: NDArray[np.int64],
    one: NDArray[np.int64],
    other: NDArray[np.int64],
    n_classes: int,
    sampling: Sampling = INDEPENDENT,
) -> Comparison:
    """Compare two models by the labels (N,) that they predict.

    The p value is McNemar's mid-p, and the interval of the difference in accuracy that of
    ``paired_difference``. With groups, both come from the sums over groups (Obuchowski, Statistics
    in Medicine 17, 1998). The variance of the other figures is from how much each patch moves
    their difference (``deviations``), and is somewhat enlarged: that of the Matthews correlation by
    as much as Agresti and Min enlarge that of the accuracy, by one patch, or by ``SMOOTHING`` of
    the one that moves it most; see there for the others.
    """
    right, other_right = one == labels, other == labels
    only_one, only_other = int((right & ~other_right).sum()), int((other_right & ~right).sum())
    accuracy, low, high = paired_difference(right, other_right)
    p = float(mcnemar(only_one, only_other))
    if sampling.groups is not None:
        p, (low, high) = of_groups(right.astype(float) - other_right, sampling.groups)
    matrices = [metrics.confusion_matrix(labels, guess, n_classes) for guess in (one, other)]
    values = np.subtract(*map(metrics.of_confusion, matrices))
    influences = list(map(metrics.influence, matrices))
    moves = (influences[0][:, labels, one] - influences[1][:, labels, other]).T
    variances = np.square(deviations(moves, labels, sampling.groups)).sum(axis=0)
    # Outcomes are that both are right, only one of them, only the other, and none.
    first, second = map(right_or_wrong, influences)
    outcomes = (first[:, :, None] - second[:, None]).reshape(n_classes, 4, -1)
    shares = np.bincount(2 * ~right + ~other_right, minlength=4) / len(labels)
    variances += unseen(moves, labels, outcomes, shares)
    n_of = np.bincount(labels)[np.unique(labels)]
    smoothing = SMOOTHING / (len(n_of) * n_of.min()) ** 2
    one_patch = max(furthest(each, labels)[-1] for each in (first, second))
    of_mcc = max(1 / len(labels) ** 2, SMOOTHING * one_patch**2)
    variances += np.array([1 / len(labels) ** 2, smoothing, smoothing, of_mcc])
    differences = {
        name: _figure(name, value, sampling.z * error, 2.0 if name == "mcc" else 1.0)
        for name, value, error in zip(OF_CONFUSION, values, np.sqrt(variances), strict=True)
    }
    differences["accuracy"] = Estimate(name="accuracy", value=accuracy, low=low, high=high)
    return Comparison(only_one, only_other, p, differences)


def _figure(name: str, value: float, half: float, most: float = 1.0) -> Estimate:
    low, high = max(-most, value - half), min(most, value + half)
    return Estimate(name=name, value=float(value), low=float(low), high=float(high))


def of_groups(
    difference: Floats, groups: NDArray[np.int64], design_effect: float = 1.0
) -> tuple[float, tuple[float, float]]:
    """p value and interval of a mean over patches (N,) that are independent only across groups.

    The variance is that of one patch larger than what the groups show, times the design effect. One
    group shows nothing.
    """
    from scipy.special import stdtr, stdtrit

    mean, (variance, freedom) = difference.mean(), of_sums(difference, groups, design_effect)
    if not freedom:
        return 1.0, (-1.0, 1.0)
    error = np.sqrt(variance)
    half = stdtrit(freedom, 0.975) * error
    p = 2 * stdtr(freedom, -abs(mean) / error)
    return float(p), (float(max(-1.0, mean - half)), float(min(1.0, mean + half)))


def of_sums(
    difference: Floats, groups: NDArray[np.int64], design_effect: float = 1.0
) -> tuple[float, int]:
    """Variance of a mean over patches (N,) from the sums over groups, and degrees of freedom.

    Without degrees of freedom, as of one group, the variance is infinite.
    """
    n = len(difference)
    sums = np.bincount(groups, difference - difference.mean())
    g = len(sums)
    if g < 2:
        return np.inf, 0
    return float(((sums**2).sum() * g / (g - 1) + 1) * design_effect) / n**2, g - 1


def auroc_difference(
    labels: NDArray[np.int64],
    one: NDArray[np.float32],
    other: NDArray[np.float32],
    sampling: Sampling = INDEPENDENT,
) -> Estimate:
    """``auroc_difference_of`` the softmax of two models' logits (N, C)."""
    scores = metrics.probabilities(one), metrics.probabilities(other)
    return auroc_difference_of(labels, *scores, sampling)


def auroc_difference_of(
    labels: NDArray[np.int64], one: Floats, other: Floats, sampling: Sampling = INDEPENDENT
) -> Estimate:
    """Difference of the macro AUROC of two models, from their scores (N, C); DeLong's interval.

    With Student's t, as ``intervals.auroc_of``.
    """
    areas = [macro_auroc(labels, scores, sampling.groups) for scores in (one, other)]
    difference = areas[0] - areas[1]
    independent = len(labels) if sampling.groups is None else int(sampling.groups.max()) + 1
    if independent > 1 and difference.standard_error:
        half = auroc_quantile(difference, sampling) * difference.standard_error
    else:  # both perfect: as far as one of them may fall short; or one group, which tells nothing
        half = 1 - wilson(independent, independent)[0]
    return _figure("macro_auroc", difference.value, half)

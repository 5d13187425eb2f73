"""95 % intervals of figures on one set of patches.

They say how a figure varies from one set of patches to another with as many patches of each class.
Its standard error is from how much each patch, or group of patches, moves the figure
(``deviations``), and Wilson's score interval gives its shape. How often intervals hold the truth is
simulated in ``tests/simulations``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.statistics import metrics
from harness.statistics.auroc import Auroc, macro_auroc
from harness.statistics.deviations import deviations, unseen
from harness.statistics.estimates import Estimate
from harness.statistics.metrics import OF_CONFUSION, Floats

Z = 1.959963984540054
"""97.5 % quantile of the normal distribution."""
RESAMPLES = 500
SMOOTHING = 0.25
"""Variance of so many patches, each by itself, that is added to what the patches show: where next
to none is wrong, they show too little. Chosen by simulation, as is the next."""
MORE_FREEDOM = 2.0
"""Degrees of freedom added to those of a variance that hangs on few patches, as it is uncertain
itself."""


@dataclass(frozen=True)
class Sampling:
    """How the patches of a test set were sampled, as far as it matters for intervals."""

    groups: NDArray[np.int64] | None = None
    """Number of the group (patient, slide) of each patch, (N,), from 0 without gaps. Patches of
    different groups are independent. None: all patches are."""
    design_effect: float = 1.0
    """By what factor variances are larger than those of independent patches (Kish 1965): a guess,
    for test sets whose groups are not known."""
    resamples: int = RESAMPLES
    """Test sets that are simulated for figures of which no formula is known: calibration errors."""

    @property
    def n_groups(self) -> int | None:
        """How many groups there are; None where patches are independent."""
        return None if self.groups is None else int(self.groups.max()) + 1

    @property
    def z(self) -> float:
        """What a standard error is multiplied by: from few groups it is not known well."""
        return Z if self.n_groups is None else quantile(self.n_groups)

    def most(self, n: float) -> float:
        """How many independent patches so many stand for, at most."""
        return min(n, self.n_groups or n) / self.design_effect

    def of(self, chosen: NDArray[np.bool_]) -> Sampling:
        """That of some of the patches, bool (N,)."""
        if self.groups is None:
            return self
        return replace(self, groups=np.unique(self.groups[chosen], return_inverse=True)[1])


INDEPENDENT = Sampling()


def wilson(correct: float, n: float, z: float = Z) -> tuple[float, float]:
    """Score interval of a proportion (Wilson, JASA 22, 1927), 95 % unless z is another quantile.

    n may be an effective number of patches, not a whole one.
    """
    center = correct + z**2 / 2
    half = z * math.sqrt(z**2 / 4 + correct * (n - correct) / n)
    low = 0.0 if correct <= 0 else max(0.0, (center - half) / (n + z**2))
    high = 1.0 if correct >= n else min(1.0, (center + half) / (n + z**2))
    return float(low), float(high)


def score_interval(
    value: float, standard_error: float, n: float, z: float = Z
) -> tuple[float, float]:
    """Wilson's interval of a figure between 0 and 1 that has a standard error.

    It is that of a proportion among as many patches as give it this standard error, the effective
    sample size (Dean and Pagano, Journal of Survey Statistics and Methodology 3, 2015), or among
    ``n`` where the standard error or the spread of the figure is 0. Where few patches are wrong, or
    few right, one such patch more than there should be is not unlikely, and Wilson's interval ends
    too early: it reaches at least to the exact bound that is passed on one side as often as the
    interval on both (as Brown, Cai and DasGupta modify it, Statistical Science 16, 2001). All from
    0 to 1 if z is infinite.
    """
    from scipy.special import betaincinv, ndtr

    if math.isinf(z):
        return 0.0, 1.0
    spread, variance = value * (1 - value), standard_error**2
    effective = spread / variance if spread > 1e-12 and variance > 0 else n
    right, wrong, tail = value * effective, (1 - value) * effective, 2 * ndtr(-z)
    low, high = wilson(right, effective, z)
    if 0 < right < wrong:
        low = min(low, float(betaincinv(right, wrong + 1, tail)))
    if 0 < wrong < right:
        high = max(high, 1 - float(betaincinv(wrong, right + 1, tail)))
    return low, high


def estimate(
    labels: NDArray[np.int64], logits: NDArray[np.float32], sampling: Sampling = INDEPENDENT
) -> dict[str, Estimate]:
    """Every figure of a model with its 95 % interval, by name.

    Labels are (N,), logits (N, C); ties go to the lower label. The names are those of
    ``metrics.OF_CONFUSION`` and ``macro_auroc``, the mean one-against-rest area of the softmax
    (``harness.statistics.auroc``).
    """
    predicted = logits.argmax(axis=1)
    estimates = of_predictions(labels, predicted, logits.shape[1], sampling)
    return estimates | {"macro_auroc": auroc(labels, logits, sampling)}


def of_predictions(
    labels: NDArray[np.int64],
    predicted: NDArray[np.int64],
    n_classes: int,
    sampling: Sampling = INDEPENDENT,
) -> dict[str, Estimate]:
    """The figures of ``metrics.OF_CONFUSION``, from labels and predicted labels (N,)."""
    matrix = metrics.confusion_matrix(labels, predicted, n_classes)
    values = metrics.of_confusion(matrix)
    influence = metrics.influence(matrix)
    moves = influence[:, labels, predicted].T
    variances = np.square(deviations(moves, labels, sampling.groups)).sum(axis=0)
    right = np.mean(labels == predicted)
    outcomes = right_or_wrong(influence)
    variances += unseen(moves, labels, outcomes, np.array([right, 1 - right]))
    n_of = matrix.sum(axis=1)[matrix.sum(axis=1) > 0]
    n = float(n_of.sum())
    # Where each class counts alike, one patch of the smallest counts this much, and all patches as
    # much as so many of equal weight.
    heaviest, alike = 1 / (len(n_of) * n_of.min()), len(n_of) ** 2 / (1 / n_of).sum()
    weights = {"accuracy": (1 / n, n), "mcc": (max(1 / n, furthest(outcomes, labels)[-1]), n)}
    estimates = {}
    for name, value, variance in zip(OF_CONFUSION, values, variances, strict=True):
        weight, most = weights.get(name, (heaviest, alike))
        least = -1.0 if name == "mcc" else 0.0
        variance += SMOOTHING * weight**2
        estimates[name] = _figure(name, value, variance, most, sampling, least)
    return estimates


def right_or_wrong(influence: Floats) -> Floats:
    """How a patch moves figures if it is right, and on average if it is wrong: (C, 2, K).

    From how it moves them in each cell of the confusion matrix, (K, C, C).
    """
    n_classes = influence.shape[-1]
    right = np.diagonal(influence, axis1=1, axis2=2)
    wrong = (influence.sum(axis=2) - right) / max(n_classes - 1, 1)
    return np.stack([right, wrong]).transpose(2, 0, 1)


def furthest(outcomes: Floats, labels: NDArray[np.int64]) -> Floats:
    """By how much one patch moves figures, (K,), at most, from ``right_or_wrong`` (C, 2, K)."""
    return np.asarray(np.abs(np.diff(outcomes[np.unique(labels)], axis=1)).max(axis=(0, 1)))


def of_matrix(confusion: ArrayLike, sampling: Sampling = INDEPENDENT) -> dict[str, Estimate]:
    """The figures of ``metrics.OF_CONFUSION``, from a matrix (C, C) of independent patches."""
    matrix = np.asarray(confusion, np.int64)
    labels, predicted = (np.repeat(index, matrix.ravel()) for index in np.indices(matrix.shape))
    return of_predictions(labels, predicted, len(matrix), sampling)


def mean_of_shares(
    name: str, values: Floats, labels: NDArray[np.int64], sampling: Sampling = INDEPENDENT
) -> Estimate:
    """Mean of shares from 0 to 1, one for each patch (N,), such as whether it is right, 0 or 1.

    Of an accuracy it is the interval that ``of_predictions`` gives.
    """
    mean, n = values.mean(), len(values)
    moves, outcomes = (values - mean) / n, np.array([[1 - mean], [-mean]]) / n
    by_class = np.broadcast_to(outcomes, (int(labels.max()) + 1, 2, 1))
    more = unseen(moves[:, None], labels, by_class, np.array([mean, 1 - mean]))[0]
    return linearized(name, mean, moves, labels, sampling, more=more)


def mean_of_groups(
    name: str, shares: Floats, sizes: NDArray[np.int64], design_effect: float = 1.0
) -> Estimate:
    """Mean over groups of a share from 0 to 1 of each, (G,), so that each group counts alike.

    The interval is over samples of groups: from how they differ, and, as few groups may not show
    it, one patch of a group of median size; ``sizes`` are numbers of patches, (G,).
    """
    n, mean = len(shares), float(shares.mean())
    groups = np.arange(n)
    sampling = Sampling(groups=groups, design_effect=design_effect)
    one_patch = 1 / (n * float(np.median(sizes)))
    moves = (shares - mean) / n
    return linearized(name, mean, moves, np.zeros_like(groups), sampling, one_patch=one_patch)


def linearized(
    name: str,
    value: float,
    influence: Floats,
    labels: NDArray[np.int64],
    sampling: Sampling = INDEPENDENT,
    least: float = 0.0,
    one_patch: float | None = None,
    more: float = 0.0,
) -> Estimate:
    """A figure from ``least``, 0 or -1, to 1 that each patch moves by so much, (N,).

    Its variance is that of ``deviations``, enlarged by ``SMOOTHING`` of a patch of N, or by that of
    one that moves the figure by ``one_patch``, and by ``more``.
    """
    n = len(influence)
    more += SMOOTHING / n**2 if one_patch is None else one_patch**2
    variance = np.square(deviations(influence, labels, sampling.groups)).sum() + more
    return _figure(name, value, variance, n, sampling, least)


def ratio(
    name: str,
    value: float,
    influence: Floats,
    one_patch: float,
    labels: NDArray[np.int64],
    sampling: Sampling = INDEPENDENT,
) -> Estimate:
    """A ratio from 0 on that each patch moves by so much, (N,), and a wrong one by ``one_patch``.

    The score interval where the variance is proportional to the ratio, as that of a count is:
    Wilson's without an upper end of the range, and modified in the same way where few patches are
    wrong (``score_interval``). ``SMOOTHING`` of a wrong patch is added. From one group there is no
    interval.
    """
    from scipy.special import gammaincinv, ndtr

    variance = np.square(deviations(influence, labels, sampling.groups)).sum()
    scale = one_patch if value <= 0 else variance / value + SMOOTHING * one_patch
    scale *= sampling.design_effect
    middle = sampling.z**2 * scale / 2
    if not math.isfinite(middle):
        return Estimate(name=name, value=float(value))
    half = math.sqrt(2 * value * middle + middle**2)
    low, high = max(0.0, value + middle - half), value + middle + half
    if value > 0:
        low = min(low, scale * gammaincinv(value / scale, 2 * ndtr(-sampling.z)))
    return Estimate(name=name, value=float(value), low=float(low), high=float(high))


def _figure(
    name: str, value: float, variance: float, n: float, sampling: Sampling, least: float = 0.0
) -> Estimate:
    """With the score interval, of a figure from ``least`` to 1, brought to 0 to 1 and back."""
    span = 1 - least
    error = math.sqrt(variance * sampling.design_effect) / span
    ends = score_interval((value - least) / span, error, sampling.most(n), sampling.z)
    low, high = (least + span * end for end in ends)
    return Estimate(
        name=name, value=float(value), low=float(min(low, value)), high=float(max(high, value))
    )


def recalls(
    labels: NDArray[np.int64],
    predicted: NDArray[np.int64],
    classes: tuple[str, ...],
    sampling: Sampling = INDEPENDENT,
) -> dict[str, Estimate]:
    """Recall of each class that has patches, by its name.

    The score interval of a proportion; with groups, that of the mean of shares.
    """
    found = {}
    for label, name in enumerate(classes):
        own = labels == label
        n = int(own.sum())
        if not n:
            continue
        right = (predicted[own] == label).astype(np.float64)
        if sampling.groups is not None:
            found[name] = mean_of_shares(name, right, labels[own], sampling.of(own))
            continue
        low, high = score_interval(right.mean(), 0, n / sampling.design_effect)
        found[name] = Estimate(name=name, value=float(right.mean()), low=low, high=high)
    return found


def auroc(
    labels: NDArray[np.int64], logits: NDArray[np.float32], sampling: Sampling = INDEPENDENT
) -> Estimate:
    """Macro AUROC of the softmax of logits (N, C): ``auroc_of``."""
    return auroc_of(labels, metrics.probabilities(logits), sampling)


def auroc_of(
    labels: NDArray[np.int64], scores: metrics.Floats, sampling: Sampling = INDEPENDENT
) -> Estimate:
    """Macro AUROC of scores (N, C), of whose columns the order counts; interval on the log odds.

    Student's t takes the place of the normal distribution; see ``auroc_quantile``.
    """
    from scipy.special import expit, logit

    area = macro_auroc(labels, scores, sampling.groups)
    spread = area.value * (1 - area.value)
    error = area.standard_error * np.sqrt(sampling.design_effect)
    independent = len(labels) if sampling.groups is None else int(sampling.groups.max()) + 1
    if not spread > 0 or not error > 0 or independent < 2:  # perfect, not defined, or one group
        low, high = score_interval(area.value, 0, independent / sampling.design_effect)
    else:
        half = auroc_quantile(area, sampling) * error / spread
        low, high = expit(logit(area.value) - half), expit(logit(area.value) + half)
    return Estimate(name="macro_auroc", value=area.value, low=float(low), high=float(high))


def quantile(n_groups: int) -> float:
    """What takes the place of Z where a variance is known from so many groups.

    From one group nothing is known of it, and intervals take all there is.
    """
    from scipy.special import stdtrit

    return float(stdtrit(n_groups - 1, 0.975)) if n_groups > 1 else math.inf


def auroc_quantile(area: Auroc, sampling: Sampling) -> float:
    """What takes the place of Z for an area: more where it hangs on few patches or groups."""
    from scipy.special import stdtrit

    freedom = area.degrees_of_freedom + MORE_FREEDOM
    if sampling.groups is not None:
        freedom = min(freedom, max(int(sampling.groups.max()), 1))
    return float(stdtrit(freedom, 0.975))

"""95 % intervals of figures on one set of patches.

They say how a figure varies from one set of patches to another with as many patches of each class.
A bootstrap of the patches, class by class (of groups of patches where these are known), gives the
standard error of a figure, and Wilson's score interval its shape. Percentiles of the bootstrap
would do for most models, but cover 90 % instead of 95 where only few patches are wrong: see
``tests/simulations``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.probes import Figure
from harness.statistics import metrics
from harness.statistics.auroc import Auroc, macro_auroc
from harness.statistics.metrics import OF_CONFUSION, Floats

Z = 1.959963984540054
"""97.5 % quantile of the normal distribution."""
RESAMPLES = 10_000
SMOOTHING = 0.25
"""Variance of so many patches, each by itself, that is added to what a bootstrap finds: where next
to none is wrong, it finds too little. Chosen by simulation, as is the next."""
MORE_FREEDOM = 2.0
"""Degrees of freedom added to those of a variance that hangs on few patches, as it is uncertain
itself."""
AT_ONCE = 2**23
"""Cells of confusion matrices that are resampled at a time."""


@dataclass(frozen=True)
class Sampling:
    """How the patches of a test set came about, as far as it matters for intervals."""

    groups: NDArray[np.int64] | None = None
    """Number of the group (patient, slide) of each patch, (N,), from 0 without gaps. Patches of
    different groups are independent. None: all patches are."""
    design_effect: float = 1.0
    """By what factor variances are larger than those of independent patches (Kish 1965): a guess,
    for test sets whose groups are not known."""
    resamples: int = RESAMPLES


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
    ``n`` where the standard error or the spread of the figure is 0. All from 0 to 1 if z is
    infinite.
    """
    if math.isinf(z):
        return 0.0, 1.0
    spread, variance = value * (1 - value), standard_error**2
    effective = spread / variance if spread > 1e-12 and variance > 0 else n
    return wilson(value * effective, effective, z)


def estimate(
    labels: NDArray[np.int64], logits: NDArray[np.float32], sampling: Sampling = INDEPENDENT
) -> dict[str, Figure]:
    """Every figure of a model with its 95 % interval, by name.

    Labels are (N,), logits (N, C); ties go to the lower label. The names are those of
    ``metrics.OF_CONFUSION`` and ``macro_auroc``, the mean one-against-rest area of the softmax
    (``harness.statistics.auroc``).
    """
    predicted = logits.argmax(axis=1)
    figures = of_predictions(labels, predicted, logits.shape[1], sampling)
    return figures | {"macro_auroc": auroc(labels, logits, sampling)}


def of_predictions(
    labels: NDArray[np.int64],
    predicted: NDArray[np.int64],
    n_classes: int,
    sampling: Sampling = INDEPENDENT,
) -> dict[str, Figure]:
    """The figures of ``metrics.OF_CONFUSION``, from labels and predicted labels (N,)."""
    if sampling.groups is None:
        return of_matrix(metrics.confusion_matrix(labels, predicted, n_classes), sampling)
    by_group = _by_group(labels, predicted, n_classes, sampling.groups)
    drawn = _resampled_groups(by_group, sampling)
    return _figures(by_group.sum(axis=0), drawn, sampling, len(by_group))


def of_matrix(confusion: ArrayLike, sampling: Sampling = INDEPENDENT) -> dict[str, Figure]:
    """The figures of ``metrics.OF_CONFUSION``, from a matrix (C, C) of independent patches."""
    matrix = np.asarray(confusion, np.int64)
    return _figures(matrix, resampled(matrix, sampling.resamples), sampling)


def recalls(
    labels: NDArray[np.int64],
    predicted: NDArray[np.int64],
    classes: tuple[str, ...],
    sampling: Sampling = INDEPENDENT,
) -> dict[str, Figure]:
    """Recall of each class that has patches, by its name."""
    matrix = metrics.confusion_matrix(labels, predicted, len(classes))
    n_of, values = matrix.sum(axis=1), metrics.recall(matrix)
    errors, groups_of = np.zeros(len(classes)), n_of
    if sampling.groups is not None:
        by_group = _by_group(labels, predicted, len(classes), sampling.groups)
        groups_of = (by_group.sum(axis=2) > 0).sum(axis=0)
        present = n_of > 0
        drawn = np.concatenate(
            [metrics.recall(m)[:, present] for m in _resampled_groups(by_group, sampling)]
        )
        unbiased = groups_of[present] / np.maximum(groups_of[present] - 1, 1)
        errors[present] = np.sqrt(np.nanvar(drawn, axis=0, ddof=1) * unbiased)
    errors *= np.sqrt(sampling.design_effect)
    found = {}
    for name, value, error, most in zip(classes, values, errors, groups_of.tolist(), strict=True):
        if most:
            z = Z if sampling.groups is None else quantile(most)
            low, high = score_interval(value, error, most / sampling.design_effect, z)
            found[name] = Figure(name=name, value=float(value), low=low, high=high)
    return found


def auroc(
    labels: NDArray[np.int64], logits: NDArray[np.float32], sampling: Sampling = INDEPENDENT
) -> Figure:
    """Macro AUROC of the softmax of logits (N, C): ``auroc_of``."""
    return auroc_of(labels, metrics.probabilities(logits), sampling)


def auroc_of(
    labels: NDArray[np.int64], scores: metrics.Floats, sampling: Sampling = INDEPENDENT
) -> Figure:
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
    return Figure(name="macro_auroc", value=area.value, low=float(low), high=float(high))


def resampled(confusion: NDArray[np.int64], resamples: int) -> Iterator[NDArray[np.int64]]:
    """Bootstrap of a confusion matrix, each class by itself: yields matrices (R, C, C).

    To draw patches of a class with replacement is to draw its row from a multinomial distribution.
    """
    rng = np.random.default_rng(0)
    n_of = confusion.sum(axis=1)
    for size in _sizes(resamples, confusion.size):
        drawn = np.zeros((size, *confusion.shape), np.int64)
        for label in np.flatnonzero(n_of):
            cells = np.flatnonzero(confusion[label])
            shares = confusion[label, cells] / n_of[label]
            drawn[:, label, cells] = rng.multinomial(n_of[label], shares, size)
        yield drawn


def _resampled_groups(
    by_group: NDArray[np.float64], sampling: Sampling
) -> Iterator[NDArray[np.float64]]:
    """Bootstrap of whole groups, from their matrices (G, C, C): yields matrices (R, C, C)."""
    rng = np.random.default_rng(0)
    n = len(by_group)
    for size in _sizes(sampling.resamples, max(n, by_group[0].size)):
        times = rng.multinomial(n, np.full(n, 1 / n), size).astype(np.float64)
        yield (times @ by_group.reshape(n, -1)).reshape(size, *by_group.shape[1:])


def _by_group(
    labels: NDArray[np.int64],
    predicted: NDArray[np.int64],
    n_classes: int,
    groups: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Confusion matrices of the groups, (G, C, C)."""
    cells = (groups * n_classes + labels) * n_classes + predicted
    counts = np.bincount(cells, minlength=(groups.max() + 1) * n_classes**2)
    return counts.reshape(-1, n_classes, n_classes).astype(np.float64)


def _sizes(resamples: int, cells: int) -> Iterator[int]:
    step = max(1, AT_ONCE // cells)
    for start in range(0, resamples, step):
        yield min(step, resamples - start)


def _figures(
    confusion: NDArray[np.int64] | Floats,
    drawn: Iterator[NDArray[np.int64]] | Iterator[Floats],
    sampling: Sampling,
    n_groups: int | None = None,
) -> dict[str, Figure]:
    values = metrics.of_confusion(confusion)
    variances = np.concatenate([metrics.of_confusion(matrices) for matrices in drawn]).var(
        axis=0, ddof=1
    )
    n_of = confusion.sum(axis=1)[confusion.sum(axis=1) > 0]
    n, z = float(n_of.sum()), Z
    # Where each class counts alike, one patch of the smallest counts this much, and all patches as
    # much as so many of equal weight.
    heaviest, alike = 1 / (len(n_of) * n_of.min()), len(n_of) ** 2 / (1 / n_of).sum()
    weights = {"accuracy": (1 / n, n), "mcc": (1 / n, n)}
    if n_groups is not None:
        variances *= n_groups / max(n_groups - 1, 1)
        z = quantile(n_groups)
    figures = {}
    for name, value, variance in zip(OF_CONFUSION, values, variances, strict=True):
        weight, most = weights.get(name, (heaviest, alike))
        most = min(most, n_groups or most) / sampling.design_effect
        error = math.sqrt((variance + SMOOTHING * weight**2) * sampling.design_effect)
        if name == "mcc":  # from -1 to 1
            low, high = (2 * end - 1 for end in score_interval((1 + value) / 2, error / 2, most, z))
        else:
            low, high = score_interval(value, error, most, z)
        figures[name] = Figure(name=name, value=float(value), low=low, high=high)
    return figures


def quantile(n_groups: int) -> float:
    """What takes the place of Z where a variance is known from so many groups.

    From one group nothing is known of it, and intervals take all there is.
    """
    from scipy.stats import t

    return float(t.ppf(0.975, n_groups - 1)) if n_groups > 1 else math.inf


def auroc_quantile(area: Auroc, sampling: Sampling) -> float:
    """What takes the place of Z for an area: more where it hangs on few patches or groups."""
    from scipy.stats import t

    freedom = area.degrees_of_freedom + MORE_FREEDOM
    if sampling.groups is not None:
        freedom = min(freedom, max(int(sampling.groups.max()), 1))
    return float(t.ppf(0.975, freedom))

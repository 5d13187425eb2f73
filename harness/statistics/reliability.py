"""Whether a model is as sure as it is right: calibration, and error against coverage."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.statistics.calibration import calibration_errors
from harness.statistics.deviations import deviations
from harness.statistics.estimates import Estimate
from harness.statistics.intervals import (
    INDEPENDENT,
    SMOOTHING,
    Sampling,
    linearized,
    mean_of_shares,
    quantile,
)
from harness.statistics.metrics import Floats, probabilities

NEAR = 10
"""Patches before and after the last one kept that are about as sure."""


def estimates(
    labels: NDArray[np.int64], logits: NDArray[np.float32], sampling: Sampling = INDEPENDENT
) -> dict[str, Estimate]:
    """Calibration of the softmax of logits (N, C), by name.

    ``ece`` and ``ece_equal_mass`` are expected calibration errors, with what belongs to them:
    ``calibration_errors``. The others are ``losses``.
    """
    scores = probabilities(logits)
    return {
        **calibration_errors("ece", labels, scores, False, sampling),
        **calibration_errors("ece_equal_mass", labels, scores, True, sampling),
        **losses(labels, logits, sampling),
    }


def losses(
    labels: NDArray[np.int64], logits: NDArray[np.float32], sampling: Sampling = INDEPENDENT
) -> dict[str, Estimate]:
    """Mean losses of the softmax of logits (N, C), by name.

    ``brier`` is the mean squared distance of the probabilities to the label, 0 to 2 (Brier 1950).
    ``nll`` is the mean negative log likelihood, in nats.
    """
    from scipy.special import log_softmax

    # Of what underflows in the softmax the logarithm is still known.
    logs = log_softmax(logits.astype(np.float64), axis=1)
    own = np.take_along_axis(logs, labels[:, None], axis=1)[:, 0]
    second = np.partition(logs, -2, axis=1)[:, -2] if logs.shape[1] > 1 else logs[:, 0]
    squares = np.exp(2 * logs).sum(axis=1) + 1
    brier, if_wrong = (squares - 2 * np.exp(log) for log in (own, second))
    return {
        "brier": _mean_loss("brier", brier, if_wrong, labels, sampling, most=2.0),
        "nll": _mean_loss("nll", -own, -second, labels, sampling),
    }


def _mean_loss(
    name: str,
    losses: Floats,
    if_wrong: Floats,
    labels: NDArray[np.int64],
    sampling: Sampling,
    most: float = np.inf,
) -> Estimate:
    """Mean of losses (N,) that are not negative, with its interval; none of one patch or group.

    Few patches with a large loss make the mean of a test set skewed: the interval is that of
    Student's t after Hall's transformation, which takes the skewness off (JRSS B 54, 1992). Where
    next to no patch is wrong, it is not seen what one costs, so ``SMOOTHING`` of a patch is added
    to the variance and the skewness that costs as much as patches do on average when the runner-up
    is the label, ``if_wrong`` (N,).
    """
    n, mean = len(losses), losses.mean()
    found = deviations((losses - mean) / n, np.zeros_like(labels), sampling.groups)
    if len(found) < 2:
        return Estimate(name=name, value=float(mean))
    unseen = max(float(if_wrong.mean() - mean), 0.0) / n
    variance, third = (float((found**power).sum() + SMOOTHING * unseen**power) for power in (2, 3))
    low = high = mean
    if variance > 0:
        error, skewness = np.sqrt(variance * sampling.design_effect), third / variance**1.5
        t = quantile(len(found))
        low, high = (mean - error * _less_skewed(x, skewness) for x in (t, -t))
    return Estimate(
        name=name,
        value=float(mean),
        low=float(max(0.0, min(low, mean))),
        high=float(min(most, max(high, mean))),
    )


def _less_skewed(x: float, skewness: float) -> float:
    """Where a mean of this skewness is as far out as a symmetric one is at x, in standard errors.

    The inverse of Hall's cubic transformation x + skewness (x² / 3 + 1 / 6) + skewness² x³ / 27.
    """
    if abs(skewness) < 1e-6:
        return x
    return float(3 / skewness * (np.cbrt(1 + skewness * (x - skewness / 6)) - 1))


def fit_temperature(labels: NDArray[np.int64], logits: NDArray[np.float32]) -> float:
    """The temperature that logits (N, C) are best divided by (Guo et al. 2017): least ``nll``.

    Fit it on patches that are not the test patches. Between 0.01 and 100.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    wide = logits.astype(np.float64)

    def loss(log_temperature: float) -> float:
        logs = log_softmax(wide / np.exp(log_temperature), axis=1)
        return float(-np.take_along_axis(logs, labels[:, None], axis=1).mean())

    limit = np.log(100)
    best = minimize_scalar(loss, bounds=(-limit, limit), method="bounded")
    return float(np.exp(best.x))


def risk_coverage(labels: NDArray[np.int64], logits: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Error among the most confident predictions: coverage (N,) and error rate (N,).

    Of equally sure ones each is as likely to come first. Geifman and El-Yaniv, Selective
    Classification for Deep Neural Networks, NeurIPS 2017.
    """
    scores = probabilities(logits)
    values, level = np.unique(-scores.max(axis=1), return_inverse=True)
    wrong = scores.argmax(axis=1) != labels
    n_at = np.bincount(level, minlength=len(values))
    share = np.bincount(level, wrong, minlength=len(values)) / n_at
    kept = np.arange(1, len(labels) + 1)
    return kept / len(labels), np.cumsum(np.repeat(share, n_at)) / kept


def risk(
    labels: NDArray[np.int64],
    logits: NDArray[np.float32],
    coverages: Sequence[float],
    sampling: Sampling = INDEPENDENT,
) -> tuple[Estimate, list[Estimate]]:
    """Area under the risk-coverage curve, and the error rate at some coverages, with intervals.

    Of the most confident predictions, as many as reach a coverage are kept (``risk_coverage``). How
    much each patch moves a figure is that of the figure as a function of the distribution of
    patches: one that is kept moves the error by its own, less the error rate of the patches that
    are about as sure as the last one kept, whose place it takes.
    """
    scores = probabilities(logits)
    wrong = (scores.argmax(axis=1) != labels).astype(np.float64)
    _, curve = risk_coverage(labels, logits)
    n = len(labels)
    confidence = scores.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    sorted_wrong, place = wrong[order], np.empty(n, np.int64)
    place[order] = np.arange(n)
    # d/de of the mean over c of (errors within c) / c, in which a patch at u counts -log(u), and
    # takes 1 / c from those behind it.
    kept = np.arange(1, n + 1)
    counts = np.cumsum((1 / kept)[::-1])[::-1]
    behind = np.cumsum((sorted_wrong / kept)[::-1])[::-1]
    moves = (sorted_wrong * counts - behind)[place]
    area = linearized(
        "area_under_risk_coverage",
        float(curve.mean()),
        (moves - moves.mean()) / n,
        labels,
        sampling,
    )
    found = []
    for coverage in coverages:
        last = int(np.ceil(coverage * n)) - 1
        name = f"error_at_coverage_{coverage:g}"
        if last + 1 == n:  # what the accuracy lacks of 1
            found.append(mean_of_shares(name, wrong, labels, sampling))
            continue
        near = slice(max(0, last - NEAR), last + NEAR + 1)
        marginal = sorted_wrong[near].mean()
        moves = (place <= last) * (wrong - marginal) * n / (last + 1)
        found.append(
            linearized(name, float(curve[last]), (moves - moves.mean()) / n, labels, sampling)
        )
    return area, found

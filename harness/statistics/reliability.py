"""Whether a model is as sure as it is right: calibration, and error against coverage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.probes import Figure
from harness.statistics.intervals import INDEPENDENT, Sampling, Z, quantile
from harness.statistics.metrics import Floats, probabilities

BINS = 15
"""As in Guo, Pleiss, Sun and Weinberger, On Calibration of Modern Neural Networks, ICML 2017."""


@dataclass(frozen=True)
class Bins:
    """Patches binned by confidence, the probability of the predicted class; empty bins left out."""

    confidence: Floats
    """Mean of each bin."""
    accuracy: Floats
    n: NDArray[np.int64]

    @property
    def error(self) -> float:
        """Expected calibration error: mean gap of confidence and accuracy, weighted by patches."""
        gaps = np.abs(self.confidence - self.accuracy)
        return float((self.n * gaps).sum() / self.n.sum())


def bins(
    labels: NDArray[np.int64], scores: Floats, equal_mass: bool = False, most: int = BINS
) -> Bins:
    """At most so many bins, of equal width or of equally many patches.

    Takes labels (N,) and probabilities (N, C).
    """
    from scipy.stats import rankdata

    confidence = scores.max(axis=1)
    right = scores.argmax(axis=1) == labels
    if equal_mass:
        ranks = rankdata(confidence)  # equal ones stay together
        number = ((ranks - 0.5) * most / len(labels)).astype(np.int64)
    else:  # bins are closed above
        number = np.clip(np.ceil(confidence * most).astype(np.int64) - 1, 0, most - 1)
    n = np.bincount(number, minlength=most)
    filled = n > 0
    sure, correct = (np.bincount(number, x, minlength=most)[filled] for x in (confidence, right))
    return Bins(sure / n[filled], correct / n[filled], n[filled])


def figures(
    labels: NDArray[np.int64], logits: NDArray[np.float32], sampling: Sampling = INDEPENDENT
) -> dict[str, Figure]:
    """Calibration of the softmax of logits (N, C), by name.

    ``ece`` and ``ece_equal_mass`` are expected calibration errors, without interval, as a bootstrap
    of them is biased upward. ``brier`` is the mean squared distance of the probabilities to the
    label, 0 to 2 (Brier 1950). ``nll`` is the mean negative log likelihood, in nats.
    """
    scores = probabilities(logits)
    own = np.take_along_axis(scores, labels[:, None], axis=1)[:, 0]
    # Of what underflows in the softmax the logarithm is still known.
    from scipy.special import log_softmax

    losses = -np.take_along_axis(
        log_softmax(logits.astype(np.float64), axis=1), labels[:, None], axis=1
    )
    squares = (scores**2).sum(axis=1) - 2 * own + 1
    return {
        "ece": Figure(name="ece", value=bins(labels, scores).error),
        "ece_equal_mass": Figure(
            name="ece_equal_mass", value=bins(labels, scores, equal_mass=True).error
        ),
        "brier": _mean("brier", squares, sampling),
        "nll": _mean("nll", losses[:, 0], sampling),
    }


def _mean(name: str, values: Floats, sampling: Sampling) -> Figure:
    """Mean of values that are not negative, with its interval."""
    mean, n = values.mean(), len(values)
    deviations, z = values - mean, Z
    if sampling.groups is not None:
        deviations = np.bincount(sampling.groups, deviations)
        z = quantile(len(deviations))
    m = len(deviations)
    error = np.sqrt((deviations**2).sum() * m / max(m - 1, 1) * sampling.design_effect) / n
    if m < 2:
        return Figure(name=name, value=float(mean))
    low, high = max(0.0, mean - z * error), mean + z * error
    return Figure(name=name, value=float(mean), low=float(low), high=float(high))


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
    """Error among the patches that a model is surest of: coverage (N,) and error rate (N,).

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

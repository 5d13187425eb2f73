"""The expected calibration error, what of it is chance, and how large it may be in truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.statistics.auroc import below_each
from harness.statistics.deviations import deviations
from harness.statistics.estimates import Estimate
from harness.statistics.intervals import INDEPENDENT, Sampling, Z
from harness.statistics.metrics import Floats

BINS = 15
"""As in Guo, Pleiss, Sun and Weinberger, On Calibration of Modern Neural Networks, ICML 2017."""
STEPS = 21
"""Sizes of a calibration error that are tried."""
TAIL = 0.025
"""Share of test sets that an interval leaves out on each side."""


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
    confidence = scores.max(axis=1)
    right = scores.argmax(axis=1) == labels
    if equal_mass:
        below = below_each(confidence, confidence)  # equal ones stay together
        number = (below * most / len(labels)).astype(np.int64)
    else:  # bins are closed above
        number = np.clip(np.ceil(confidence * most).astype(np.int64) - 1, 0, most - 1)
    n = np.bincount(number, minlength=most)
    filled = n > 0
    sure, correct = (np.bincount(number, x, minlength=most)[filled] for x in (confidence, right))
    return Bins(sure / n[filled], correct / n[filled], n[filled])


def calibration_errors(
    name: str,
    labels: NDArray[np.int64],
    scores: Floats,
    equal_mass: bool = False,
    sampling: Sampling = INDEPENDENT,
) -> dict[str, Estimate]:
    """The expected calibration error of probabilities (N, C), and what is left without chance.

    ``name`` is the plain error, of ``bins``, as published ones are. Few patches make it large, as
    right and wrong ones do not come in even shares. ``name_if_calibrated`` is what it is on average
    if the model is perfectly calibrated, from labels that are drawn from the confidences
    (consistency resampling: Bröcker and Smith, Weather and Forecasting 22, 2007). ``name_debiased``
    is the error that the model would have with ever more patches: where the gaps between confidence
    and accuracy are those seen, times one factor, the plain error is on average what was seen; 0 if
    it is more even without gaps. Its interval has all errors at which 2.5 % of test sets or more
    have a plain error as small, and as many one as large, with the gaps seen times a factor, or all
    alike.

    Test sets that hang together by groups, or by a design effect, are simulated as smaller ones.
    """
    found = bins(labels, scores, equal_mass)
    right = scores.argmax(axis=1) == labels
    n = round(len(labels) / _design_effect(right - scores.max(axis=1), labels, sampling))
    null, debiased, low, high = _invert(found, n, sampling.resamples)
    return {
        name: Estimate(name=name, value=found.error),
        f"{name}_if_calibrated": Estimate(name=f"{name}_if_calibrated", value=null),
        f"{name}_debiased": Estimate(name=f"{name}_debiased", value=debiased, low=low, high=high),
    }


def _design_effect(gaps: Floats, labels: NDArray[np.int64], sampling: Sampling) -> float:
    """By what factor the variance of the mean gap is larger than that of independent patches."""
    effect = sampling.design_effect * (sampling.z / Z) ** 2
    if sampling.groups is not None:
        gaps = gaps - gaps.mean()
        alone = np.square(gaps).sum()
        if alone > 0:  # or all gaps are alike
            effect *= max(1.0, np.square(deviations(gaps, labels, sampling.groups)).sum() / alone)
    return float(min(effect, len(gaps)))


def _invert(found: Bins, n: int, draws: int) -> tuple[float, float, float, float]:
    """What the plain error is on average without any gap; the debiased error and its interval."""
    rng = np.random.default_rng(0)
    shares, sure = found.n / found.n.sum(), found.confidence
    counts = rng.multinomial(n, shares, draws)
    furthest = min(1.0, found.error + 2 / np.sqrt(n))

    def tried(shape: Floats) -> tuple[Floats, Floats]:
        """True errors (STEPS,), and the plain ones of test sets that have them, (STEPS, draws)."""
        size = furthest / max(float(shares @ np.abs(shape)), 1e-9)
        true = [np.clip(sure - part * shape, 0, 1) for part in np.linspace(0, size, STEPS)]
        plain = [np.abs(counts * sure - rng.binomial(counts, p)).sum(axis=1) / n for p in true]
        return np.array([shares @ np.abs(sure - p) for p in true]), np.array(plain)

    alike = np.ones_like(sure)
    every = [tried(shape) for shape in (sure - found.accuracy, alike, -alike)]
    truths, plain = every[0]
    means = plain.mean(axis=1)
    debiased = float(np.interp(found.error, np.maximum.accumulate(means), truths, left=0))
    low = high = debiased
    for truths, plain in every:
        above = np.maximum.accumulate((plain >= found.error - 1e-9).mean(axis=1))
        below = np.maximum.accumulate((plain <= found.error + 1e-9).mean(axis=1)[::-1])
        if above[-1] > TAIL:  # some error of this shape is large enough
            low = min(low, np.interp(TAIL, above, truths))
            high = max(high, np.interp(min(TAIL, below[-1] / 2), below, truths[::-1]))
    return float(means[0]), debiased, float(low), float(high)

"""Agreement: is a model right, and wrong, where color alone is?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import Estimate, Finding, Predictions
from harness.statistics.intervals import Sampling, linearized, mean_of_shares
from harness.text.numbers import percent, rounded
from harness_bias.models.interval import in_percent, sampling

HISTOGRAM, MEANS = "color-histogram", "rgb-means"


def measure(predictions: Predictions) -> Finding | None:
    """Error consistency with the color histogram, and what of the model's success color shares.

    Error consistency (Geirhos, Meding and Wichmann, NeurIPS 2020) is Cohen's kappa of "right or
    wrong": 0 when two models err together no more often than their accuracies imply, 1 when they
    err on the same patches.
    """
    histogram = predictions.of(HISTOGRAM)
    if histogram is None or predictions.model == HISTOGRAM:
        return None
    labels = predictions.labels
    right = predictions.clean.argmax(axis=1) == labels
    by_color = histogram.clean.argmax(axis=1) == labels
    drawn = sampling(predictions)
    estimates = []
    name = f"error consistency with {HISTOGRAM}"
    if (kappa := consistency(name, right, by_color, labels, drawn)) is not None:
        estimates.append(kappa)
    if not right.any():
        return None
    text = ""
    for model, other in ((HISTOGRAM, histogram), (MEANS, predictions.of(MEANS))):
        if other is None or predictions.model == model:
            continue
        shared = (other.clean.argmax(axis=1) == labels)[right].astype(np.float64)
        name = f"also right: {model}"
        estimates.append(mean_of_shares(name, shared, labels[right], drawn.of(right)))
        if model == HISTOGRAM:
            text = (
                f"of its right answers, the color histogram gives {in_percent(estimates[-1])} as "
                f"well, of all patches {percent(float(by_color.mean()), 1)} %"
            )
    if kappa is not None and kappa.low is not None and kappa.high is not None:
        value, low, high = (
            rounded(one, 2, (-1.0, 0.0, 1.0)) for one in (kappa.value, kappa.low, kappa.high)
        )
        text += f"; error consistency {value} ({low} to {high})"
    return Finding(summary=text, estimates=tuple(estimates))


def consistency(
    name: str,
    one: NDArray[np.bool_],
    other: NDArray[np.bool_],
    labels: NDArray[np.int64],
    drawn: Sampling,
) -> Estimate | None:
    """``error_consistency`` with its interval, from how much each patch moves it."""
    kappa = error_consistency(one, other)
    if kappa is None:
        return None
    p, q = one.mean(), other.mean()
    expected = p * q + (1 - p) * (1 - q)
    n, agreed = len(one), (one == other).mean()

    def moved(one: Any, other: Any, same: Any) -> Any:
        by_chance = (2 * q - 1) * (one - p) + (2 * p - 1) * (other - q)
        return (same - agreed - (1 - kappa) * by_chance) / (1 - expected) / n

    moves = moved(one, other, one == other)
    # Where one model is next to never wrong, hardly a patch shows whether the other is, too.
    unseen = float(moved(0, 0, 1))
    return linearized(name, kappa, moves, labels, drawn, least=-1.0, one_patch=unseen)


def error_consistency(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float | None:
    """Cohen's kappa of two models' right and wrong answers, bool (N,); None if it is undefined."""
    p, q = one.mean(), other.mean()
    expected = p * q + (1 - p) * (1 - q)
    if expected == 1:
        return None
    return float(((one == other).mean() - expected) / (1 - expected))

"""Figures computed from labels and logits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Metrics:
    """How well some predictions match the labels. Fractions of 1.

    ``confusion`` has the true classes as rows, the predicted ones as columns. ``recall`` is NaN
    for a class without patches, and ``balanced_accuracy`` is the mean over the other classes.
    """

    n: int
    accuracy: float
    interval: tuple[float, float]
    balanced_accuracy: float
    recall: NDArray[np.float64]
    confusion: NDArray[np.int64]


def wilson(correct: int, n: int) -> tuple[float, float]:
    """95 % score interval of a proportion (Wilson 1927)."""
    from scipy.stats import binomtest

    interval = binomtest(correct, n).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def from_confusion(confusion: NDArray[np.int64]) -> Metrics:
    """Metrics of a confusion matrix, int64 (C, C), rows true."""
    n, correct = int(confusion.sum()), int(np.trace(confusion))
    support = confusion.sum(axis=1)
    recall = np.full(len(confusion), np.nan)
    np.divide(np.diag(confusion), support, out=recall, where=support > 0)
    return Metrics(
        n=n,
        accuracy=correct / n,
        interval=wilson(correct, n),
        balanced_accuracy=float(np.nanmean(recall)),
        recall=recall,
        confusion=confusion,
    )


def from_logits(labels: NDArray[np.int64], logits: NDArray[np.float32]) -> Metrics:
    """Metrics of the largest logit; ties go to the lower label. Logits are (N, C)."""
    from sklearn.metrics import confusion_matrix

    classes = np.arange(logits.shape[1])
    return from_confusion(confusion_matrix(labels, logits.argmax(axis=1), labels=classes))


def paired_difference(
    one: NDArray[np.bool_], other: NDArray[np.bool_]
) -> tuple[float, float, float]:
    """Difference of two accuracies on the same patches, and its 95 % interval.

    ``one`` and ``other`` say which patches are right, bool (N,). The interval is Wald's after half
    a patch is added to each of the four cells (Agresti and Min, Statistics in Medicine 24, 2005);
    it covers well also where few patches differ.
    """
    n = len(one)
    only_one, only_other = int((one & ~other).sum()), int((other & ~one).sum())
    b, c, total = only_one + 0.5, only_other + 0.5, n + 2
    center = (b - c) / total
    half = 1.959964 * float(np.sqrt(b + c - (b - c) ** 2 / total)) / total
    return (only_one - only_other) / n, max(-1.0, center - half), min(1.0, center + half)

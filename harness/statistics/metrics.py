"""Figures that labels and logits give, without their intervals. All are fractions of 1."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

OF_CONFUSION = ("accuracy", "balanced_accuracy", "macro_f1", "mcc")
"""The figures of ``of_confusion``, in its order."""


def confusion_matrix(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], n_classes: int
) -> NDArray[np.int64]:
    """Patches by true (rows) and predicted class (columns), int64 (C, C)."""
    cells = np.bincount(labels * n_classes + predicted, minlength=n_classes**2)
    return cells.reshape(n_classes, n_classes)


def recall(confusion: ArrayLike) -> Floats:
    """Share of each class that is recognized, (..., C), of matrices (..., C, C); NaN if empty."""
    matrix = np.asarray(confusion, np.float64)
    return _ratio(_diagonal(matrix), matrix.sum(axis=-1))


def of_confusion(confusion: ArrayLike) -> Floats:
    """Accuracy, balanced accuracy, macro F1 and Matthews correlation of confusion matrices.

    Takes matrices (..., C, C), rows true; returns (..., 4), in the order of ``OF_CONFUSION``.
    Balanced accuracy is the mean recall of the classes that have patches. Macro F1 leaves out
    classes that neither occur nor are predicted. Matthews correlation, from -1 to 1, is that of
    Gorodkin (Computational Biology and Chemistry 28, 2004), 0 where it is not defined.
    """
    matrix = np.asarray(confusion, np.float64)
    right, true, predicted = _diagonal(matrix), matrix.sum(axis=-1), matrix.sum(axis=-2)
    n, n_right = true.sum(axis=-1), right.sum(axis=-1)
    covariance = n_right * n - (true * predicted).sum(axis=-1)
    spread = (n**2 - (true**2).sum(axis=-1)) * (n**2 - (predicted**2).sum(axis=-1))
    correlation = np.nan_to_num(_ratio(covariance, np.sqrt(spread)))
    return np.stack(
        [
            _ratio(n_right, n),
            np.nanmean(_ratio(right, true), axis=-1),
            np.nanmean(_ratio(2 * right, true + predicted), axis=-1),
            correlation,
        ],
        axis=-1,
    )


def influence(confusion: ArrayLike) -> Floats:
    """How fast each figure of ``of_confusion`` changes with each cell of a matrix (C, C).

    The derivatives, (4, C, C): by so much does one patch in a cell move a figure. Balanced accuracy
    and F1 keep the classes that they are the mean of.
    """
    matrix = np.asarray(confusion, np.float64)
    right, true, predicted = _diagonal(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    n, n_right, own = true.sum(), right.sum(), np.eye(len(matrix))
    known, seen = true > 0, true + predicted > 0
    of_true = _inverse(true) / known.sum()
    balanced = (own - (right * _inverse(true))[:, None]) * of_true[:, None]
    of_both = _inverse(true + predicted) / seen.sum()
    f1 = 2 * right * _inverse(true + predicted)
    macro_f1 = 2 * own * of_both - (f1 * of_both)[:, None] - (f1 * of_both)[None]
    correlation = _of_correlation(matrix)
    return np.stack([(own - n_right / n) / n, balanced, macro_f1, correlation])


def _of_correlation(matrix: Floats) -> Floats:
    """The derivatives of the Matthews correlation.

    Where all patches are of one class, or are called one, it has none: then by how much one patch
    more in a cell changes it.
    """
    right, true, predicted = _diagonal(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    n, n_right = true.sum(), right.sum()
    spreads = n**2 - (true**2).sum(), n**2 - (predicted**2).sum()
    if min(spreads) <= 0:
        one_more = matrix + np.eye(matrix.size).reshape(matrix.size, *matrix.shape)
        return of_confusion(one_more)[:, -1].reshape(matrix.shape)
    root = np.sqrt(spreads[0] * spreads[1])
    value = (n_right * n - true @ predicted) / root
    moved = (np.eye(len(matrix)) * n + n_right - predicted[:, None] - true[None]) / root
    moved -= value * ((n - true)[:, None] / spreads[0] + (n - predicted) / spreads[1])
    return np.asarray(moved)


def probabilities(logits: ArrayLike) -> Floats:
    """Softmax of logits (N, C): float64 (N, C)."""
    from scipy.special import softmax

    return np.asarray(softmax(np.asarray(logits, np.float64), axis=1))


def _diagonal(matrix: Floats) -> Floats:
    return np.diagonal(matrix, axis1=-2, axis2=-1)


def _ratio(part: Floats, whole: Floats) -> Floats:
    """NaN where the whole is 0."""
    ratio = np.full(np.shape(whole), np.nan)
    np.divide(part, whole, out=ratio, where=whole > 0)
    return ratio


def _inverse(values: Floats) -> Floats:
    """1 / values, 0 where they are 0."""
    return np.divide(1, values, out=np.zeros_like(values), where=values > 0)

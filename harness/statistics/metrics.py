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

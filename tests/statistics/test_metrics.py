"""Figures against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    matthews_corrcoef,
    recall_score,
)
from sklearn.metrics import confusion_matrix as their_matrix

from harness.statistics.metrics import confusion_matrix, of_confusion, recall


@given(seed=st.integers(0, 10_000), n=st.integers(2, 200), classes=st.integers(2, 12))
def test_figures_agree_with_scikit_learn(seed, n, classes):
    rng = np.random.default_rng(seed)
    labels, predicted = rng.integers(0, classes, (2, n))
    predicted = np.where(rng.random(n) < rng.random(), labels, predicted)
    matrix = confusion_matrix(labels, predicted, classes)
    np.testing.assert_array_equal(matrix, their_matrix(labels, predicted, labels=range(classes)))
    there = np.unique(labels)
    expected = [
        accuracy_score(labels, predicted),
        recall_score(labels, predicted, labels=there, average="macro"),
        f1_score(labels, predicted, average="macro", zero_division=0),
        matthews_corrcoef(labels, predicted),
    ]
    np.testing.assert_allclose(of_confusion(matrix), expected, rtol=0, atol=1e-9)
    recalls = recall_score(labels, predicted, labels=there, average=None)
    np.testing.assert_allclose(recall(matrix)[there], recalls, rtol=0, atol=1e-9)
    if set(predicted) <= set(labels):
        assert of_confusion(matrix)[1] == pytest.approx(balanced_accuracy_score(labels, predicted))


def test_a_class_without_patches_has_no_recall_and_does_not_count():
    matrix = np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]])
    assert np.isnan(recall(matrix)[2])
    accuracy, balanced, f1, _ = of_confusion(matrix)
    assert accuracy == pytest.approx(7 / 8)
    assert balanced == pytest.approx((0.75 + 1) / 2)
    assert f1 == pytest.approx((6 / 7 + 8 / 9) / 2)


def test_many_matrices_at_once_are_each_by_itself():
    rng = np.random.default_rng(0)
    matrices = rng.integers(0, 9, (4, 5, 3, 3))
    together = of_confusion(matrices)
    assert together.shape == (4, 5, 4)
    np.testing.assert_array_equal(together[2, 3], of_confusion(matrices[2, 3]))


def test_where_all_predictions_are_one_class_the_correlation_is_0():
    assert of_confusion([[5, 0], [7, 0]])[3] == 0

"""Metrics against independent implementations."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, recall_score

from harness.metrics import from_confusion, from_logits, wilson


@given(seed=st.integers(0, 10_000), n=st.integers(9, 200), quality=st.floats(0, 5))
def test_figures_agree_with_scikit_learn(seed, n, quality):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(9), rng.integers(0, 9, n - 9)])
    logits = rng.normal(size=(n, 9)).astype(np.float32)
    logits[np.arange(n), labels] += quality
    figures = from_logits(labels, logits)
    predicted = logits.argmax(axis=1)
    assert figures.accuracy == pytest.approx(accuracy_score(labels, predicted), abs=1e-12)
    assert figures.balanced_accuracy == pytest.approx(
        balanced_accuracy_score(labels, predicted), abs=1e-12
    )
    recalls = recall_score(labels, predicted, average=None, labels=range(9))
    assert figures.recall == pytest.approx(recalls, abs=1e-12)
    assert figures.confusion.sum() == n
    assert figures.confusion[2, 3] == ((labels == 2) & (predicted == 3)).sum()


@given(n=st.integers(1, 10_000), data=st.data())
def test_wilson_is_the_closed_form(n, data):
    correct = data.draw(st.integers(0, n))
    z, p = 1.959963984540054, correct / n
    center = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    low, high = wilson(correct, n)
    assert low == pytest.approx(max(0, center - half), abs=1e-9)
    assert high == pytest.approx(min(1, center + half), abs=1e-9)


def test_a_class_without_patches_has_no_recall_and_does_not_count():
    figures = from_confusion(np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]]))
    assert math.isnan(figures.recall[2])
    assert figures.balanced_accuracy == pytest.approx((0.75 + 1) / 2)
    assert figures.accuracy == pytest.approx(7 / 8)
    assert figures.n == 8

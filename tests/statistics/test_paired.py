"""Paired comparisons against statsmodels and plain definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar as their_mcnemar

from harness.statistics import paired
from harness.statistics.intervals import Sampling
from harness.statistics.metrics import OF_CONFUSION


def two_models(seed, n=400, classes=4, qualities=(1.0, 2.0)):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    shared = rng.standard_normal((n, classes))
    pair = []
    for quality in qualities:
        logits = (shared + rng.standard_normal((n, classes))).astype(np.float32)
        logits[np.arange(n), labels] += quality
        pair.append(logits)
    return labels, *pair


@given(b=st.integers(0, 400), c=st.integers(0, 400))
def test_mcnemar_is_the_exact_test_less_half_of_what_was_seen(b, c):
    from scipy.stats import binom

    exact = their_mcnemar([[0, b], [c, 0]], exact=True).pvalue
    seen = binom.pmf(min(b, c), b + c, 0.5)
    expected = 1 if b == c else exact - seen
    assert float(paired.mcnemar(b, c)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_the_better_model_is_better_in_every_figure(seed):
    found = paired.compare(*two_models(seed))
    assert found.p < 0.001
    assert found.only_one < found.only_other
    assert list(found.differences) == [*OF_CONFUSION, "macro_auroc"]
    for estimate in found.differences.values():
        assert estimate.low < estimate.value < estimate.high < 0


def test_a_comparison_turned_round_is_the_negative():
    labels, one, other = two_models(3)
    there, back = paired.compare(labels, one, other), paired.compare(labels, other, one)
    assert there.p == back.p
    assert (there.only_one, there.only_other) == (back.only_other, back.only_one)
    for name, estimate in there.differences.items():
        assert estimate.value == pytest.approx(-back.differences[name].value, abs=1e-12)
        assert estimate.low == pytest.approx(-back.differences[name].high, abs=2e-3)


def test_a_model_compared_with_itself_does_not_differ():
    labels, one, _ = two_models(4)
    found = paired.compare(labels, one, one)
    assert (found.only_one, found.only_other, found.p) == (0, 0, 1)
    for name, estimate in found.differences.items():
        assert estimate.value == 0
        assert estimate.low <= 0 <= estimate.high
        assert name == "macro_auroc" or estimate.low < 0 < estimate.high


def test_two_perfect_models_may_differ_yet():
    labels = np.arange(100) % 4
    one = 9 * np.eye(4, dtype=np.float32)[labels]
    for estimate in paired.compare(labels, one, 2 * one).differences.values():
        assert estimate.low < 0 == estimate.value < estimate.high


def test_the_bootstrap_has_the_spread_of_resampled_patches():
    labels, one, other = two_models(5, n=1500)
    found = paired.compare(labels, one, other).differences["macro_f1"]
    from sklearn.metrics import f1_score

    rng = np.random.default_rng(0)
    a, b = one.argmax(axis=1), other.argmax(axis=1)
    drawn = rng.integers(0, 1500, (400, 1500))
    gaps = [
        f1_score(labels[i], a[i], average="macro") - f1_score(labels[i], b[i], average="macro")
        for i in drawn
    ]
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(np.std(gaps), rel=0.12)


def test_copies_of_patches_in_groups_add_no_evidence():
    labels, one, other = two_models(6, n=200, qualities=(1.0, 1.5))
    groups = np.tile(np.arange(200), 20)
    many = np.tile(labels, 20), np.tile(one, (20, 1)), np.tile(other, (20, 1))
    alone, naive = paired.compare(labels, one, other), paired.compare(*many)
    grouped = paired.compare(*many, Sampling(groups=groups))
    assert naive.p < 1e-6
    assert grouped.p == pytest.approx(alone.p, rel=0.3)
    for name, estimate in alone.differences.items():
        width = estimate.high - estimate.low
        found = grouped.differences[name]
        assert found.high - found.low == pytest.approx(width, rel=0.1)


def test_equal_models_on_few_groups_are_hardly_ever_called_different():
    """Groups on which the one is better, and others on which it is worse."""
    rng = np.random.default_rng(12)
    groups = np.repeat(np.arange(10), 60)
    called = []
    for _ in range(400):
        lean = rng.normal(0, 0.1, 10)[groups]
        one, other = (rng.random(600) < 0.75 + sign * lean for sign in (1, -1))
        called.append(paired.of_groups(one.astype(float) - other, groups)[0] < 0.05)
    assert 0.02 < np.mean(called) < 0.08
    assert paired.of_groups(one.astype(float) - other, np.zeros(600, int)) == (1, (-1, 1))

"""Ranks and trainings with several seeds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_ind
from statsmodels.stats.multitest import multipletests

from harness.statistics import paired, ranking
from harness.statistics.seeds import compare_runs


@settings(max_examples=30, deadline=None)  # theirs takes long
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_agrees_with_statsmodels(p):
    expected = multipletests(p, method="holm")[1]
    np.testing.assert_allclose(ranking.holm(np.array(p)), expected, rtol=0, atol=1e-9)


def test_pairs_are_corrected_together():
    rng = np.random.default_rng(7)
    right = rng.random((5, 300)) < np.array([0.6, 0.65, 0.7, 0.8, 0.9])[:, None]
    p = ranking.pairwise(list(right[:, None]))
    assert (p == p.T).all()
    assert (np.diag(p) == 1).all()
    pairs = [(i, j) for i in range(5) for j in range(i + 1, 5)]
    plain = [
        paired.mcnemar((right[i] & ~right[j]).sum(), (right[j] & ~right[i]).sum()) for i, j in pairs
    ]
    expected = multipletests(plain, method="holm")[1]
    np.testing.assert_allclose([p[i, j] for i, j in pairs], expected, atol=1e-9)
    grouped = ranking.pairwise(list(np.tile(right, 10)[:, None]), np.tile(np.arange(300), 10))
    assert grouped[0, 4] < 0.001
    assert grouped[0, 1] == pytest.approx(p[0, 1], abs=0.1)


def test_ranks_are_ranges_where_models_cannot_be_told_apart():
    values = np.array([0.9, 0.89, 0.8, 0.5])
    p = np.ones((4, 4))
    for i, j in ((0, 2), (0, 3), (1, 3), (2, 3)):
        p[i, j] = p[j, i] = 0.01
    assert ranking.rank_ranges(values, p) == [(1, 2), (1, 3), (2, 3), (4, 4)]
    assert ranking.rank_ranges(np.array([0.7]), np.ones((1, 1))) == [(1, 1)]


def trainings(seed, accuracies, n=2000):
    """Models of the same trainings: which patches each gets right."""
    rng = np.random.default_rng(seed)
    hard = rng.random(n)
    return np.stack([hard + 0.1 * rng.standard_normal(n) < a for a in accuracies])


def test_variance_from_seeds_and_from_patches_are_told_apart():
    steady = compare_runs(trainings(0, [0.8] * 5), trainings(1, [0.8] * 5))
    assert steady.seed_share < 0.2
    shaky = [0.70, 0.75, 0.8, 0.85, 0.9]
    wild = compare_runs(trainings(0, shaky), trainings(0, shaky[::-1]))
    assert wild.seed_share > 0.8
    assert wild.difference.low < 0 < wild.difference.high


def test_with_many_patches_it_is_welchs_test_of_accuracies():
    """What patches add vanishes where both models are right on nearly the same ones."""
    rng = np.random.default_rng(2)
    n = 200_000
    hard = np.linspace(0, 1, n)
    one, other = (
        np.stack([hard < a for a in 0.8 + shift + 0.02 * rng.standard_normal(6)])
        for shift in (0, 0.02)
    )
    found = compare_runs(one, other)
    expected = ttest_ind(one.mean(axis=1), other.mean(axis=1), equal_var=False)
    assert found.p == pytest.approx(expected.pvalue, rel=0.02)
    interval = expected.confidence_interval()
    assert found.difference.low == pytest.approx(interval.low, rel=0.02)


def test_models_with_one_training_are_compared_as_by_their_patches():
    one, other = trainings(3, [0.8]), trainings(4, [0.86])
    found = compare_runs(one, other)
    _, low, high = paired.paired_difference(one[0], other[0])
    assert found.seed_variance == 0
    assert found.difference.low == pytest.approx(low, abs=2e-4)
    assert found.difference.high == pytest.approx(high, abs=2e-4)


@pytest.mark.parametrize(("sd", "n_other"), [(0.03, 4), (0.0, 4), (0.03, 1)])
def test_equal_models_are_called_different_in_one_of_twenty_trials(sd, n_other):
    """Whether trainings differ or not, and also where one model was trained only once."""
    rng = np.random.default_rng(5)
    called = []
    for _ in range(400):
        chances = [rng.normal(0.8, sd, n) for n in (4, n_other)]
        one, other = (rng.random((len(c), 1500)) < c[:, None] for c in chances)
        called.append(compare_runs(one, other).p < 0.05)
    assert 0.02 < np.mean(called) < 0.085


def test_what_only_chance_tells_apart_is_variance_of_seeds():
    """Trained again on the same patches, models would differ as much; none of it is of patches."""
    rng = np.random.default_rng(6)
    lottery = [
        compare_runs(*(rng.random((5, 2000)) < 0.8 for _ in range(2))).seed_share for _ in range(50)
    ]
    assert np.mean(lottery) > 0.9
    alike = rng.random((2, 1, 2000)) < 0.8
    assert compare_runs(*(np.repeat(right, 5, axis=0) for right in alike)).seed_share == 0


def test_ranks_take_seeds_into_account():
    rng = np.random.default_rng(6)
    models = [trainings(rng.integers(1000), [a, a + 0.05, a - 0.05]) for a in (0.8, 0.82, 0.3)]
    p = ranking.pairwise(models)
    assert p[0, 1] > 0.05
    assert p[0, 2] < 0.05

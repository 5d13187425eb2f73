"""Models over several datasets, against the published tables and plain definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import friedmanchisquare

from harness.statistics import over_datasets
from harness.statistics.over_datasets import FEW, not_different, ranks, signed_rank

# Demšar, JMLR 7, 2006, Table 6: areas under the ROC curve of C4.5 with m, cf, both, and none.
DEMSAR = np.array(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975],
        [0.957, 0.978, 0.946, 0.970],
    ]
)


def test_mean_ranks_and_the_critical_difference_are_those_of_the_paper():
    found = ranks(DEMSAR)
    np.testing.assert_allclose(found.mean, [3.143, 2.000, 2.893, 1.964], atol=5e-4)
    # 2.569 sqrt(4 * 5 / (6 * 14)), the value that the paper has for four classifiers
    assert found.critical_difference == pytest.approx(2.569 * np.sqrt(20 / 84), abs=1e-3)
    assert 0.01 < found.p < 0.05  # F(3, 39) at 3.69


@pytest.mark.parametrize(("m", "quantile"), [(3, 2.343), (5, 2.728), (10, 3.164)])
def test_quantiles_are_those_of_nemenyis_table(m, quantile):
    found = ranks(np.random.default_rng(0).random((6, m)))
    assert found.critical_difference == pytest.approx(quantile * np.sqrt(m * (m + 1) / 36), 1e-3)


@given(st.integers(0, 1000), st.integers(2, 12), st.integers(3, 6))
def test_friedmans_statistic_becomes_that_of_iman_and_davenport(seed, d, m):
    from scipy.stats import f

    figures = np.random.default_rng(seed).integers(0, 4, (d, m)) / 4
    found = ranks(figures)
    assert found.mean.sum() == pytest.approx(m * (m + 1) / 2)
    assert 0 <= found.p <= 1
    if not any(np.ptp(row) for row in figures):
        assert found.p == 1
        return
    if d <= FEW:  # by permutation, which F comes near to with more datasets
        assert found.p > 0
        return
    chi = friedmanchisquare(*figures.T).statistic
    if chi < d * (m - 1) - 1e-6:
        expected = f.sf((d - 1) * chi / (d * (m - 1) - chi), m - 1, (m - 1) * (d - 1))
        assert found.p == pytest.approx(expected)
    else:
        assert found.p == 0


@pytest.mark.parametrize(("d", "exact"), [(2, 1 / 6), (3, 1 / 36), (4, 1 / 216)])
def test_few_datasets_that_rank_three_models_alike_have_the_p_of_all_permutations(d, exact):
    found = ranks(np.tile([0.9, 0.8, 0.7], (d, 1)))
    assert found.p == pytest.approx(exact, abs=0.01)
    assert found.p >= 0.9 * exact


def test_bars_join_the_largest_sets_that_are_not_told_apart():
    mean = np.array([3.0, 1.0, 2.0, 4.5])
    assert not_different(mean, 1.5) == [(1, 2), (2, 0)]
    assert not_different(mean, 1.6) == [(1, 2), (2, 0), (0, 3)]
    assert not_different(mean, 5.0) == [(1, 2, 0, 3)]
    assert not_different(mean, 0.5) == []
    assert not_different(np.array([2.0, 2.0, 2.0]), 0.1) == [(0, 1, 2)]


def naive(differences, margin, draws):
    """As the paper has it, weight by weight."""
    rng = np.random.default_rng(1)
    values = [0.0, *differences]
    wins = np.zeros(3)
    for _ in range(draws):
        weights = rng.dirichlet([0.5] + [1.0] * len(differences))
        shares = np.zeros(3)
        for one, of_one in zip(values, weights, strict=True):
            for other, of_other in zip(values, weights, strict=True):
                total = one + other
                region = 0 if total < -2 * margin else 2 if total > 2 * margin else 1
                shares[region] += of_one * of_other
        wins[shares.argmax()] += 1
    return wins / draws


@pytest.mark.parametrize(
    "differences",
    [[0.02, 0.01, -0.01, 0.03], [0.0, 0.001, -0.004, 0.012, 0.02], [-0.02, 0.03]],
)
def test_the_signed_rank_test_is_that_of_the_paper(differences):
    found = signed_rank(np.array(differences), 0.005)
    expected = naive(differences, 0.005, 3000)
    np.testing.assert_allclose([found.worse, found.equal, found.better], expected, atol=0.035)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=10), st.floats(0.001, 0.1))
def test_probabilities_add_up_and_turn_round(differences, margin):
    there = signed_rank(np.array(differences), margin)
    back = signed_rank(-np.array(differences), margin)
    assert there.worse + there.equal + there.better == pytest.approx(1)
    assert back.better == pytest.approx(there.worse)


def test_datasets_that_agree_are_sure_and_ties_are_shared():
    sure = signed_rank(np.full(10, 0.05), 0.01)
    assert sure.better > 0.99
    assert signed_rank(np.zeros(5), 0.01).equal == 1
    assert over_datasets.signed_rank(np.array([0.1]), 0.01).better < 0.9  # one tells little

"""The test of methods on folds, against plain definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t, ttest_1samp

from harness.statistics.methods import compare_methods, corrected_t

LARGE = 10**9  # so many patches that one counts for nothing


def test_it_is_students_test_with_another_variance():
    """Of Weka's corrected resampled t-test: 1/J and the ratio of tested to fitted patches."""
    gaps = np.array([0.02, 0.05, -0.01, 0.04, 0.03, 0.01, 0.06, 0.02, 0.0, 0.03])
    plain = ttest_1samp(gaps, 0)
    found = corrected_t(gaps, 1 / 9, LARGE)
    statistic = plain.statistic * np.sqrt((1 / 10) / (1 / 10 + 1 / 9))
    assert found.p == pytest.approx(2 * t.sf(statistic, 9), rel=1e-6)
    half = t.ppf(0.975, 9) * gaps.mean() / statistic
    assert found.difference.value == pytest.approx(0.025)
    assert found.difference.high - found.difference.value == pytest.approx(half, rel=1e-6)
    uncorrected = corrected_t(gaps, 0.0, LARGE)
    assert uncorrected.p == pytest.approx(plain.pvalue, rel=1e-6)
    assert uncorrected.difference.low == pytest.approx(
        plain.confidence_interval(0.95).low, rel=1e-6
    )


def test_seeds_are_no_repeats_as_they_share_the_folds():
    rng = np.random.default_rng(0)
    one, other = (rng.random((3, 200)) < chance for chance in (0.8, 0.6))
    folds = np.arange(200) % 4 + 2  # numbers need not start at 0
    found = compare_methods(one, other, folds)
    gaps = np.array(
        [one[:, folds == f].mean() - other[:, folds == f].mean() for f in np.unique(folds)]
    )
    assert found.folds == 4
    expected = corrected_t(gaps, 1 / 3, 200)
    assert found.p == pytest.approx(expected.p)
    assert found.difference.low == pytest.approx(expected.difference.low)
    again = compare_methods(np.tile(one, (5, 1)), np.tile(other, (5, 1)), folds)
    assert again.p == pytest.approx(found.p)


def test_without_folds_there_is_none():
    right = np.ones((1, 20), bool)
    assert compare_methods(right, ~right, np.zeros(20, np.int64)) is None


def test_folds_that_agree_by_chance_are_no_proof():
    """One patch more in each of three folds shows no variance at all."""
    one, other = np.ones((1, 111), bool), np.ones((1, 111), bool)
    other[0, :3] = False
    found = compare_methods(one, other, np.arange(111) % 3)
    assert found.p > 0.05
    assert found.difference.low < 0 < found.difference.value
    same = compare_methods(one, one, np.arange(111) % 3)
    assert same.p == 1
    assert same.difference.low < 0 == same.difference.value < same.difference.high


@given(st.integers(0, 1000), st.integers(2, 10), st.floats(1, 30))
def test_it_is_alike_both_ways_and_a_design_effect_casts_doubt(seed, k, effect):
    rng = np.random.default_rng(seed)
    one, other = (rng.random((2, 60)) < rng.random() for _ in range(2))
    folds = np.arange(60) % k
    there, back = compare_methods(one, other, folds), compare_methods(other, one, folds)
    assert back.p == pytest.approx(there.p)
    assert back.difference.low == pytest.approx(-there.difference.high)
    assert (there.p < 0.05) == (not there.difference.low <= 0 <= there.difference.high)
    wide = compare_methods(one, other, folds, effect)
    assert wide.p >= there.p * (1 - 1e-9)
    assert wide.difference.low <= there.difference.low

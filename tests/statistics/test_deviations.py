"""Variances from how much each patch moves a figure, against formulas and finite differences."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.statistics import intervals, metrics
from harness.statistics.deviations import deviations


def test_the_variance_of_a_mean_by_class_is_that_of_a_stratified_sample():
    rng = np.random.default_rng(0)
    strata = np.repeat([0, 1, 2], [5, 9, 20])
    values = rng.random(34) + strata
    expected = sum(
        n * values[strata == s].var(ddof=1) for s, n in ((0, 5), (1, 9), (2, 20))
    )  # of the sum
    assert np.square(deviations(values, strata)).sum() == pytest.approx(expected)


def test_that_of_groups_is_from_their_sums():
    values, groups = np.arange(8.0), np.array([0, 0, 1, 1, 1, 2, 3, 3])
    sums = np.array([1, 9, 5, 13])
    found = deviations(values, np.zeros(8, int), groups)
    assert np.square(found).sum() == pytest.approx(4 * sums.var(ddof=1))


def test_classes_of_one_patch_are_taken_together():
    found = deviations(np.array([0.0, 1, 0, 1]), np.array([0, 1, 2, 2]))
    assert np.square(found).sum() == pytest.approx(2 * 0.5 + 2 * 0.5)
    assert deviations(np.array([3.0]), np.array([0])).tolist() == [0]


@given(seed=st.integers(0, 10_000), classes=st.integers(2, 5), most=st.integers(2, 40))
def test_the_influence_of_a_patch_is_the_derivative_of_the_figures(seed, classes, most):
    rng = np.random.default_rng(seed)
    matrix = rng.integers(0, most, (classes, classes)) + np.eye(classes, dtype=int)
    found = metrics.influence(matrix)
    # Twice as many patches change nothing (Euler).
    assert (found * matrix).sum(axis=(1, 2)) == pytest.approx(np.zeros(4), abs=1e-9)
    cell = tuple(rng.integers(classes, size=2))
    step = np.zeros((classes, classes))
    step[cell] = 1e-6
    gap = metrics.of_confusion(matrix + step) - metrics.of_confusion(matrix - step)
    if matrix[cell] > 0:
        assert found[(slice(None), *cell)] == pytest.approx(gap / 2e-6, abs=1e-5)


def test_figures_that_are_not_defined():
    assert not metrics.influence([[5, 0], [0, 0]])[3, 0].any()
    # One class is never predicted: one patch that is changes the correlation, which is 0 so far.
    moved = metrics.influence([[12, 0], [1, 0]])[3]
    assert moved[1, 1] == metrics.of_confusion([[12, 0], [1, 1]])[3] > 0.6
    assert not moved[:, 0].any()
    assert np.isfinite(metrics.influence(np.zeros((3, 3)) + np.diag([4, 0, 0]))).all()


def test_few_patches_a_class_count_n_of_n_less_one_times():
    """What the stratified bootstrap lacked: 12 patches a class make 4.4 % of a standard error."""
    matrix = np.full((9, 9), 1) + np.diag([3] * 9)
    found = intervals.of_matrix(matrix)["accuracy"]
    p, n = 4 / 12, 108
    error = np.sqrt((p * (1 - p) / 11 * 9 * 12**2 + intervals.SMOOTHING) / n**2)
    expected = intervals.score_interval(p, error, n)
    assert (found.low, found.high) == pytest.approx(expected)

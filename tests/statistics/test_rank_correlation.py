"""The correlation of ranks, and how often its interval holds the truth."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harness.statistics.rank_correlation import FEWEST, spearman

figures = st.lists(st.floats(-1, 1), min_size=FEWEST, max_size=12).map(np.array)


@given(figures, st.integers(0, 2**32 - 1))
def test_only_the_order_counts_and_the_opposite_order_turns_the_sign(values, seed):
    assume(np.ptp(values) > 0)
    other = np.random.default_rng(seed).random(len(values))
    found = spearman("figure", values, other)
    assert found.name == "figure"
    assert -1 <= found.low <= found.value <= found.high <= 1
    assert found.low < found.high
    assert spearman("figure", values, np.exp(other)) == found
    turned = spearman("figure", values, -other)
    assert (turned.value, turned.low) == pytest.approx((-found.value, -found.high))


def test_the_same_order_is_no_certainty():
    few, many = (spearman("", np.arange(n), np.arange(n) ** 2) for n in (FEWEST, 30))
    assert (few.value, few.high, many.value) == pytest.approx((1, 1, 1))
    assert few.low < 0.5 < many.low


def test_too_few_models_and_equal_figures_tell_nothing():
    four = np.arange(FEWEST - 1.0)
    assert spearman("", four, four) is None
    assert spearman("", np.ones(9), np.arange(9.0)) is None
    assert spearman("", np.arange(9.0), np.ones(9)) is None


@pytest.mark.parametrize("r", [0.0, 0.6])
@pytest.mark.parametrize("n", [8, 20])
def test_the_interval_holds_the_truth_about_as_often_as_it_says(r, n):
    rng = np.random.default_rng(0)
    truth = 6 / np.pi * np.arcsin(r / 2)  # of two normal figures that correlate by r
    held = 0
    for _ in range(500):
        one, noise = rng.normal(size=(2, n))
        found = spearman("", one, r * one + np.sqrt(1 - r**2) * noise)
        held += found.low <= truth <= found.high
    assert 0.92 < held / 500 < 0.99

"""Unpaired comparisons against statsmodels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import confint_proportions_2indep, proportions_ztest

from harness import Estimate
from harness.statistics.intervals import wilson
from harness.statistics.unpaired import difference, proportions_p


@given(st.integers(1, 8000), st.integers(1, 8000), st.data())
def test_agrees_with_statsmodels(n, other_n, data):
    k, other = data.draw(st.integers(0, n)), data.draw(st.integers(0, other_n))
    one, two = (
        Estimate(name="accuracy", value=a / b, low=wilson(a, b)[0], high=wilson(a, b)[1])
        for a, b in ((k, n), (other, other_n))
    )
    found = difference(one, two)
    expected = confint_proportions_2indep(k, n, other, other_n, method="newcomb", compare="diff")
    np.testing.assert_allclose((found.low, found.high), expected, rtol=0, atol=1e-9)
    p = proportions_p(k, n, other, other_n)
    if 0 < k + other < n + other_n:
        expected_p = proportions_ztest([k, other], [n, other_n])[1]
        assert p == pytest.approx(expected_p, abs=1e-9)
    else:
        assert p == 1


def test_a_figure_without_an_interval_is_named():
    with pytest.raises(ValueError, match="recall has no interval"):
        difference(Estimate(name="recall", value=0.5), Estimate(name="recall", value=0.5))

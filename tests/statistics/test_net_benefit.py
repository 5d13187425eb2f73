"""Net benefit against its formula."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.statistics.net_benefit import net_benefits


@given(st.integers(0, 1000), st.floats(0.01, 0.99))
def test_it_is_true_positives_less_false_ones_by_the_odds(seed, threshold):
    rng = np.random.default_rng(seed)
    positive, probability = rng.random(80) < 0.3, rng.random(80)
    called = probability >= threshold
    odds = threshold / (1 - threshold)
    expected = ((called & positive).sum() - odds * (called & ~positive).sum()) / 80
    assert net_benefits(positive, probability, threshold).mean() == pytest.approx(expected)


def test_acting_on_all_gains_nothing_where_the_threshold_is_the_prevalence():
    positive = np.arange(100) < 20
    assert net_benefits(positive, np.ones(100), 0.2).mean() == pytest.approx(0)
    assert net_benefits(positive, np.zeros(100), 0.2).mean() == 0
    assert net_benefits(positive, positive.astype(float), 0.5).mean() == 0.2  # perfect

"""Calibration against scikit-learn and cases with known answers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss

from harness.statistics import reliability
from harness.statistics.intervals import Sampling
from harness.statistics.metrics import probabilities


def calibrated(seed, n=4000, classes=4, temperature=1.0):
    """Labels drawn from the softmax of the logits, which are then multiplied."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.standard_normal((n, classes))
    drawn = probabilities(logits).cumsum(axis=1) > rng.random((n, 1))
    return drawn.argmax(axis=1), (logits * temperature).astype(np.float32)


@given(st.integers(0, 10_000))
def test_scores_agree_with_scikit_learn(seed):
    labels, logits = calibrated(seed, n=50, classes=2)
    scores = probabilities(logits)
    found = reliability.losses(labels, logits)
    expected = log_loss(labels, scores, labels=[0, 1])
    assert found["nll"].value == pytest.approx(expected, abs=1e-9)
    half = brier_score_loss(labels, scores[:, 1])  # one of the two classes
    assert found["brier"].value == pytest.approx(2 * half, abs=1e-9)


def test_a_calibrated_model_has_no_calibration_error_and_a_sure_one_has():
    labels, logits = calibrated(0)
    good, sure = (reliability.estimates(labels, x) for x in (logits, 4 * logits))
    for name in ("ece", "ece_equal_mass"):
        assert good[name].value < 0.03
        assert sure[name].value > 0.15
    for name in ("brier", "nll"):
        assert good[name].low < good[name].value < good[name].high < sure[name].low


@pytest.mark.parametrize("temperature", [0.3, 1, 5])
def test_the_temperature_is_found_and_mends_calibration(temperature):
    labels, logits = calibrated(2, temperature=temperature)
    found = reliability.fit_temperature(labels, logits)
    assert found == pytest.approx(temperature, rel=0.08)
    assert reliability.estimates(labels, logits / np.float32(found))["ece"].value < 0.03


def test_a_model_that_is_always_right_or_absurdly_sure_breaks_nothing():
    labels = np.array([0, 1, 0])
    logits = np.array([[900, -900], [-900, 900], [-900, 900]], np.float32)
    found = reliability.estimates(labels, logits)
    assert found["nll"].value == pytest.approx(600)
    assert found["brier"].value == pytest.approx(2 / 3)
    right = reliability.estimates(labels[:2], logits[:2])
    assert right["nll"].value == 0
    assert 0.01 <= reliability.fit_temperature(labels[:2], logits[:2]) <= 100


def test_error_grows_with_coverage_when_confidence_tells():
    labels, logits = calibrated(3)
    coverage, risk = reliability.risk_coverage(labels, logits)
    assert coverage[-1] == 1
    assert risk[-1] == pytest.approx((logits.argmax(axis=1) != labels).mean())
    assert risk[len(risk) // 4] < risk[len(risk) // 2] < risk[-1]


def test_copies_in_groups_do_not_narrow_the_interval():
    labels, logits = calibrated(4, n=200)
    alone = reliability.estimates(labels, logits)["nll"]
    many = np.tile(labels, 10), np.tile(logits, (10, 1))
    sampling = Sampling(groups=np.tile(np.arange(200), 10))
    grouped = reliability.estimates(*many, sampling)["nll"]
    assert grouped.high - grouped.low == pytest.approx(alone.high - alone.low, rel=0.01)


def test_equally_sure_patches_are_not_told_apart_by_their_order():
    labels = np.repeat([0, 1], 500)
    logits = np.tile(np.array([[0.0, 0.0]], np.float32), (1000, 1))
    found = reliability.estimates(labels, logits)
    assert found["ece_equal_mass"].value == pytest.approx(0, abs=1e-9)
    _, risk = reliability.risk_coverage(labels, logits)
    np.testing.assert_allclose(risk, 0.5)


def test_with_few_groups_intervals_are_wider_by_students_t():
    rng = np.random.default_rng(13)
    groups, held = np.repeat(np.arange(6), 40), []
    labels = np.zeros(240, int)
    for _ in range(300):
        sure = rng.normal(1, 0.3, 6)[groups] + rng.normal(0, 0.2, 240)
        logits = np.stack([sure, np.zeros(240)], axis=1).astype(np.float32)
        found = reliability.losses(labels, logits, Sampling(groups=groups))["nll"]
        held.append(found.low <= 0.3267 <= found.high)
    many = np.log1p(np.exp(-(1 + np.hypot(0.3, 0.2) * rng.standard_normal(200_000))))
    assert many.mean() == pytest.approx(0.3267, abs=0.002)
    assert 0.9 < np.mean(held) < 0.99


def test_the_interval_of_a_loss_reaches_further_up_where_few_patches_lose_much():
    labels, logits = np.zeros(100, int), np.tile(np.array([[3.0, 0.0]], np.float32), (100, 1))
    logits[:3] = [0, 6]
    for estimate in reliability.losses(labels, logits).values():
        assert estimate.high - estimate.value > 1.3 * (estimate.value - estimate.low)


def test_a_sure_model_that_is_never_wrong_may_lose_elsewhere():
    labels, logits = np.zeros(100, int), np.tile(np.array([[9.0, 0.0]], np.float32), (100, 1))
    found = reliability.losses(labels, logits)
    assert found["nll"].low == 0
    assert found["nll"].high > 0.05  # one in a hundred costs 9 nats
    assert found["brier"].high > 0.01


def test_the_area_and_the_errors_are_those_of_the_curve():
    labels, logits = calibrated(5, n=300)
    _, curve = reliability.risk_coverage(labels, logits)
    area, at = reliability.risk(labels, logits, (0.5, 1.0))
    assert area.value == pytest.approx(curve.mean())
    assert [one.value for one in at] == pytest.approx([curve[149], curve[299]])
    assert at[1].value == pytest.approx((logits.argmax(axis=1) != labels).mean())


def test_the_spread_of_the_area_is_that_of_resampled_patches():
    labels, logits = calibrated(6, n=800)
    area, (half,) = reliability.risk(labels, logits, (0.5,))
    rng = np.random.default_rng(0)
    values = []
    for _ in range(300):
        chosen = rng.integers(0, 800, 800)
        curve = reliability.risk_coverage(labels[chosen], logits[chosen])[1]
        values.append((curve.mean(), curve[399]))
    for estimate, spread in zip((area, half), np.std(values, axis=0), strict=True):
        assert (estimate.high - estimate.low) / (2 * 1.96) == pytest.approx(spread, rel=0.2)

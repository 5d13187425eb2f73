"""Calibration errors: bins with known answers, and truths that simulated test sets have."""

import numpy as np
import pytest

from harness.statistics import calibration
from harness.statistics.calibration import calibration_errors
from harness.statistics.intervals import Sampling
from harness.statistics.metrics import probabilities

FEW = Sampling(resamples=200)


def drawn(rng, n, scale=1.0, classes=4):
    """Labels drawn from the softmax of logits, and the softmax of these times a scale."""
    logits = 2 * rng.standard_normal((n, classes))
    below = probabilities(logits).cumsum(axis=1) > rng.random((n, 1))
    return below.argmax(axis=1), probabilities(scale * logits)


def test_the_expected_calibration_error_of_a_small_example():
    scores = np.array([[0.9, 0.1], [0.95, 0.05], [0.4, 0.6], [0.45, 0.55]])
    labels = np.array([0, 1, 1, 0])
    # In bins of a fifteenth: .9 in (.867, .933], .95 in (.933, 1], .55 and .6 in (.533, .6].
    assert calibration.bins(labels, scores).error == pytest.approx(
        (0.1 + 0.95 + 2 * abs(0.575 - 0.5)) / 4
    )
    equal = calibration.bins(labels, scores, equal_mass=True)
    assert equal.n.tolist() == [1, 1, 1, 1]


def test_a_distribution_in_equal_bins_is_even():
    labels, scores = drawn(np.random.default_rng(1), 1000)
    equal = calibration.bins(labels, scores, equal_mass=True)
    assert equal.n.max() - equal.n.min() <= 1
    assert (np.diff(equal.confidence) > 0).all()


@pytest.mark.parametrize("equal_mass", [False, True])
def test_few_patches_of_a_calibrated_model_show_no_error(equal_mass):
    rng = np.random.default_rng(2)
    found = [calibration_errors("ece", *drawn(rng, 111), equal_mass, FEW) for _ in range(60)]
    plain, null, debiased = (
        np.array([one[name].value for one in found])
        for name in ("ece", "ece_if_calibrated", "ece_debiased")
    )
    assert plain.mean() > 0.07
    assert null.mean() == pytest.approx(plain.mean(), abs=0.015)
    assert np.median(debiased) < 0.04
    assert (debiased == 0).mean() > 0.25
    assert np.mean([one["ece_debiased"].low == 0 for one in found]) > 0.85


@pytest.mark.parametrize("equal_mass", [False, True])
@pytest.mark.parametrize("scale", [0.4, 3.0])
def test_the_error_of_a_model_that_is_not_calibrated_is_covered_and_not_diminished(
    scale, equal_mass
):
    rng = np.random.default_rng(3)
    truth = calibration.bins(*drawn(rng, 200_000, scale), equal_mass).error
    found = [
        calibration_errors("ece", *drawn(rng, 111, scale), equal_mass, FEW)["ece_debiased"]
        for _ in range(60)
    ]
    assert np.mean([one.value for one in found]) == pytest.approx(truth, abs=0.03)
    assert np.mean([one.low <= truth <= one.high for one in found]) > 0.85
    assert np.mean([one.low > 0 for one in found]) > 0.5


def test_a_large_test_set_tells_the_plain_error_is_true():
    labels, scores = drawn(np.random.default_rng(4), 50_000, 3.0)
    found = calibration_errors("ece", labels, scores, sampling=FEW)
    assert found["ece_debiased"].value == pytest.approx(found["ece"].value, abs=0.002)
    assert found["ece_if_calibrated"].value < 0.01


def test_copies_of_patches_in_groups_are_simulated_as_few():
    labels, scores = drawn(np.random.default_rng(5), 150)
    many = np.tile(labels, 8), np.tile(scores, (8, 1))
    groups = np.tile(np.arange(150), 8)
    alone = calibration_errors("ece", labels, scores, sampling=FEW)
    naive = calibration_errors("ece", *many, sampling=FEW)
    grouped = calibration_errors("ece", *many, sampling=Sampling(groups, resamples=200))
    assert grouped["ece_debiased"].high == pytest.approx(alone["ece_debiased"].high, abs=0.03)
    assert naive["ece_if_calibrated"].value < 0.6 * alone["ece_if_calibrated"].value
    assert grouped["ece_if_calibrated"].value == pytest.approx(
        alone["ece_if_calibrated"].value, rel=0.15
    )


def test_sure_patches_that_are_all_right_may_be_wrong_elsewhere():
    labels, scores = np.zeros(111, int), np.tile([0.999, 0.001], (111, 1))
    found = calibration_errors("ece", labels, scores, sampling=FEW)["ece_debiased"]
    assert found.value == 0
    assert 0.01 < found.high < 0.1

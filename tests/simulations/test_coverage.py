"""A small run of the simulation whose full result is in coverage.md."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent))
import coverage

pytestmark = pytest.mark.once

TRIALS = 150
NOISE = 4 * np.sqrt(0.95 * 0.05 / TRIALS)  # four standard errors


@pytest.mark.parametrize(("accuracy", "errors"), [(0.82, "even"), (0.977, "published")])
def test_intervals_cover(accuracy, errors):
    found = coverage.estimates(accuracy, errors, TRIALS, np.random.default_rng(1))
    for name, share in found.items():
        assert abs(share - 0.95) < NOISE, name


@pytest.mark.parametrize("kind", coverage.UNEQUAL)
def test_intervals_cover_where_classes_are_nothing_alike(kind):
    now, before = coverage.unequal(kind, 300, np.random.default_rng(0))
    least = 0.8 if kind == "twenty of one patch" else 0.92
    assert (now > least).all()
    if kind == "two of nine lost":  # without which the simulation would show nothing
        assert (before < 0.9).all()


def test_paired_intervals_cover_and_equal_models_are_equal():
    rng = np.random.default_rng(2)
    found, different = coverage.differences(0.977, "published", 1, 0.5, TRIALS, rng)
    for name, share in found.items():
        assert abs(share - 0.95) < NOISE, name
    assert different < 0.05 + NOISE
    _, different = coverage.differences(0.82, "published", 1.5, 0.8, 20, rng)
    assert different > 0.9  # those that differ are distinguished


@pytest.mark.parametrize("accuracy", [0.82, 0.977])
def test_intervals_are_as_wide_as_figures_vary(accuracy):
    """What covers might be too wide."""
    rng = np.random.default_rng(5)
    truly = coverage.population(accuracy, "published")
    values, widths = [], []
    for _ in range(TRIALS):
        drawn = [rng.multinomial(n, p) for n, p in zip(coverage.N_OF, truly, strict=True)]
        found = coverage.intervals.of_matrix(np.stack(drawn), coverage.RESAMPLES).values()
        values.append([estimate.value for estimate in found])
        widths.append([estimate.high - estimate.low for estimate in found])
    expected = 2 * 1.96 * np.std(values, axis=0)
    np.testing.assert_allclose(np.mean(widths, axis=0), expected, rtol=0.2)


def test_among_equal_models_hardly_any_is_called_better():
    any_pair, one_pair = coverage.family(0.9, 10, TRIALS, np.random.default_rng(3))
    assert any_pair < 0.05 + NOISE
    assert one_pair < 0.05 + NOISE


def test_auroc_intervals_cover():
    one, other = coverage.areas(0.82, 100, np.random.default_rng(4))
    assert 0.86 < one < 1
    assert 0.86 < other < 1


SIZES = pytest.mark.parametrize("n_of", [coverage.SAMPLE, coverage.N_OF], ids=["111", "7180"])


@SIZES
@pytest.mark.parametrize(("accuracy", "errors"), [(0.82, "published"), (0.999, "even")])
def test_no_interval_covers_too_seldom(accuracy, errors, n_of):
    rng = np.random.default_rng(6)
    found = coverage.estimates(accuracy, errors, TRIALS, rng, n_of)
    for name, share in found.items():
        assert share > 0.95 - NOISE, name
    found, _ = coverage.differences(accuracy, errors, 1.2, 0.8, TRIALS, rng, n_of)
    for name, share in found.items():
        assert share > 0.95 - NOISE, name


def test_before_they_did():
    """What shows that this simulation would notice: no n / (n - 1) by class, at 12 a class."""
    rng, old = np.random.default_rng(7), {}
    now, _ = coverage.differences(0.54, "even", 1.2, 0.8, 2000, rng, coverage.SAMPLE, old)
    for name in ("balanced_accuracy", "macro_f1"):
        assert old[name] < 0.94 < now[name] + 0.01
        assert now[name] > old[name]


@pytest.mark.parametrize(
    ("accuracy", "scale", "n_of"),
    [(0.977, 1, coverage.SAMPLE), (0.999, 3, coverage.SAMPLE), (0.977, 3, coverage.N_OF)],
)
def test_intervals_of_losses_and_risks_cover(accuracy, scale, n_of):
    found = coverage.losses(accuracy, scale, 100, np.random.default_rng(8), n_of)
    for name, share in found.items():
        assert share > 0.87, name


def test_before_those_of_sure_models_did_not():
    old = {}
    coverage.losses(0.977, 3, 400, np.random.default_rng(9), coverage.SAMPLE, old)
    assert max(old.values()) < 0.93


@pytest.mark.parametrize("scale", [1, 3])
def test_the_debiased_calibration_error_is_near_the_truth_and_its_interval_holds_it(scale):
    found = coverage.calibration_error(0.82, scale, 60, np.random.default_rng(10), coverage.SAMPLE)
    assert found["covers"] > 0.85
    assert abs(found["debiased"] - found["truth"]) < 0.05
    if scale == 1:
        assert found["debiased"] < 0.5 * found["plain"]
        assert found["if calibrated"] == pytest.approx(found["plain"], abs=0.015)


@SIZES
def test_kappas_and_ratios_cover(n_of):
    for share in coverage.agreement(0.9, TRIALS, np.random.default_rng(11), n_of):
        assert share > 0.95 - NOISE


@pytest.mark.parametrize("sizes", [(111,), (37, 37, 37)])
def test_equally_good_epochs_show_no_optimism(sizes):
    rng = np.random.default_rng(12)
    _, old, old_held, now, held = coverage.epochs([0.8] * 10, None, sizes, 100, rng)
    assert old > 0.03
    assert old_held < 0.95
    assert abs(now) < 0.015
    assert held > 0.9

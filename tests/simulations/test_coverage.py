"""A small run of the simulation whose full result is in coverage.md."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent))
import coverage

TRIALS = 150
NOISE = 4 * np.sqrt(0.95 * 0.05 / TRIALS)  # four standard errors


@pytest.mark.parametrize(("accuracy", "errors"), [(0.82, "even"), (0.977, "published")])
def test_intervals_cover(accuracy, errors):
    found = coverage.figures(accuracy, errors, TRIALS, np.random.default_rng(1))
    for name, share in found.items():
        assert abs(share - 0.95) < NOISE, name


def test_paired_intervals_cover_and_equal_models_are_equal():
    rng = np.random.default_rng(2)
    found, different = coverage.differences(0.977, "published", 1, 0.5, TRIALS, rng)
    for name, share in found.items():
        assert abs(share - 0.95) < NOISE, name
    assert different < 0.05 + NOISE
    _, different = coverage.differences(0.82, "published", 1.5, 0.8, 20, rng)
    assert different > 0.9  # those that differ are told apart


@pytest.mark.parametrize("accuracy", [0.82, 0.977])
def test_intervals_are_as_wide_as_figures_vary(accuracy):
    """What covers might be too wide."""
    rng = np.random.default_rng(5)
    truly = coverage.population(accuracy, "published")
    values, widths = [], []
    for _ in range(TRIALS):
        drawn = [rng.multinomial(n, p) for n, p in zip(coverage.N_OF, truly, strict=True)]
        found = coverage.intervals.of_matrix(np.stack(drawn), coverage.RESAMPLES).values()
        values.append([figure.value for figure in found])
        widths.append([figure.high - figure.low for figure in found])
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

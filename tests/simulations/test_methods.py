"""A small run of the simulation whose full result is in methods.md."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent))
import methods

pytestmark = pytest.mark.once

TRIALS = 200
NOISE = 4 * np.sqrt(0.95 * 0.05 / TRIALS)  # four standard errors


@pytest.mark.parametrize(("n", "spread"), [(7180, 0.3), (111, 3)])
def test_the_test_of_methods_keeps_its_level_where_each_fold_is_trained_anew(n, spread):
    _, of_methods = methods.drawn(n, spread, 5, 0, TRIALS, 11)
    assert of_methods < 0.05 + NOISE


def test_mcnemar_on_pooled_folds_does_not():
    """Without which the simulation would show nothing."""
    mcnemar, of_methods = methods.drawn(7180, 0.6, 5, 0, TRIALS, 12)
    assert mcnemar > 0.3
    assert of_methods < mcnemar


def test_trainings_that_share_patches_need_the_corrected_variance():
    _, of_methods, repeated, plain = methods.learned(111, 5, 10, 0.5, TRIALS, 13)
    assert of_methods < 0.05 + NOISE
    assert repeated < 0.05 + NOISE
    assert plain > 0.2


def test_different_methods_are_called_different():
    _, of_methods = methods.drawn(7180, 0.3, 10, 1, 50, 14)
    assert of_methods > 0.9


@pytest.mark.parametrize("models", [2, 10])
@pytest.mark.parametrize(("n", "discordance"), [(111, 0.24), (111, 0.02), (7180, 0.023)])
def test_a_difference_that_is_said_to_show_does_in_four_of_five_trials(n, discordance, models):
    _, found = methods.shown(n, discordance, models, 2000, 15)
    assert found > 0.78
    assert found < 0.9 or n == 111  # few patches are counted with caution


@pytest.mark.parametrize("kind", ["100 groups", "5 seeds"])
def test_so_it_does_with_groups_and_with_seeds(kind):
    _, found = methods.shown_otherwise(kind, 200, 16)
    assert 0.7 < found < 0.95


def test_over_datasets_equal_models_are_seldom_told_apart_and_different_ones_often():
    told, better, equal = methods.over(3, 10, 0, 100, 17)
    assert told < 0.05 + 2 * NOISE
    assert better < 0.1 + 2 * NOISE
    assert equal < 0.05
    told, better, _ = methods.over(3, 10, 3, 50, 18)
    assert told > 0.5
    assert better > 0.8

"""The audit of selection on trainings whose truth is known."""

import numpy as np
import pytest

from harness.statistics.selection import Trajectory, audit


def training(accuracies, n=2000, seed=0, held_out=None):
    """Epochs of these true accuracies, each right on patches of its own choice."""
    rng = np.random.default_rng(seed)
    right = rng.random((len(accuracies), n)) < np.array(accuracies)[:, None]
    scores = np.array(accuracies if held_out is None else held_out, float)
    return Trajectory(right, scores)


def test_among_equal_epochs_the_optimism_is_luck():
    found = audit([training([0.9] * 50, held_out=range(50, 0, -1))])
    assert found.epochs["held-out"] == (1,)
    assert found.epochs["last"] == (50,)
    assert found.accuracies["test"] == pytest.approx(max(found.curve))
    assert found.reported > 0.008
    assert abs(found.optimism.value) < 0.005  # on other patches the chosen epoch is no better
    assert found.optimism.low < 0 < found.optimism.high
    assert found.chance == pytest.approx(found.reported - found.optimism.value)


@pytest.mark.parametrize("sizes", [(111,), (37, 37, 37), (500, 500, 500)])
def test_folds_of_few_patches_do_not_look_like_optimism(sizes):
    """Ten equally good epochs: what is reported more grows as folds shrink; optimism does not."""
    reported, optimism, held = [], [], []
    for seed in range(60):
        scores = np.random.default_rng(seed).random((len(sizes), 10))
        folds = [
            training([0.8] * 10, n, 100 * seed + fold, scores[fold]) for fold, n in enumerate(sizes)
        ]
        found = audit(folds)
        reported.append(found.reported)
        optimism.append(found.optimism.value)
        held.append(found.optimism.low <= 0 <= found.optimism.high)
    assert np.mean(reported) > {111: 0.04, 37: 0.07, 500: 0.015}[sizes[0]]
    assert abs(np.mean(optimism)) < 4 * np.std(optimism) / np.sqrt(60)
    assert np.mean(held) > 0.9


def test_a_design_effect_widens_the_interval_alone():
    trainings = [training([0.8, 0.82, 0.81], 300, 3, held_out=[3, 2, 1])]
    plain, wide = audit(trainings).optimism, audit(trainings, design_effect=4).optimism
    assert wide.value == plain.value
    assert wide.high - wide.low == pytest.approx(2 * (plain.high - plain.low))


def test_a_gain_that_is_real_is_kept():
    found = audit([training([0.7, 0.9, 0.7], held_out=[3, 2, 1])])
    assert found.epochs == {"held-out": (1,), "last": (3,), "test": (2,)}
    assert found.optimism.value == pytest.approx(0.2, abs=0.03)
    assert found.reported == pytest.approx(found.optimism.value, abs=0.01)
    assert found.optimism.low < found.optimism.value < found.optimism.high


def test_where_both_choose_the_same_epoch_there_is_none():
    found = audit([training([0.5, 0.9, 0.5])])
    assert found.reported == 0
    assert found.optimism.value == 0
    assert found.optimism.high < 0.002


def test_each_fold_has_epochs_of_its_own():
    folds = [training([0.5, 0.9], 300, 1), training([0.9, 0.5, 0.5], 100, 2)]
    found = audit(folds)
    assert found.epochs == {"held-out": (2, 1), "last": (2, 3), "test": (2, 1)}
    expected = (folds[0].right[1].sum() + folds[1].right[2].sum()) / 400
    assert found.accuracies["last"] == pytest.approx(expected)
    assert len(found.curve) == 3


def test_copies_of_patches_in_groups_make_the_audit_no_surer():
    alone = training([0.8, 0.82, 0.81], 300, 3, held_out=[3, 2, 1])
    many = Trajectory(np.tile(alone.right, 10), alone.scores, np.tile(np.arange(300), 10))
    one, other = audit([alone]), audit([many])
    assert other.reported == pytest.approx(one.reported)
    assert other.optimism.value == pytest.approx(one.optimism.value, abs=1e-9)
    assert other.optimism.high == pytest.approx(one.optimism.high, abs=0.005)

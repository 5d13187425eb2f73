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
    assert found.optimism.value > 0.008
    assert abs(found.kept) < 0.003  # on other patches the chosen epoch is no better


def test_a_gain_that_is_real_is_kept():
    found = audit([training([0.7, 0.9, 0.7], held_out=[3, 2, 1])])
    assert found.epochs == {"held-out": (1,), "last": (3,), "test": (2,)}
    assert found.optimism.value == pytest.approx(0.2, abs=0.03)
    assert found.kept == pytest.approx(found.optimism.value, abs=0.01)
    assert found.optimism.low < found.optimism.value < found.optimism.high


def test_where_both_choose_the_same_epoch_there_is_none():
    found = audit([training([0.5, 0.9, 0.5])])
    assert found.optimism.value == 0
    assert found.optimism.low == 0


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
    assert other.optimism.value == pytest.approx(one.optimism.value)
    assert other.optimism.high == pytest.approx(one.optimism.high, abs=0.005)
    assert other.kept == pytest.approx(one.kept, abs=1e-9)

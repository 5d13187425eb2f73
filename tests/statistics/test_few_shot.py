"""Few-shot episodes: what is drawn, and what is predicted, as a few lines of numpy find it."""

import numpy as np
import pytest

from harness.hooks.heads import NearestMean
from harness.statistics import few_shot


def test_what_is_drawn():
    labels = np.random.default_rng(0).permutation(np.repeat([0, 2, 3], (9, 4, 20)))
    places = few_shot.draw(labels, (0, 2, 3), 4, 50, (7, 0))
    assert places.shape == (50, 3, 4)
    for episode in places:
        for label, drawn in zip((0, 2, 3), episode, strict=True):
            assert (labels[drawn] == label).all()
            assert len(set(drawn.tolist())) == 4
    assert len({episode.tobytes() for episode in places}) == 50
    assert set(places[:, 2].ravel()) == set(np.flatnonzero(labels == 3)), "each may be drawn"
    assert np.array_equal(places, few_shot.draw(labels, (0, 2, 3), 4, 50, (7, 0)))
    assert not np.array_equal(places, few_shot.draw(labels, (0, 2, 3), 4, 50, (8, 0)))
    assert not np.array_equal(places, few_shot.draw(labels, (0, 2, 3), 4, 50, (7, 1)))


def test_a_smaller_number_is_drawn_as_the_first_of_a_larger_one():
    labels = np.arange(60) % 3
    most = few_shot.draw(labels, (0, 1, 2), 20, 5, (0, 0))
    assert np.array_equal(few_shot.draw(labels, (0, 1, 2), 3, 5, (0, 0)), most[:, :, :3])


def by_hand(support, tested):
    """One episode of SimpleShot, from support (C, k, D), as eval_fewshot of UNI has it."""
    center = support.reshape(-1, support.shape[2]).mean(axis=0)

    def unit(rows):
        return (rows - center) / np.linalg.norm(rows - center, axis=-1, keepdims=True)

    means = unit(support).mean(axis=1)
    return np.array([np.linalg.norm(means - row, axis=1).argmin() for row in unit(tested)])


@pytest.mark.parametrize("size", [1, 2, 7])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_episodes_are_those_of_a_loop(size, offset, monkeypatch):
    monkeypatch.setattr(few_shot, "ROWS", 11)  # in several parts
    rng = np.random.default_rng(size)
    support = (offset + rng.standard_normal((6, 4, size, 5))).astype(np.float32)
    tested = (offset + rng.standard_normal((40, 5))).astype(np.float32)
    found = few_shot.nearest_means(support, tested)
    assert found.shape == (6, 40)
    assert len(np.unique(found)) == 4
    for drawn, guesses in zip(support.astype(np.float64), found, strict=True):
        assert np.array_equal(guesses, by_hand(drawn, tested.astype(np.float64)))
        labels = np.repeat(np.arange(4), size)
        head = NearestMean().fit(drawn.reshape(-1, 5), labels)
        assert np.array_equal(guesses, head.predict(tested))


@pytest.mark.filterwarnings("error")
def test_a_patch_in_the_very_center_is_predicted_all_the_same():
    support = np.array([[[[1.0, 0.0]], [[-1.0, 0.0]], [[0.0, 0.0]]]])
    found = few_shot.nearest_means(support, np.zeros((1, 2)))
    assert found.tolist() == [[2]], "the class whose mean is there as well"


def test_more_patches_do_better_where_classes_can_be_told_apart():
    rng = np.random.default_rng(1)
    centers = rng.standard_normal((5, 64))
    labels, truth = np.arange(400) % 5, np.arange(250) % 5
    values = centers[labels] + 3 * rng.standard_normal((400, 64))
    tested = centers[truth] + 3 * rng.standard_normal((250, 64))
    places = few_shot.draw(labels, range(5), 32, 100, (0, 0))
    right = []
    for size in (1, 2, 4, 8, 16, 32):
        found = few_shot.nearest_means(values[places[:, :, :size]], tested)
        right.append((found == truth).mean())
    assert right == sorted(right)
    assert 0.2 < right[0] < 0.5
    assert right[-1] > 0.75
    random = few_shot.nearest_means(rng.standard_normal((100, 5, 8, 64)), tested)
    assert (random == truth).mean() == pytest.approx(0.2, abs=0.02)

"""Folds that keep groups together and fit what they test."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from harness import HarnessError, Splits
from harness.data.folds import cut
from harness.data.splits import fold_pairs


class Labeled:
    """A split of which only the labels matter here."""

    def __init__(self, labels, name="test"):
        self.labels = np.asarray(labels, np.int64)
        self.ids = [f"{name}/{i}" for i in range(len(self.labels))]


def patches(counts):
    """Labels and groups of patches, from the number of each group (row) and class."""
    labels = [c for row in counts for c, n in enumerate(row) for _ in range(n)]
    groups = [f"group {g}" for g, row in enumerate(counts) for _ in range(sum(row))]
    return np.array(labels, np.int64), groups


def faults(folds, labels, n_classes):
    """Empty folds, and patches of a class that is in one fold alone."""
    inside = np.stack([np.bincount(labels[fold], minlength=n_classes) for fold in folds])
    alone = inside * (inside == inside.sum(axis=0))
    return sum(not len(fold) for fold in folds), int(alone.sum())


def of_scikit_learn(labels, groups, k):
    cutter = StratifiedGroupKFold(k, shuffle=True, random_state=0)
    return [fold for _, fold in cutter.split(labels, labels, groups)]


GROUPS = st.lists(st.lists(st.integers(0, 6), min_size=3, max_size=3), min_size=3, max_size=6)


@given(counts=GROUPS, k=st.integers(2, 3))
@pytest.mark.filterwarnings("ignore:The least populated class")
def test_any_groups_stay_whole_and_classes_are_fitted_where_that_can_be(counts, k):
    counts = [row for row in counts if sum(row)]
    assume(len(counts) >= k)
    assume(all(n == 0 or n >= k for n in np.sum(counts, axis=0)))
    labels, groups = patches(counts)
    folds = cut(labels, groups, k, np.zeros(3, bool))
    assert sorted(np.concatenate(folds)) == list(range(len(labels)))
    fold_of = {}
    for number, fold in enumerate(folds):
        for index in fold:
            assert fold_of.setdefault(groups[index], number) == number
    first = of_scikit_learn(labels, groups, k)
    found, before = faults(folds, labels, 3), faults(first, labels, 3)
    assert found <= before
    of_one_group = [c for c in range(3) if np.count_nonzero(np.array(counts)[:, c]) == 1]
    if before == (0, sum(int((labels == c).sum()) for c in of_one_group)):
        # Nothing can be better, so the folds are what they always were.
        assert all(np.array_equal(*pair) for pair in zip(folds, first, strict=True))


def test_a_class_of_two_groups_is_not_tested_in_one_fold():
    labels, groups = patches([[2, 0, 0], [2, 2, 1], [0, 2, 3]])
    assert faults(of_scikit_learn(labels, groups, 2), labels, 3)[1] > 0
    assert faults(cut(labels, groups, 2, np.zeros(3, bool)), labels, 3) == (0, 0)


def test_folds_that_cannot_be_are_refused():
    labels, groups = patches([[4, 0], [0, 4]])
    splits = Splits(train=None, test=Labeled(labels), folds=2, groups=groups)
    with pytest.raises(HarnessError, match=r"fold 1 of 2 would be fitted on patches of one class"):
        fold_pairs(splits, ("a", "b"))


def test_a_class_that_is_in_the_training_split_may_be_of_one_group():
    labels, groups = patches([[4, 4, 0], [4, 4, 0], [0, 0, 4]])
    trained = np.array([False, False, True])
    folds = cut(labels, groups, 3, trained)
    assert sorted(map(len, folds)) == [4, 8, 8]

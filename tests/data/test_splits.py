"""Splits of splits, streaming, and the cuts of evaluation."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import Dataset, HarnessError, Splits
from harness.data.splits import Concat, Subset, check_splits, fold_pairs, hold_out, stream


class Numbers:
    """A split whose patch number i is filled with ``first + i``."""

    def __init__(self, labels, first=0):
        self.labels = np.asarray(labels, np.int64)
        self.first = first
        self.ids = [f"{first}-{i}" for i in range(len(self.labels))]
        self.fingerprint = f"{first}:{self.labels.tolist()}"
        self.threads = set()

    def read(self, indices):
        self.threads.add(threading.get_ident())
        values = self.first + np.asarray(indices, np.int64)
        return np.broadcast_to(values[:, None], (len(values), 2)).copy()


@given(
    sizes=st.lists(st.integers(1, 20), min_size=1, max_size=4),
    data=st.data(),
)
def test_reading_through_concat_and_subset_is_reading_the_base(sizes, data):
    parts = [Numbers(range(n), first=100 * k) for k, n in enumerate(sizes)]
    whole = Concat(*parts)
    expected = np.concatenate([p.first + np.arange(len(p.labels)) for p in parts])
    chosen = np.array(
        data.draw(st.lists(st.integers(0, len(expected) - 1), min_size=1, max_size=30))
    )
    subset = Subset(whole, chosen)
    wanted = np.array(data.draw(st.lists(st.integers(0, len(chosen) - 1), min_size=1)))
    assert (subset.read(wanted)[:, 0] == expected[chosen][wanted]).all()
    assert [subset.ids[i] for i in wanted] == [whole.ids[i] for i in chosen[wanted]]
    assert (subset.labels[wanted] == whole.labels[chosen[wanted]]).all()


def test_fingerprints_tell_subsets_and_orders_apart():
    a, b = Numbers([0, 1, 2]), Numbers([0, 1, 2], first=50)
    prints = {
        Concat(a, b).fingerprint,
        Concat(b, a).fingerprint,
        Subset(a, np.array([0, 1])).fingerprint,
        Subset(a, np.array([1, 0])).fingerprint,
        a.fingerprint,
    }
    assert len(prints) == 5


@given(n=st.integers(1, 60), batch=st.integers(1, 20), threads=st.integers(1, 5))
def test_stream_keeps_the_order_whatever_the_threads(n, batch, threads):
    split = Numbers([0] * n)
    order = np.random.default_rng(n).permutation(n)
    batches = list(stream(split, batch, order, lambda at, x: x + 1000 * at[:, None], threads))
    assert np.concatenate([at for at, _ in batches]).tolist() == order.tolist()
    assert np.concatenate([x[:, 0] for _, x in batches]).tolist() == (1001 * order).tolist()
    assert all(len(at) == batch for at, _ in batches[:-1])


def test_stream_reads_only_a_little_ahead():
    split = Numbers([0] * 1000)
    read = []
    batches = stream(split, 10, then=lambda at, x: read.append(at[0]), threads=2)
    next(batches)
    next(batches)
    assert len(read) <= 6
    batches.close()
    assert len(read) <= 6


def test_stream_passes_an_error_on():
    class Broken(Numbers):
        def read(self, indices):
            raise HarnessError("patch 3 is broken")

    with pytest.raises(HarnessError, match="patch 3"):
        list(stream(Broken([0] * 9), 2))


@given(
    counts=st.lists(st.integers(1, 40), min_size=2, max_size=9),
    seed=st.integers(0, 2**31),
)
def test_hold_out_takes_a_tenth_of_each_class(counts, seed):
    labels = np.repeat(np.arange(len(counts)), counts)
    kept, held = hold_out(labels, seed)
    assert sorted([*kept, *held]) == list(range(len(labels)))
    for label, count in enumerate(counts):
        share = (labels[held] == label).sum()
        assert share == (0 if count == 1 else max(1, round(count / 10)))
    again = hold_out(labels, seed)
    assert (again[1] == held).all()


def test_hold_out_depends_on_the_seed():
    labels = np.zeros(100, np.int64)
    assert hold_out(labels, 1)[1].tolist() != hold_out(labels, 2)[1].tolist()


def test_folds_predict_each_test_patch_once_and_never_see_it():
    train = Numbers([0, 1] * 4, first=0)
    test = Numbers([0, 1] * 10, first=500)
    pairs = fold_pairs(Splits(train=train, test=test, folds=5), ("a", "b"))
    assert len(pairs) == 5
    assert sorted(np.concatenate([at for _, at in pairs])) == list(range(20))
    for fit_on, predicted in pairs:
        seen = set(fit_on.ids)
        assert set(train.ids) <= seen
        assert not seen & {test.ids[i] for i in predicted}
        assert np.bincount(test.labels[predicted]).tolist() == [2, 2]


def test_folds_refuse_a_class_that_is_too_small():
    splits = Splits(train=None, test=Numbers([0] * 9 + [1] * 2), folds=3)
    with pytest.raises(HarnessError, match="class b has 2 test patches"):
        fold_pairs(splits, ("a", "b"))


def test_without_folds_there_is_one_fit_on_the_training_split():
    train, test = Numbers([0, 1]), Numbers([0, 1, 1], first=9)
    ((fit_on, predicted),) = fold_pairs(Splits(train=train, test=test), ("a", "b"))
    assert fit_on is train
    assert predicted.tolist() == [0, 1, 2]


def test_folds_do_not_cut_groups():
    labels = np.arange(60) % 3
    groups = [f"patient {i // 4}" for i in range(60)]
    splits = Splits(train=None, test=Numbers(labels), folds=5, groups=groups)
    pairs = fold_pairs(splits, ("a", "b", "c"))
    assert sorted(np.concatenate([fold for _, fold in pairs])) == list(range(60))
    for _, fold in pairs:
        inside = {groups[i] for i in fold}
        assert not inside & {groups[i] for i in set(range(60)) - set(fold.tolist())}
    few = Splits(train=None, test=Numbers(labels), folds=5, groups=["one", "two"] * 30)
    with pytest.raises(HarnessError, match="2 groups, too few for 5 folds"):
        fold_pairs(few, ("a", "b", "c"))


def test_groups_of_each_part_are_counted():
    train, test = Numbers([0, 1, 0]), Numbers([0, 1], first=9)
    dataset = Dataset(name="mine", title="Mine", classes=("a", "b"), load=lambda folder: None)

    def check(**groups):
        check_splits(dataset, Splits(**{"train": train, "test": test, **groups}))

    check(groups=["p", "q"], train_groups=["p", "q", "r"])
    check(train_groups=["p", "p", "p"])
    with pytest.raises(HarnessError, match="dataset mine: 2 groups for 3 training patches"):
        check(train_groups=["p", "q"])
    with pytest.raises(HarnessError, match="dataset mine: 3 groups for 2 test patches"):
        check(groups=["p", "q", "r"])
    with pytest.raises(HarnessError, match="mine: has train_groups but no training patches"):
        check(train=None, train_groups=["p"])

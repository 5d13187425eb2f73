"""Patches of small datasets are decoded once, and what is read is the reader's own."""

import gc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from harness import HarnessError
from harness.data import decoded
from harness.data.decoded import DecodedOnce

N = 12
IMAGES = np.random.default_rng(0).integers(0, 256, (N, 6, 5, 3)).astype(np.uint8)


class Patches:
    """A split that notes what is read."""

    labels = np.arange(N) % 3
    ids = tuple(f"patch-{number}" for number in range(N))
    fingerprint = "f"

    def __init__(self):
        self.read_before = []

    def read(self, indices):
        if 11 in indices:
            raise HarnessError("patch-11: cut short")
        self.read_before += list(indices)
        return IMAGES[np.asarray(indices)]


@pytest.fixture(autouse=True)
def room(monkeypatch):
    gc.collect()
    monkeypatch.setattr(decoded, "KEPT", decoded._ROOM.taken + 2 * IMAGES.nbytes - 1)


def test_each_is_decoded_once_in_any_order():
    base = Patches()
    split = DecodedOnce(base)
    assert (split.read([3, 1]) == IMAGES[[3, 1]]).all()
    for indices in ([1, 3], [1, 2, 3], np.array([3, 3, 1])):
        found = split.read(indices)
        assert (found == IMAGES[np.asarray(indices)]).all()
        assert found.dtype == np.uint8
    assert base.read_before == [3, 1, 2]
    assert split.read([]).shape == (0, 6, 5, 3)
    assert (split.ids, split.fingerprint) == (base.ids, "f")


def test_nobody_can_change_what_is_kept():
    split = DecodedOnce(Patches())
    for _ in range(3):
        found = split.read([0, 1])
        assert (found == IMAGES[:2]).all()
        found[:] = 7


def test_what_cannot_be_read_is_said_each_time():
    split = DecodedOnce(Patches())
    for _ in range(2):
        with pytest.raises(HarnessError, match="patch-11"):
            split.read([0, 11])


def test_splits_share_the_room_and_give_it_back():
    first, second = DecodedOnce(Patches()), DecodedOnce(Patches())
    for split in (first, second):
        for _ in range(2):
            split.read([0])
    assert first.base.read_before == [0]
    assert second.base.read_before == [0, 0]
    del first, split
    gc.collect()
    third = DecodedOnce(Patches())
    for _ in range(2):
        third.read([0])
    assert third.base.read_before == [0]


def test_threads_read_the_same():
    split = DecodedOnce(Patches())
    rng = np.random.default_rng(1)
    batches = [rng.integers(0, N - 1, 5) for _ in range(200)]
    with ThreadPoolExecutor(8) as pool:
        for indices, found in zip(batches, pool.map(split.read, batches), strict=True):
            assert (found == IMAGES[indices]).all()

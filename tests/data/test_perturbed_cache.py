"""Perturbed patches on disk: what is read is what was computed, whatever happens to the files."""

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from harness.data import perturbed_cache
from harness.data.perturbed_cache import CHECKSUM, PerturbedCache

N, SHAPE = 40, (6, 5, 3)
IMAGES = np.random.default_rng(0).integers(0, 256, (N, *SHAPE)).astype(np.uint8)
IDS = [f"patch-{number}" for number in range(N)]
NUMBERS = {id_: number for number, id_ in enumerate(IDS)}
SIZE = N * (IMAGES[0].nbytes + CHECKSUM)
LARGE = 100 * SIZE
FILE = "x-6x5x3"


class Inversion:
    """A perturbation that counts its patches, and takes as long as it is told to."""

    def __init__(self, seconds, monkeypatch):
        self.seen = []
        self.seconds = seconds
        self.now = 0.0
        monkeypatch.setattr(perturbed_cache.time, "thread_time", lambda: self.now)

    def __call__(self, images, ids):
        self.seen += ids
        self.now += self.seconds * len(ids)
        return 255 - images


def ask(cache, change, places, name="x", writes=True):
    chosen = np.array(places)
    ids = [IDS[place] for place in places]
    changed = cache.through(name, NUMBERS, writes, IMAGES[chosen], ids, change)
    assert (changed == 255 - IMAGES[chosen]).all()
    assert changed.dtype == np.uint8


@pytest.fixture
def slow(monkeypatch):
    return Inversion(1.0, monkeypatch)


def kept(folder):
    """The files of a cache."""
    return sorted(path.name for path in folder.glob("*"))


def test_slow_patches_are_computed_once_for_all_processes(tmp_path, slow):
    first = PerturbedCache(tmp_path / "kept", LARGE)
    for places in ([0, 1], [2, 3], [4, 5]):
        ask(first, slow, places)
    slow.seen.clear()
    second = PerturbedCache(tmp_path / "kept", LARGE)  # of another process
    ask(second, slow, [5, 2, 3])
    assert slow.seen == []
    ask(second, slow, [1, 2, 7])
    assert slow.seen == ["patch-1", "patch-7"], "what came before it was known to be slow, and new"
    ask(first, slow, [7, 1])
    assert slow.seen == ["patch-1", "patch-7"]
    assert kept(tmp_path / "kept") == [FILE]
    assert 0 < first.size() <= SIZE + 4096


def test_quick_ones_are_not_kept(tmp_path, monkeypatch):
    quick = Inversion(perturbed_cache.WORTH / 2, monkeypatch)
    cache = PerturbedCache(tmp_path / "kept", LARGE)
    for _ in range(3):
        ask(cache, quick, [0, 1])
    assert quick.seen == ["patch-0", "patch-1"] * 3
    assert kept(tmp_path / "kept") == []


def test_the_less_room_is_left_the_slower_they_must_be(tmp_path, monkeypatch):
    cache = PerturbedCache(tmp_path / "kept", 4 * SIZE)
    found = {}
    for name, worth in {"a": 1.5, "b": 1.5, "c": 5.0, "d": 30.0, "e": 100.0}.items():
        change = Inversion(worth * perturbed_cache.WORTH, monkeypatch)
        for _ in range(3):
            ask(cache, change, [0, 1], name)
        found[name] = len(change.seen) < 6
    assert found == {"a": True, "b": False, "c": True, "d": True, "e": True}


@pytest.mark.parametrize("limit", [0, SIZE - 1])
def test_nothing_is_kept_without_room(tmp_path, slow, limit):
    cache = PerturbedCache(tmp_path / "kept", limit)
    for _ in range(3):
        ask(cache, slow, [0, 1])
    assert kept(tmp_path / "kept") == []


def test_no_more_than_half_of_what_is_free_is_promised(tmp_path, slow, monkeypatch):
    usage = perturbed_cache.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(
        perturbed_cache.shutil, "disk_usage", lambda _: usage._replace(free=6 * SIZE)
    )
    monkeypatch.setattr(PerturbedCache, "size", lambda self: 0)  # nothing is on disk by now
    cache = PerturbedCache(tmp_path / "kept", LARGE)
    for name in "abcdef":
        for _ in range(2):
            ask(cache, slow, [0, 1], name)
    assert len(kept(tmp_path / "kept")) == 3


def test_who_only_reads_adds_nothing(tmp_path, slow):
    for _ in range(3):
        ask(PerturbedCache(tmp_path / "kept", LARGE), slow, [0, 1], writes=False)
    assert not (tmp_path / "kept").exists()
    writer = PerturbedCache(tmp_path / "kept", LARGE)
    for _ in range(2):
        ask(writer, slow, [0, 1])
    slow.seen.clear()
    ask(PerturbedCache(tmp_path / "kept", LARGE), slow, [0, 1, 2], writes=False)
    ask(writer, slow, [2])
    assert slow.seen == ["patch-2", "patch-2"]


@pytest.mark.parametrize("harm", ["gone", "cut", "flipped", "a folder", "full of zeros"])
def test_a_file_that_is_harmed_costs_time_alone(tmp_path, slow, harm):
    cache = PerturbedCache(tmp_path / "kept", LARGE)
    for _ in range(2):
        ask(cache, slow, [0, 1, 30])
    path = tmp_path / "kept" / FILE
    content = bytearray(path.read_bytes())
    path.unlink()
    if harm == "flipped":
        content[5] ^= 1
    if harm == "a folder":
        path.mkdir()
    elif harm != "gone":
        written = {"cut": content[:120], "full of zeros": bytes(len(content))}
        path.write_bytes(written.get(harm, content))
    for places in ([5], [0, 1, 30], [5, 30, 0]):
        ask(cache, slow, places)


@pytest.mark.parametrize("size", [1, 4, 90, 224 * 224 * 3])
def test_the_checksum_of_zeros_is_not_zero(size):
    assert perturbed_cache._checksum(bytes(size)) != bytes(CHECKSUM)


def test_patches_of_other_shapes_do_not_overlap(tmp_path, slow):
    cache = PerturbedCache(tmp_path / "kept", LARGE)
    small = np.ascontiguousarray(IMAGES[:, :3, :2])
    for _ in range(2):
        ask(cache, slow, [2, 1, 0])
        changed = cache.through("x", NUMBERS, True, small[1:3], IDS[1:3], slow)
        assert (changed == 255 - small[1:3]).all()
    ask(cache, slow, [2, 1, 0])


def test_batches_in_another_layout_are_read(tmp_path, slow):
    cache = PerturbedCache(tmp_path / "kept", LARGE)
    transposed = np.ascontiguousarray(IMAGES.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
    for _ in range(3):
        changed = cache.through("x", NUMBERS, True, transposed, IDS, slow)
        assert (changed == 255 - IMAGES).all()
    assert len(slow.seen) == 2 * N


def test_threads_that_ask_at_once_get_the_same(tmp_path, slow):
    cache = PerturbedCache(tmp_path / "kept", LARGE)
    rng = np.random.default_rng(1)
    batches = [rng.choice(N, 8, replace=False).tolist() for _ in range(200)]
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(ask, cache, slow, places) for places in batches]:
            done.result()
    ask(cache, slow, range(N))
    slow.seen.clear()
    ask(cache, slow, range(N))
    assert slow.seen == []


def test_what_is_removed_meanwhile_is_computed(tmp_path, slow):
    """As when a run is thought to be gone."""
    cache = PerturbedCache(tmp_path / "kept", LARGE)
    rng = np.random.default_rng(2)
    batches = [(name, rng.choice(N, 8, replace=False).tolist()) for name in "abcd" * 50]
    over = threading.Event()

    def remove():
        while not over.wait(0.001):
            shutil.rmtree(tmp_path / "kept", ignore_errors=True)

    remover = threading.Thread(target=remove)
    remover.start()
    try:
        with ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(ask, cache, slow, places, name) for name, places in batches]:
                done.result()
    finally:
        over.set()
        remover.join()

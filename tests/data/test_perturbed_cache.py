"""Perturbed patches on disk: what is read is what was computed, whatever happens to the files."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from harness.data import perturbed_cache
from harness.data.perturbed_cache import PerturbedCache

N, SHAPE = 40, (6, 5, 3)
IMAGES = np.random.default_rng(0).integers(0, 256, (N, *SHAPE)).astype(np.uint8)
IDS = [f"patch-{number}" for number in range(N)]
SIZE = N * IMAGES[0].nbytes


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


def ask(cache, change, places, name="x", **options):
    chosen = np.array(places)
    ids = [IDS[place] for place in places]
    changed = cache.through(name, chosen, N, IMAGES[chosen], ids, change, **options)
    assert (changed == 255 - IMAGES[chosen]).all()
    assert changed.dtype == np.uint8


@pytest.fixture
def slow(monkeypatch):
    return Inversion(1.0, monkeypatch)


def test_slow_patches_are_computed_once_for_all_processes(tmp_path, slow):
    first = PerturbedCache(tmp_path / "kept", SIZE)
    for places in ([0, 1], [2, 3], [4, 5]):
        ask(first, slow, places)
    slow.seen.clear()
    second = PerturbedCache(tmp_path / "kept", SIZE)  # of another process
    ask(second, slow, [5, 2, 3])
    assert slow.seen == []
    ask(second, slow, [1, 2, 7])
    assert slow.seen == ["patch-1", "patch-7"], "what came before it was known to be slow, and new"
    ask(first, slow, [7, 1])
    assert slow.seen == ["patch-1", "patch-7"]
    assert first.size() == second.size() == SIZE


def test_quick_ones_are_not_kept(tmp_path, monkeypatch):
    quick = Inversion(perturbed_cache.WORTH / 2, monkeypatch)
    cache = PerturbedCache(tmp_path / "kept", SIZE)
    for _ in range(3):
        ask(cache, quick, [0, 1])
    assert quick.seen == ["patch-0", "patch-1"] * 3
    assert cache.size() == 0


def test_the_slowest_are_kept_within_the_limit(tmp_path, monkeypatch):
    cache = PerturbedCache(tmp_path / "kept", 2 * SIZE)
    changes = {name: Inversion(1.0, monkeypatch) for name in "abc"}
    for _ in range(2):
        for seconds, (name, change) in enumerate(changes.items(), start=1):
            change.seconds = float(seconds)
            monkeypatch.setattr(perturbed_cache.time, "thread_time", lambda c=change: c.now)
            ask(cache, change, [0, 1], name)
    assert {path.name for path in (tmp_path / "kept").glob("*.patches")} == {
        "b.patches",
        "c.patches",
    }
    assert cache.size() == 2 * SIZE


@pytest.mark.parametrize("limit", [0, SIZE - 1])
def test_nothing_is_kept_without_room(tmp_path, slow, limit):
    cache = PerturbedCache(tmp_path / "kept", limit)
    for _ in range(3):
        ask(cache, slow, [0, 1])
    assert cache.size() == 0


def test_nor_is_a_disk_filled(tmp_path, slow, monkeypatch):
    usage = perturbed_cache.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(
        perturbed_cache.shutil, "disk_usage", lambda _: usage._replace(free=2 * SIZE - 2)
    )
    cache = PerturbedCache(tmp_path / "kept", 10 * SIZE)
    for _ in range(3):
        ask(cache, slow, [0, 1])
    assert cache.size() == 0


def test_who_only_reads_adds_nothing(tmp_path, slow):
    for _ in range(3):
        ask(PerturbedCache(tmp_path / "kept", SIZE), slow, [0, 1], writes=False)
    assert not (tmp_path / "kept").exists()
    writer = PerturbedCache(tmp_path / "kept", SIZE)
    for _ in range(2):
        ask(writer, slow, [0, 1])
    slow.seen.clear()
    ask(PerturbedCache(tmp_path / "kept", SIZE), slow, [0, 1, 2], writes=False)
    ask(writer, slow, [2])
    assert slow.seen == ["patch-2", "patch-2"]


@pytest.mark.parametrize("what", ["x.patches", "x.there"])
@pytest.mark.parametrize("harm", ["gone", "cut", "a folder"])
def test_files_that_are_harmed_cost_time_alone(tmp_path, slow, what, harm):
    cache = PerturbedCache(tmp_path / "kept", SIZE)
    for _ in range(2):
        ask(cache, slow, [0, 1, 30])
    path = tmp_path / "kept" / what
    content = path.read_bytes()
    path.unlink()
    if harm == "cut":
        path.write_bytes(content[:20])
    if harm == "a folder":
        path.mkdir()
    ask(cache, slow, [0, 1, 30])
    ask(cache, slow, [0, 1, 30])


def test_threads_that_ask_at_once_get_the_same(tmp_path, slow):
    cache = PerturbedCache(tmp_path / "kept", SIZE)
    rng = np.random.default_rng(1)
    batches = [rng.choice(N, 8, replace=False).tolist() for _ in range(200)]
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(ask, cache, slow, places) for places in batches]:
            done.result()
    slow.seen.clear()
    ask(cache, slow, range(N))
    assert slow.seen == []

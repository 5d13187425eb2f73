"""Faults planted in real patches: how labels are dealt, what is planted, what probes read."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import HarnessError, PlantedFault
from harness.data import planting
from harness.hooks.loader import load_plugins
from harness.jobs import planted
from harness.jobs.dataset import load

REGISTRY = load_plugins()
SAMPLE = REGISTRY.datasets["nct-crc-he-sample"]


@pytest.fixture(scope="module")
def instance():
    return load(SAMPLE, Path("unused"), "harness")


def balance(truth, dealt, n):
    return [np.bincount(dealt[truth == label], minlength=n) for label in np.unique(truth)]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=80), st.integers(2, 4), st.integers(0, 9))
def test_labels_and_parts_are_balanced_within_each_class(truth, n, seed):
    truth = np.array(truth)
    dealt, is_test = planted.deal(truth, None, n, np.random.default_rng(seed))
    assert all(np.ptp(counts) <= 1 for counts in balance(truth, is_test.astype(int), 2))
    for part in (is_test, ~is_test):
        assert all(np.ptp(counts) <= 1 for counts in balance(truth[part], dealt[part], n))
    again, _ = planted.deal(truth, None, n, np.random.default_rng(seed))
    assert (again == dealt).all()


@given(st.integers(0, 99))
def test_groups_are_dealt_as_a_whole(seed):
    rng = np.random.default_rng(seed)
    truth, groups = rng.integers(0, 3, 200), rng.integers(0, 40, 200)
    dealt, is_test = planted.deal(truth, groups, 3, rng)
    for group in np.unique(groups):
        own = groups == group
        assert len(set(is_test[own])) == 1
        assert all(len(set(dealt[own & (truth == label)])) <= 1 for label in range(3))
    assert np.bincount(dealt[is_test], minlength=3).min() > 0


def test_labels_differ_from_draw_to_draw():
    truth = np.repeat(np.arange(3), 12)
    one, other = (planted.deal(truth, None, 4, np.random.default_rng(s))[0] for s in (0, 1))
    assert (one != other).any()


def noisy(patch, level, rng):
    noise = rng.normal(0, level, patch.shape)
    return np.clip(patch + noise, 0, 255).astype(np.uint8)


FAULT = PlantedFault(
    name="noise",
    title="noise",
    unit="gray levels",
    doses=(4, 20),
    levels=lambda dose: (0, 0, dose, dose),
    plant=noisy,
    raises=("noise",),
)


def test_what_is_planted_depends_on_patch_and_level_alone(instance):
    base = instance.splits.test
    rows = np.array([3, 5])
    split = planting.Planted(base, FAULT, np.full(len(base.labels), 9.0), base.labels)
    both = split.read(rows)
    assert (both[1] == split.read([5])[0]).all()
    assert (both != base.read(rows)).any()
    other = planting.Planted(base, FAULT, np.full(len(base.labels), 8.0), base.labels)
    assert other.fingerprint != split.fingerprint
    assert (other.read(rows) != both).any()


def test_what_is_no_patch_is_refused(instance):
    broken = replace(FAULT, plant=lambda patch, level, rng: patch[:5])
    patch = instance.splits.test.read([0])[0]
    with pytest.raises(HarnessError, match=r"fault noise: level 1 made uint8 \(5, 224, 3\)"):
        planting.plant(broken, patch, 1.0, "name")


def test_patches_lie_in_memory_row_by_row_however_a_fault_returns_them(instance):
    turned = replace(FAULT, plant=lambda patch, level, rng: patch.T.copy().T)
    base = instance.splits.test
    found = planting.Planted(base, turned, np.ones(len(base.labels)), base.labels).read([0, 1])
    assert found.flags.c_contiguous
    assert (found == base.read([0, 1])).all()


def test_patches_that_limits_were_set_on_do_not_judge(instance):
    probes = [REGISTRY.probes[name] for name in ("noise", "leakage")]
    judges = planted.judges(instance, probes, 400)
    n = len(planted.whole(instance).labels)
    assert 0 < len(judges.split.labels) == n - judges.tuned < n
    assert not probes[0].tuned_on(judges.split.ids).any()
    few = planted.judges(instance, probes, 40)
    assert 30 <= len(few.split.labels) <= 40
    assert set(few.split.labels) == set(range(9))
    with pytest.raises(HarnessError, match="were set on all of its patches"):
        planted.judges(instance, [replace(probes[0], tuned_on=lambda ids: [True] * len(ids))], 9)


def test_probes_read_real_patches_with_a_fault(instance):
    probes = [REGISTRY.probes[name] for name in ("noise", "leakage")]
    judges = planted.judges(instance, probes, 90)
    readings = list(planted.read(FAULT, judges, probes, 2))
    assert [(r.dose, r.seed, r.probe) for r in readings] == [
        (dose, draw, name) for dose in (4, 20) for draw in (0, 1) for name in ("noise", "leakage")
    ]
    strong = [r for r in readings if r.dose == 20]
    assert [r.flag for r in strong if r.probe == "noise"] == [True, True]
    assert not any(r.flag for r in readings if r.probe == "leakage")
    assert all(r.grade for r in strong if r.probe == "noise")

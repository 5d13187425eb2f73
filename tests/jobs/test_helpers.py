"""Processes that help with a pass: the same results, whatever becomes of them."""

import pytest

from harness.hooks.loader import load_plugins
from harness.jobs import helpers
from harness.jobs.compute import compute
from harness.jobs.finding import Answer
from harness.jobs.session import OpenSession, versions
from harness.jobs.spec import SessionSpec
from harness.planning import planner
from harness.planning.plan import Request, together
from harness.store.store import Store
from harness.store.stored import load_array

NAMES = ("first", "second", "third")
PLUGIN = """
import os, sys
from multiprocessing import parent_process

import numpy as np

from harness import DatasetProbe, Estimate, Features, Finding, hookimpl


def extract(images):
    if parent_process() is not None:
        {there}
    return images.mean(axis=(1, 2)).astype(np.float32)


def measure(audit):
    if parent_process() is not None:
        {there}
    mean = float(audit.test.values["levels"].mean())
    return Finding(summary=f"the mean is {{mean}}", estimates=[Estimate(name="mean", value=mean)])


@hookimpl
def harness_probes():
    levels = Features(name="levels", version=1, extract=extract)
    return [
        DatasetProbe(name=name, title=name, features=(levels,), measure=measure)
        for name in ("first", "second", "third")
    ]
"""


@pytest.fixture
def computed(tmp_path, monkeypatch):
    """A function of how many processes help, and of what the plugin does in them.

    It computes all that the probes of the plugin ask, and returns what is stored, by label, and
    the answers that came from other processes.
    """
    monkeypatch.setattr(helpers, "cpu_count", lambda: 3)

    def compute_all(n, there):
        plugin = tmp_path / "mine.py"
        plugin.write_text(PLUGIN.format(there=there))
        registry, store = load_plugins([], [plugin]), Store(tmp_path / f"runs-{n}")
        session = SessionSpec(str(store.root), str(tmp_path), versions(registry))
        probes = [registry.probes.find(name) for name in NAMES]
        dataset = registry.datasets.find("nct-crc-he-sample")
        request = Request(datasets=[dataset], models=(), probes=probes, data=tmp_path)
        plan = planner.build(registry, store, request)
        opened = OpenSession.open(session)
        answers = []
        ask = opened.helpers.ask

        def listened(task, batch):
            answers.append(ask(task, batch))
            return answers[-1]

        monkeypatch.setattr(opened.helpers, "ask", listened)
        if n:
            opened.helpers.start(n * helpers.WORTH)
            assert opened.helpers.n == n
            wait_for(opened.helpers)
        try:
            for group in together(plan.to_do(store)):
                assert [error for _, error in compute(group, opened)] == [None] * len(group)
        finally:
            opened.helpers.stop()
        return stored(plan, store), [answer for answer in answers if answer is not None]

    return compute_all


def wait_for(others):
    """Until all processes are there."""
    for _ in range(others.n):
        assert others._free.acquire(timeout=60)
    for _ in range(others.n):
        others._free.release()


def stored(plan, store):
    """What is stored, by the label of its job."""
    found = {}
    for job in plan.jobs.values():
        if job.kind == "features":
            found[job.label] = load_array(store.place(job.key), "values.npy").tobytes()
        elif job.kind == "finding":
            found[job.label] = (store.folder(job.key) / "finding.json").read_bytes()
    return found


@pytest.fixture
def alone(computed):
    """What is stored when no other process helps."""
    found, answers = computed(0, "pass")
    assert not answers
    assert len(found) == 2 + len(NAMES)  # features of both parts, and findings
    return found


def test_what_other_processes_compute_is_what_this_one_would(computed, alone):
    found, answers = computed(2, "pass")
    assert found == alone
    assert {type(answer) for answer in answers} == {list, Answer}  # of features and of probes


@pytest.mark.parametrize(
    "there",
    ["raise RuntimeError('not here')", "sys.exit('not here')", "return images[:0]"],
)
def test_what_fails_there_is_computed_here(computed, alone, there):
    assert computed(2, there)[0] == alone


def test_processes_that_die_cost_nothing_but_time(computed, alone):
    found, answers = computed(2, "os.kill(os.getpid(), 9)")
    assert found == alone
    assert not answers


def test_few_patches_and_one_core_get_no_help(monkeypatch):
    others = helpers.Helpers()
    others.start(0.9 * helpers.WORTH)
    monkeypatch.setattr(helpers, "cpu_count", lambda: 1)
    others.start(100 * helpers.WORTH)
    assert others.n == 0

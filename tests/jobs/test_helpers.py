"""Processes that help with a pass: the same results, whatever becomes of them."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.hooks.loader import load_plugins
from harness.jobs import helpers
from harness.jobs.compute import compute
from harness.jobs.session import OpenSession, versions
from harness.jobs.spec import SessionSpec
from harness.planning import planner
from harness.planning.plan import Request, together
from harness.store.store import Store
from harness.store.stored import load_array
from harness.system import threads

NAMES = ("first", "second", "third")
PLUGIN = """
import os, sys

import numpy as np

from harness import DatasetProbe, Estimate, Features, Finding, hookimpl


def write_everywhere():
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, b"no answer" + bytes([10]))
        except OSError:
            pass


def extract(images):
    if os.environ.get("HARNESS_CORES") == "1":  # in a helper
        {there}
    return images.mean(axis=(1, 2)).astype(np.float32)


def measure(audit):
    if os.environ.get("HARNESS_CORES") == "1":  # in a helper
        {there}
    mean = float(audit.test.values["levels"].mean())
    return Finding(summary=f"the mean is {{mean}}", estimates=[Estimate(name="mean", value=mean)])


@hookimpl
def harness_probes():
    levels = Features(name="levels", version=1, extract=extract)
    return [
        DatasetProbe(
            name=name, title=name, features=(levels,), measure=measure, threaded={threaded}
        )
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

    def compute_all(n, there, threaded=False):
        plugin = tmp_path / "mine.py"
        plugin.write_text(PLUGIN.format(there=there, threaded=threaded))
        registry, store = load_plugins([], [plugin]), Store(tmp_path / f"runs-{n}")
        session = SessionSpec(str(store.root), str(tmp_path), versions(registry))
        probes = [registry.probes.find(name) for name in NAMES]
        dataset = registry.datasets.find("nct-crc-he-sample")
        request = Request(datasets=[dataset], models=(), probes=probes, data=tmp_path)
        plan = planner.build(registry, store, request)
        opened = OpenSession.open(session)
        opened.helpers = helpers.Helpers(session)
        answers = []
        ask = opened.helpers.ask

        def listened(work, batch):
            answer, said = ask(work, batch)
            answers.append(answer)
            return answer, said

        monkeypatch.setattr(opened.helpers, "ask", listened)
        try:
            for group in together(plan.to_do(store)):
                if n and group[0].kind == "features" and not answers:
                    opened.helpers.start(n * helpers.SECONDS_WORTH)
                    assert opened.helpers.n == n
                    wait_until(lambda: len(opened.helpers._free) == n)
                assert [error for _, error in compute(group, opened)] == [None] * len(group)
        finally:
            opened.helpers.stop()
        assert threads._LIMITS._passes == 0
        return stored(plan, store), [answer for answer in answers if answer is not None]

    return compute_all


def wait_until(condition):
    """Until a condition holds, for a minute at most."""
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it never came")


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
    found, answers = computed(2, "print('in a helper', os.getpid())")
    assert found == alone
    kinds = {tuple(answer) for answer in answers}
    assert kinds == {("rows", "busy"), ("finding", "seconds")}


def test_probes_with_threads_of_their_own_are_asked_where_all_cores_may_be_used(computed, alone):
    found, answers = computed(2, "pass", threaded=True)
    assert found == alone
    assert {tuple(answer) for answer in answers} == {("rows", "busy")}


@pytest.mark.parametrize(
    "there",
    [
        "raise RuntimeError('not here')",
        "raise BaseException('not here')",
        "sys.exit('not here')",
        "return images[:0]",
        "return 1 / 0 if os.fork() else 1 / 0",
    ],
)
def test_what_fails_there_is_computed_here(computed, alone, there):
    found, answers = computed(2, there)
    assert found == alone
    assert all(answer.get("rows") == [None] for answer in answers)


@pytest.mark.parametrize(
    "there",
    [
        "os.kill(os.getpid(), 9)",
        "os._exit(0)",
        "os.closerange(3, 64)",
        "write_everywhere()",
    ],
)
def test_processes_that_are_lost_cost_nothing_but_time(computed, alone, there):
    assert computed(2, there) == (alone, [])


def test_few_patches_and_one_core_get_no_help(monkeypatch, tmp_path):
    others = helpers.Helpers(SessionSpec(str(tmp_path), str(tmp_path)))
    others.start(0.9 * helpers.SECONDS_WORTH)
    monkeypatch.setattr(helpers, "cpu_count", lambda: 1)
    others.start(100 * helpers.SECONDS_WORTH)
    assert others.n == 0


KILLED = """
import sys, time
from harness.jobs import helpers
from harness.jobs.spec import SessionSpec

helpers.cpu_count = lambda: 3
others = helpers.Helpers(SessionSpec(sys.argv[1], sys.argv[1]))
others.start(100 * helpers.SECONDS_WORTH)
time.sleep(float(sys.argv[2]))
print(*(one.child.process.pid for one in others._all), flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize("after", [0, 3])
def test_nothing_stays_of_a_worker_that_is_killed(tmp_path, after):
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(after)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        pids = process.stdout.readline().split()
        process.kill()
    assert len(pids) == 2
    wait_until(lambda: not any(Path("/proc", pid).exists() for pid in pids))

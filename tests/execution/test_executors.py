"""Executors of plugins: jobs leave this process as JSON, and the same bytes are stored."""

import importlib.util
import json
from pathlib import Path

import pytest

from harness import Event, HarnessError
from harness.execution.executor_guard import Guarded
from harness.jobs import problem
from harness.jobs.spec import JobSpec, SessionSpec
from harness.store.failures import Failure
from harness.store.store import Key, Store
from harness.types.executors import Problem

DOCS = Path(__file__).parents[2] / "docs"
spec = importlib.util.spec_from_file_location("make_hooks", DOCS / "make_hooks.py")
make_hooks = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make_hooks)
EXAMPLE = make_hooks.example(make_hooks.hooks()["harness_executors"])
RUN = ("run", "--dataset", "toy-folds", "--model", "toy-mean", "--model", "toy-features")


def stored(folder):
    """By digest of the result, the digests of its files."""
    found = {}
    for path in folder.rglob("record.json"):
        content = json.loads(path.read_text())
        files = {name: file["sha256"] for name, file in content["files"].items()}
        found[path.parent.name] = (content["key"]["kind"], files)
    return found


def test_another_executor_stores_the_same_bytes(toy):
    (toy.folder / "mine.py").write_text(EXAMPLE)
    mine = ("--plugin", "mine.py", "--executor", "subprocesses", "--jobs", "2")
    toy(*RUN, "--perturbation", "toy-noise", "--store", "theirs", *mine)
    toy(*RUN, "--perturbation", "toy-noise", "--store", "ours")
    theirs, ours = stored(toy.folder / "theirs"), stored(toy.folder / "ours")
    assert {kind for kind, _ in ours.values()} >= {"dataset", "features", "fit", "prediction"}
    assert theirs == ours


def test_what_goes_wrong_in_a_job_is_told_and_costs_the_job_alone(toy):
    (toy.folder / "mine.py").write_text(EXAMPLE)
    mine = ("--plugin", "mine.py", "--executor", "subprocesses")
    output = toy(*RUN, "--no-probes", "--set", "toy-mean.fail=true", *mine, code=1)
    assert "FAILED: RuntimeError: the toy model was told to fail" in output
    rows = json.loads((toy.folder / "reports/toy-folds.json").read_text())["rows"]
    results = {(row["model"], row["result"]) for row in rows}
    assert {("toy-mean", "failed"), ("toy-features", "measured")} < results
    details = [path.read_text() for path in (toy.folder / "runs/errors").iterdir()]
    assert any("Traceback" in text and "in fit" in text for text in details)


def test_an_executor_that_there_is_not(toy):
    output = toy(*RUN, "--executor", "locl", code=2)
    assert "harness: error: no executor named 'locl'; did you mean local?" in output
    output = toy(*RUN, "--without", "local", code=2)
    assert "switched off (--without or $HARNESS_WITHOUT): local" in output


BROKEN = {
    "raises when it starts": (
        "        self.events = queue.SimpleQueue()\n",
        "        raise ValueError('no cluster')\n",
        "the executor subprocesses raised ValueError: no cluster (details in ",
    ),
    "raises when it is given jobs": (
        "        self.free -= 1\n",
        "        raise ValueError('no room')\n",
        "the executor subprocesses raised ValueError: no room (details in ",
    ),
    "fails itself": (
        "'''\nimport json, sys\n",
        "'''\nraise SystemExit(3)\n",
        "the executor subprocesses says that it failed: Command ",
    ),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_an_executor_that_fails_is_named(broken, toy):
    old, new, says = BROKEN[broken]
    assert old in EXAMPLE
    (toy.folder / "mine.py").write_text(EXAMPLE.replace(old, new, 1))
    output = toy(*RUN, "--plugin", "mine.py", "--executor", "subprocesses", code=2)
    assert says in output.splitlines()[-1]
    assert output.endswith("or leave out --executor subprocesses\n")


class Scripted:
    """An execution that says what a test wants."""

    def __init__(self, *events):
        self.events = list(events)

    def submit(self, group):
        pass

    def next(self, seconds):
        return self.events.pop(0)


def job(name):
    return JobSpec(kind="fit", key=Key("fit", "d", name, {}), label=f"fit {name}")


def guarded(tmp_path, *events, group=()):
    found = Guarded("mine", lambda: Scripted(*events), Store(tmp_path))
    found.submit(group)
    return found


def test_what_an_executor_says_is_not_taken_on_trust(tmp_path):
    one, two = job("one"), job("two")
    group = (one, two)
    failed = Problem(Failure("why"))
    done = guarded(tmp_path, Event(group, one), group=group).next(0)
    assert "says that it is done, but it is not in the store" in done.problem.failure.why
    with Store(tmp_path).write(one.key) as (folder, _):
        (folder / "a").write_text("a")
    events = [Event(group, one), Event(group, two, failed), Event(group)]
    told = guarded(tmp_path, *events, group=group)
    assert [told.next(0) for _ in events] == events
    for said, says in (
        ([Event(group)], "ended a group without a word about 2 of its jobs"),
        ([Event(group, one, failed), Event(group, one, failed)], "told twice of fit one"),
        ([Event((two,), two, failed)], "told of a group of jobs that is not under way"),
        (["done"], "returned 'done' from next where an Event is expected"),
        ([Event(group, error=OSError("gone"))], "says that it failed: gone"),
    ):
        told = guarded(tmp_path, *said, group=group)
        with pytest.raises(HarnessError, match=says):
            [told.next(0) for _ in said]


def test_an_answer_without_a_reason_is_no_problem(tmp_path):
    session = SessionSpec(store=str(tmp_path), data="data")
    assert problem(session, {"digest": "d"}) is None
    answer = {"digest": "d", "why": "full", "traceback": "T", "full": True, "damaged": "x"}
    found = problem(session, answer)
    assert (found.failure.why, found.disk_is_full, found.damaged) == ("full", True, "x")
    assert "T" in found.failure.details.read_text()


def test_auto_is_a_process_for_each_gpu(toy):
    output = toy(*RUN, "--no-probes", "--jobs", "auto", "-v", CUDA_VISIBLE_DEVICES="0,1,2")
    assert len([line for line in output.splitlines() if "is started to compute" in line]) in (2, 3)
    output = toy(
        *RUN, "--no-probes", "--jobs", "auto", "-v", "--store", "b", CUDA_VISIBLE_DEVICES=""
    )
    assert len([line for line in output.splitlines() if "is started to compute" in line]) == 1
    output = toy(*RUN, "--jobs", "many", code=2)
    assert "argument --jobs: 'many' is not a whole number of at least 1" in output


def test_parts_of_gpus(toy):
    for wrong in ("0", "1.5", "-1", "all"):
        output = toy(*RUN, f"--job-gpus={wrong}", code=2)
        assert f"argument --job-gpus: '{wrong}' is not a number of GPUs above 0" in output
    output = toy(*RUN, "--job-memory", "-1", code=2)
    assert "argument --job-memory: " in output
    toy(*RUN, "--no-probes", "--job-gpus", "0.5", "--job-cores", "2", "--job-memory", "1.5")

"""A real Ray cluster of three nodes on this machine: what it computes, and what it survives."""

import contextlib
import json
import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest

from harness_ray import node

pytest.importorskip("ray")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")

RUN = ("run", "--dataset", "toy-folds", "--model", "toy-mean", "--model", "toy-features")
KILLED = """
import os

from harness import Model, hookimpl


def fit(train, validation, context):
    os.kill(os.getpid(), 9)


@hookimpl
def harness_models():
    return [Model(name="killed", title="Is killed in every fit", fit=fit, load=fit)]
"""


@pytest.fixture
def cluster(toy, monkeypatch):
    """Starts a cluster: a head without cores and nodes with one core each; returns it."""
    from ray.cluster_utils import Cluster

    for name, text in toy.environment().items():
        monkeypatch.setenv(name, text)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.chdir(toy.folder)
    started = []

    def start(nodes=2):
        started.append(Cluster(initialize_head=True, head_node_args={"num_cpus": 0}))
        for _ in range(nodes):
            started[0].add_node(num_cpus=1)
        return started[0]

    yield start
    for one in started:
        one.shutdown()


def on(cluster):
    """The options that let a command use a cluster."""
    return ("--executor", "ray", "--address", cluster.address)


def parents(pid):
    """A process, its parent, and so on."""
    while pid > 1:
        yield pid
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return


def workers(folder):
    """The processes that compute jobs for a command in a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            is_worker = b"harness.execution.worker" in (path / "cmdline").read_bytes()
            if is_worker and (path / "cwd").readlink() == folder:
                found.append(int(path.name))
    return found


def wait_until(condition, seconds=240.0):
    """Until a condition holds; what it returned."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.1)
    return found


def stored(folder):
    """By kind and digest of a result, the digests of its files."""
    found = {}
    for path in folder.rglob("record.json"):
        content = json.loads(path.read_text())
        files = {name: file["sha256"] for name, file in content["files"].items()}
        found[content["key"]["kind"], path.parent.name] = files
    return found


def test_a_cluster_stores_the_same_bytes_as_this_machine(toy, cluster):
    asked = (*RUN, "--perturbation", "toy-noise", "--no-probes")
    many = cluster()
    planned = toy(*asked, "--store", "theirs", "--dry-run", *on(many))
    assert "results to compute, by Ray on " in planned
    assert planned.count("(cores: 1)") == 2
    assert "of which a group of jobs takes cores: 1" in planned
    output = toy(*asked, "--store", "theirs", "-v", *on(many))
    assert "groups of jobs by node: " in output
    local = toy(*asked, "--store", "ours")
    theirs, ours = stored(toy.folder / "theirs"), stored(toy.folder / "ours")
    assert {kind for kind, _ in ours} >= {"dataset", "features", "fit", "prediction"}
    assert theirs == ours
    board = [line for line in local.splitlines() if line.startswith(("1", "2"))]
    assert board
    assert set(board) <= set(output.splitlines())


def test_a_fit_goes_on_from_its_checkpoint_where_its_node_dies(toy, cluster, monkeypatch):
    monkeypatch.setenv("TOY_SLOW_STEP", "0.5")
    many = cluster()
    asked = ("run", "--dataset", "toy", "--model", "toy-mean", "--no-probes")
    steps = ("--set", "toy-mean.steps=12")
    process = toy.start(*asked, *steps, *on(many))
    wait_until(lambda: "step 3 of toy-mean" in toy.toy_log)
    above = set(parents(workers(toy.folder)[0]))
    nodes = many.worker_nodes
    (lost,) = [n for n in nodes if n.all_processes["raylet"][0].process.pid in above]
    many.remove_node(lost, allow_graceful=False)
    output = "".join(process.communicate(timeout=300))
    assert process.returncode == 0, output
    assert re.search(
        r"WARNING: node \S+ is gone; what it was computing is computed elsewhere", output
    )
    assert "raylet" not in output
    done = [int(line.split()[1]) for line in toy.toy_log if line.startswith("step ")]
    assert sorted({*done}) == [*range(12)]
    assert len(done) <= 13, "the step under way may be done twice, and no other"


def test_a_job_that_kills_its_process_is_tried_three_times_and_costs_itself(toy, cluster):
    (toy.folder / "mine.py").write_text(KILLED)
    mine = ("--plugin", "mine.py", "--model", "killed", "--no-probes")
    output = toy(*RUN, *mine, *on(cluster()), code=1)
    assert "FAILED: tried 3 times, and the last time on node " in output
    assert "was killed (SIGKILL), as happens when memory runs out" in output
    rows = json.loads((toy.folder / "reports/toy-folds.json").read_text())["rows"]
    results = {(row["model"], row["result"]) for row in rows}
    assert results >= {("killed", "failed"), ("toy-mean", "measured"), ("toy-features", "measured")}


def test_nodes_stop_when_the_driver_dies_and_the_same_command_goes_on(toy, cluster, monkeypatch):
    monkeypatch.setenv("TOY_SLOW_STEP", "0.5")
    many = cluster()
    asked = ("run", "--dataset", "toy", "--model", "toy-mean", "--no-probes")
    asked = (*asked, "--set", "toy-mean.steps=8", *on(many))
    process = toy.start(*asked)
    wait_until(lambda: "step 2 of toy-mean" in toy.toy_log)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    wait_until(lambda: not workers(toy.folder), 60)
    before = len(toy.toy_log)
    toy(*asked)
    again = [line for line in toy.toy_log[before:] if line.startswith("step ")]
    assert "step 0 of toy-mean" not in again
    assert again[-1] == "step 7 of toy-mean"


def test_nodes_that_differ_are_named(toy, cluster, monkeypatch):
    many = cluster(nodes=1)
    there = toy.folder / "there"
    info = there / "timm-0.0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: timm\nVersion: 0.0.1\n")
    before = os.environ["PYTHONPATH"]
    monkeypatch.setenv("PYTHONPATH", f"{there}:{before}")
    added = many.add_node(num_cpus=1)
    monkeypatch.setenv("PYTHONPATH", before)
    output = toy(*RUN, *on(many), code=2)
    assert "has timm 0.0.1, this one " in output.splitlines()[-1]
    many.remove_node(added)
    monkeypatch.chdir(there)  # where the same path is another folder
    many.add_node(num_cpus=1)
    output = toy(*RUN, "--store", "/proc/self/cwd/runs", *on(many), code=2)
    assert "does not see the store /proc/self/cwd/runs (" in output.splitlines()[-1]


def test_more_than_any_node_has_is_an_error(toy, cluster):
    asked = on(cluster())
    for more in (("--job-cores", "2"), ("--job-memory", "100000")):
        output = toy(*RUN, "--no-probes", *asked, *more, code=2)
        assert "no node has what a group of jobs is to get" in output
        assert "ask for less" in output
        assert more[0] in output
    output = toy(*RUN, "--no-probes", *asked, "--job-memory", "0.1", "--dry-run")
    assert "of which a group of jobs takes cores: 1, and 0.1 GB" in " ".join(output.split())
    toy(*RUN, "--no-probes", *asked, "--job-memory", "0.1")


def test_what_a_node_sees(tmp_path):
    (tmp_path / "token").write_text("token")
    seen = node.look(str(tmp_path), "token", ())
    assert not seen.problem
    assert seen.versions["histo-harness"]
    assert "No such file" in node.look(str(tmp_path), "other", ()).problem


def test_what_plugins_come_from_is_compared_too(tmp_path, monkeypatch):
    info = tmp_path / "some_plugin-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: some-plugin\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[harness]\nsome = some_plugin\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert node.versions()["some-plugin"] == "1.2"
    assert "some-plugin" not in node.versions(["some-plugin"])


def test_no_cluster_at_an_address(toy):
    output = toy(*RUN, "--executor", "ray", "--address", "127.0.0.1:1", code=2)
    assert "executor ray: no cluster at 127.0.0.1:1 (" in output.splitlines()[-1]
    output = toy(*RUN, "--address", "127.0.0.1:1", code=2)
    assert "--address 127.0.0.1:1: the executor local computes on this machine" in output

"""What runs on the nodes of a cluster, in processes that Ray starts there."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from harness.execution.supervise import Worker
from harness.hooks.loader import GROUP
from harness.jobs.spec import JobSpec, SessionSpec
from harness.store.store import Store
from harness.system import child, messages
from harness.system.threads import CORES, ENVIRONMENT
from harness.types.executors import Problem

DATA = "HARNESS_NODE_DATA"
"""Where the datasets are on a node, if not where they are for the driver."""
COMPARED = ("histo-harness", "numpy", "scipy", "scikit-learn", "torch", "timm")
"""Packages whose versions results depend on. They, and those that plugins come from, must be the
same on all nodes."""


class KilledError(Exception):
    """The process that computed a group of jobs was killed; another node may have more memory."""


@dataclass(frozen=True)
class Task:
    """A group of jobs, and what a node needs to compute it."""

    session: Mapping[str, Any]
    """As ``SessionSpec.as_json`` returns it."""
    folder: str
    """The working folder of the driver."""
    files: Mapping[str, bytes]
    """The plugin files of the session, by their paths."""
    cores: int
    gpu: bool
    minutes: float | None
    kept: int
    """Processes that may stay for later tasks."""
    level: int
    """Of the messages that the driver wants."""
    jobs: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Done:
    """What became of a group of jobs."""

    problems: Mapping[str, Problem | None]
    """By digest of the job; None where the result is stored."""
    said: Sequence[tuple[str, int, str]]
    """What was logged: name of the logger, level, text."""
    node: str


@dataclass(frozen=True)
class Seen:
    """What a node has and sees."""

    node: str
    versions: Mapping[str, str]
    problem: str = ""


AT_ONCE = 2
"""Processes kept for each process of Ray, for models of two plugins in turn: to start another takes
seconds. One on a GPU, where each holds memory, and where memory is reserved for one."""


@dataclass
class _Kept:
    """The processes that compute, which stay for the next tasks of this process of Ray."""

    about: object = None
    workers: list[Worker] = field(default_factory=list)
    """The one that was used last is the last."""
    said: list[tuple[str, int, str]] = field(default_factory=list)


_kept = _Kept()


def versions(without: Sequence[str] = ()) -> dict[str, str]:
    """Versions of what results depend on, by package, as far as they are installed.

    ``without`` are plugins that are switched off, by their names or those of their distributions.
    """
    found = {}
    for point in metadata.entry_points(group=GROUP):
        if point.dist is not None and not {point.name, point.dist.name} & set(without):
            found[point.dist.name] = point.dist.version
    for name in COMPARED:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def look(store: str, token: str, without: Sequence[str]) -> Seen:
    """What this node has installed, and whether it sees the file that the driver wrote."""
    node, problem = socket.gethostname(), ""
    path = Path(store, token)
    try:
        if path.read_text("utf-8") != token:
            problem = f"{path} has another content there"
    except OSError as error:
        problem = f"{path}: {error.strerror}"
    return Seen(node, versions(without), problem)


def compute(task: Task) -> Done:
    """Compute a group of jobs in a process of its own, and store their results.

    Raises KilledError when that process was killed. What an earlier try has stored is not computed
    again.
    """
    jobs = [JobSpec.from_json(content) for content in task.jobs]
    worker = _worker(task, jobs[0])
    _kept.said.clear()
    stored = [job for job in jobs if job.key in worker.store]
    problems: dict[str, Problem | None] = {job.key.digest: None for job in stored}
    left = [job for job in jobs if job.key.digest not in problems]
    killed = child.how_it_died(child.KILLED)
    handler = messages.Forwarder(lambda sent: _kept.said.append(sent["log"]))
    with messages.handled(handler, task.level, bars=False):
        for job, problem in worker.compute(left) if left else ():
            if problem is not None and killed in problem.failure.why:
                raise KilledError(f"on node {socket.gethostname()}: {problem.failure.why}")
            problems[job.key.digest] = problem
    return Done(problems, tuple(_kept.said), socket.gethostname())


def estimate(task: Task) -> float | None:
    """Seconds that a fit takes on this node."""
    job = JobSpec.from_json(task.jobs[0])
    return _worker(task, job).estimate(job)


def _worker(task: Task, job: JobSpec) -> Worker:
    """The process for a task: one of those before, if it may use the same cores and GPU."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "") if task.gpu else ""
    about = (repr(sorted(task.session.items())), task.folder, task.cores, task.minutes, visible)
    if _kept.about != about:
        for one in _kept.workers:
            one.stop(politely=True)
        _kept.workers.clear()
        with contextlib.suppress(OSError):  # a node that has no such folder
            os.chdir(task.folder)
        _kept.about = about
    worker = min(reversed(_kept.workers), key=lambda one: one.cost(job), default=None)
    if worker is None or worker.cost(job) > 1:
        if len(_kept.workers) >= task.kept:
            _kept.workers.pop(0).stop(politely=True)
        session = _here(task)
        environment = {
            **dict.fromkeys(ENVIRONMENT, str(task.cores)),
            CORES: str(task.cores),
            "CUDA_VISIBLE_DEVICES": visible,
        }
        store = Store(Path(session.store))
        worker = Worker(session, store, task.minutes, environment=environment, bars=False)
    else:
        _kept.workers.remove(worker)
    _kept.workers.append(worker)
    return worker


def _here(task: Task) -> SessionSpec:
    """The session with the data folder of this node, and plugin files that are the driver's."""
    session = SessionSpec.from_json(task.session)
    plugins = {}
    for name, version in session.plugins.items():
        path, content = Path(name), task.files[name]
        if not (path.is_file() and path.read_bytes() == content):
            digest = hashlib.sha256(content).hexdigest()[:16]
            folder = Path(tempfile.gettempdir(), f"harness-plugins-{os.getuid()}", digest)
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / path.name
            draft = folder / f"{path.name}.{os.getpid()}"
            draft.write_bytes(content)
            draft.replace(path)
        plugins[str(path)] = version
    return replace(session, data=os.environ.get(DATA, session.data), plugins=plugins)

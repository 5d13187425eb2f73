"""What executors promise: to compute jobs as the harness does, and to say what went wrong."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.checks.bench import Bench
from harness.checks.outcome import Broken
from harness.errors import HarnessError, UnavailableError
from harness.execution.executor_guard import Guarded
from harness.jobs.session import versions
from harness.jobs.spec import JobSpec, SessionSpec
from harness.planning import planner
from harness.planning.plan import Request
from harness.store.store import Store
from harness.store.stored import verify
from harness.types.executors import Event, Executor, ExecutorOptions

WAIT = 120.0
"""Seconds after which a small job is taken to hang."""
TICK = 0.1


def listing(executor: Executor, bench: Bench, data: str | None = None) -> tuple[JobSpec, Any]:
    """The job that lists the test patches of a dataset, computed; and the event of it.

    ``data`` is the fingerprint that the dataset is said to have.
    """
    store = Store(bench.new_folder("store"))
    request = Request(datasets=[bench.dataset], models=[], data=bench.data)
    (job,) = planner.build(bench.registry, store, request).jobs.values()
    job = job if data is None else replace(job, data=data)
    session = SessionSpec(
        store=str(store.root),
        data=str(Path(bench.data).absolute()),
        plugins=versions(bench.registry),
        without=tuple(bench.without),
        refused=bench.registry.refused,
    )
    events: list[Event] = []
    try:
        started = Guarded(executor.name, lambda: executor.start(session, ExecutorOptions()), store)
        with started:
            where = getattr(started.base, "where", None)
            if not isinstance(where, str) or not where:
                raise Broken(f"where is {where!r}", "say what computes, in a few words")
            if not started.has_room:
                raise Broken("has_room is false before any job", "say true until it is full")
            started.submit([job])
            until = time.monotonic() + WAIT
            while not events or events[-1].job is not None:
                if time.monotonic() > until:
                    raise Broken(
                        f"a small job was not done after {WAIT:g} seconds",
                        "return from next an Event for each job, and one without a job at the end",
                    )
                if event := started.next(TICK):
                    events.append(event)
    except UnavailableError:
        raise
    except HarnessError as error:
        what, _, _ = str(error).partition("; report it")
        raise Broken(what, "keep to harness.types.executors.Execution") from error.__cause__
    if len(events) != 2:
        raise Broken("it ended a group without a word about its job", "tell of each job")
    if not events[0].problem:
        record = verify(store.folder(job.key))
        return job, {name: content["sha256"] for name, content in record["files"].items()}
    return job, events[0]


def computes(executor: Executor, bench: Bench) -> None:
    """It computes a job and stores the same files as the harness does."""
    job, found = listing(executor, bench)
    if isinstance(found, Event):
        why = found.problem.failure if found.problem else ""
        raise Broken(f"{job.label} failed: {why}", "let harness.jobs.run compute it")
    local = bench.registry.of(Executor).get("local")
    if local is not None and local is not executor:
        _, expected = listing(local, bench)
        if found != expected:
            raise Broken("what it stored are other files", "let harness.jobs.run compute them")


def failures(executor: Executor, bench: Bench) -> None:
    """A job that cannot be computed has an event that says why."""
    _, found = listing(executor, bench, data="of another dataset")
    if not isinstance(found, Event):
        raise Broken("a job that cannot be computed passed for done", "see harness.jobs.problem")
    json.dumps(str(found.problem and found.problem.failure))


EXECUTOR = (computes, failures)

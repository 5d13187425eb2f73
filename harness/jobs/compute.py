"""Computing jobs in this process, and saying in plain JSON what became of them."""

from __future__ import annotations

import io
import json
import shutil
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.hooks.guard import alone
from harness.jobs.kinds import dispatch
from harness.jobs.session import OpenSession
from harness.jobs.spec import JobSpec, SessionSpec, sweep_key
from harness.jobs.sweeps import store_all
from harness.store import failures
from harness.store.store import Store
from harness.store.stored import DamagedError
from harness.system import messages
from harness.types.executors import Problem

if TYPE_CHECKING:
    Answer = dict[str, Any]


def run(session: Mapping[str, Any], group: Sequence[Mapping[str, Any]]) -> list[Answer]:
    """Compute the jobs of a group in this process and store their results. For executors.

    ``session`` and the jobs are what ``as_json`` of their specs returns. The answers, one for each
    job in its order, are plain JSON too; ``problem`` reads them. The session stays open for the
    next group. Models of different plugins, ``owner`` in the jobs, and plugins that are not built
    in, ``guests``, ought to have processes of their own: they may change this one.
    """
    opened = _opened(json.dumps(session, sort_keys=True))
    jobs = [JobSpec.from_json(content) for content in group]
    found = {job.key.digest: wrong for job, wrong in compute(jobs, opened)}
    return [answer(job, found[job.key.digest], opened.store.root) for job in jobs]


@lru_cache(maxsize=1)
def _opened(session: str) -> OpenSession:
    with messages.silent():
        return OpenSession.open(SessionSpec.from_json(json.loads(session)))


def answer(job: JobSpec, wrong: BaseException | None, store: Path) -> Answer:
    """What became of a job, as plain JSON."""
    return {"digest": job.key.digest, **({} if wrong is None else described(wrong, store))}


def described(error: BaseException, store: Path) -> Answer:
    """What went wrong, as plain JSON."""
    return {
        "why": failures.reason(error, store),
        "traceback": "".join(traceback.format_exception(error))[-100_000:],
        "full": failures.disk_is_full(error),
        "damaged": error.folder.name if isinstance(error, DamagedError) else "",
    }


def problem(session: SessionSpec, answer: Mapping[str, Any]) -> Problem | None:
    """What an answer of ``run`` says that went wrong; None if the result is stored.

    The details are kept in the store.
    """
    if "why" not in answer:
        return None
    return problem_in(Store(Path(session.store)), answer, answer["traceback"])


def problem_in(store: Store, answer: Mapping[str, Any], details: str) -> Problem:
    """What an answer says that went wrong; ``details`` are kept in the store."""
    failure = failures.keep(store, answer["digest"], answer["why"], details)
    return Problem(failure, answer["full"], answer["damaged"])


def compute(
    group: Sequence[JobSpec], session: OpenSession, ready: Callable[[], Any] = lambda: None
) -> Iterator[tuple[JobSpec, BaseException | None]]:
    """Compute jobs together and store them; yields each with what went wrong, if anything.

    ``ready`` is called when the dataset is listed and the work begins.
    """
    store = session.store
    key = sweep_key(group) if group[0].group else group[0].key
    try:
        for job in group:
            session.check(job)
        if group[0].data and group[0].kind != "sum":
            # What a plugin prints while it lists patches was seen when the run was planned.
            nobody = io.StringIO()
            with messages.silent(), alone(), redirect_stdout(nobody), redirect_stderr(nobody):
                session.instance(group[0])
        ready()
        workspace = store.root
        if group[0].group:
            workspace = store.workspace_of_pass(key, [job.key for job in group])
        elif group[0].kind == "fit":
            workspace = store.workspace(key)
        with alone():
            for job in group:
                session.check_shared(job)
            finishes = dispatch(group, session, workspace)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also what is no Exception, such as a panic in Rust
        yield from ((job, error) for job in group)
        return
    yield from store_all(group, finishes, store, workspace)
    if group[0].group:
        shutil.rmtree(workspace, ignore_errors=True)

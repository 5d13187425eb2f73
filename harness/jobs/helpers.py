"""Other processes of this machine that take parts of a pass off this one.

Features of patches are thousands of short calls of numpy and OpenCV. Between two of them a thread
waits for the interpreter, so that two threads are hardly faster than one; two processes are twice
as fast. They only compute: what they do not answer, this process computes itself.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.util import Finalize
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from harness.hooks.guard import alone
from harness.jobs.spec import JobSpec
from harness.system import messages
from harness.system.child import die_with_parent
from harness.system.threads import cpu_count, one_thread_each

if TYPE_CHECKING:
    from harness.jobs.session import OpenSession

log = logging.getLogger(__name__)

WORTH = 4.0
"""Seconds of work that a process must take off this one: it starts in about 1.5 s of a core."""
MOST = 15
"""Processes at most, as each takes about 200 MB."""

Batch = NDArray[np.int64]
Answer = TypeVar("Answer")
Build = Callable[[Sequence[JobSpec], "OpenSession"], Callable[[Batch], Answer]]
"""A function of a module: returns what computes batches of a pass, in a session of its own."""


class Helpers:
    """The processes. They stay for the next pass, until they are stopped or this process ends."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None
        self._free = threading.Semaphore(0)
        self.n = 0
        """How many there are."""

    def start(self, seconds: float) -> None:
        """Start as many as are worth it when so much is left for one core.

        In a thread that stays, as they end with the thread that has started them.
        """
        n = min(cpu_count() - 1, MOST, int(seconds / WORTH))
        if n > 0:
            self._free = threading.Semaphore(0)
            level = messages.LOGGER.getEffectiveLevel()
            self._pool = ProcessPoolExecutor(n, get_context("spawn"), _begin, (level,))
            for _ in range(n):
                self._pool.submit(_is_there).add_done_callback(self._started)
            self.n = n
            log.debug(f"{n} more processes are started to help")

    def ask(self, task: _Task, batch: Batch) -> Any:
        """What another process computes; None if none has time, and if it failed there."""
        if self._pool is None or not self._free.acquire(blocking=False):
            return None
        try:
            said, answer = self._pool.submit(_compute, task, batch).result()
        except BrokenProcessPool:  # all have ended, and none is free again
            return None
        self._free.release()
        for message in said if answer is not None else ():
            messages.relay(message)
        return answer

    def stop(self) -> None:
        """End the processes; to be called between two passes."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool, self.n = None, 0

    def _started(self, answer: Future[None]) -> None:
        if not answer.cancelled() and answer.exception() is None:
            self._free.release()


@dataclass(frozen=True)
class _Task:
    """What a process needs to do its part of a pass."""

    name: str
    build: Build[Any]
    session: str
    jobs: tuple[Mapping[str, Any], ...]


class Shared(Generic[Answer]):
    """The work of a pass, done by this process and by those that help.

    ``here`` computes batches in this process; ``build`` returns what does the same in another. What
    ``is_complete`` says of an answer from there decides whether it is taken; if not, the batch is
    computed here, and what is wrong with it shows.
    """

    def __init__(
        self,
        jobs: Sequence[JobSpec],
        session: OpenSession,
        build: Build[Answer],
        here: Callable[[Batch], Answer],
        is_complete: Callable[[Answer], bool],
    ) -> None:
        self.here = here
        self.helpers = session.helpers
        self._is_complete = is_complete
        self._task = None
        if session.spec is not None:
            opened_by = json.dumps(session.spec.as_json())
            given = tuple(job.as_json() for job in jobs)
            self._task = _Task(uuid.uuid4().hex, build, opened_by, given)
        self._cost = 0.0
        self._one_here = threading.Lock()

    def get_help(self, batches: float) -> None:
        """Start processes, if so many batches are left that they are worth it."""
        if self._task is not None and not self.helpers.n:
            self.helpers.start(batches * self._cost)

    def __call__(self, batch: Batch) -> Answer:
        """Compute a batch, elsewhere or here."""
        if self._task is not None:
            answer = self.helpers.ask(self._task, batch)
            if answer is not None and self._is_complete(answer):
                return cast(Answer, answer)
        # Two threads of this process would only keep those that start from starting.
        with self._one_here if self.helpers.n else nullcontext():
            before = time.thread_time()
            computed = self.here(batch)
            self._cost = time.thread_time() - before
            return computed


_doing: tuple[str, Callable[[Batch], Any] | None] = ("", None)
"""In a process that helps: the name of a task, and what computes its batches."""
_said: list[Any] = []
_limits = ExitStack()


def _begin(level: int) -> None:
    """In a process that helps: what holds as long as it lives."""
    die_with_parent()
    Finalize(None, os._exit, (0,), exitpriority=100)  # there is nothing to clear up
    _limits.enter_context(one_thread_each())
    messages.LOGGER.propagate = False
    messages.LOGGER.addHandler(messages.Forwarder(lambda sent: _said.append(sent["log"])))
    messages.LOGGER.setLevel(level)


def _is_there() -> None:
    """What a process answers first."""


def _compute(task: _Task, batch: Batch) -> tuple[list[Any], Any]:
    """What was logged, and the answer; None for one that cannot be had."""
    from harness.jobs.compute import opened  # which imports all kinds of jobs, and they this module

    global _doing
    try:
        if _doing[0] != task.name:
            _doing = task.name, None
            with messages.silent():
                jobs = [JobSpec.from_json(content) for content in task.jobs]
                _doing = task.name, task.build(jobs, opened(task.session))
        _said.clear()
        with alone():
            return _said, _doing[1](batch) if _doing[1] else None
    except (Exception, SystemExit):
        return [], None

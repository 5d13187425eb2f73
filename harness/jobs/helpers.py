"""Other processes of this machine that take parts of a pass off the worker.

Features of patches are thousands of short calls of numpy and OpenCV. Between two of them a thread
waits for the interpreter, so that two threads are hardly faster than one; two processes are twice
as fast. Helpers only compute: what they do not answer, the worker computes itself, and so shows
what is wrong with it. ``harness.jobs.helper`` is at the other end.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from harness.jobs.spec import JobSpec, SessionSpec
from harness.system import messages, progress
from harness.system.child import Child, NoAnswerError
from harness.system.threads import CORES, ENVIRONMENT, cpu_count

log = logging.getLogger(__name__)

SECONDS_WORTH = 4.0
"""Seconds of work that a helper must take off the worker: it starts in about 1.5 s of a core."""
MOST = 15
"""Helpers at most, as each takes about 200 MB."""
TICK = 0.5
"""Seconds between two looks at whether a helper is alive."""

Batch = NDArray[np.int64]
Answer = TypeVar("Answer")


class Helpers:
    """The helpers of a worker. They stay for the next pass, until they are stopped."""

    def __init__(self, session: SessionSpec) -> None:
        self.session = session
        self.n = 0
        """How many there are, those that start included."""
        self._started = False
        self._free: list[_Helper] = []
        self._all: list[_Helper] = []
        self._lock = threading.Lock()

    def start(self, seconds: float) -> None:
        """Start as many as are worth it when so much is left for one core to compute.

        Only once, until they are stopped: what is lost is not replaced.

        To be called from the main thread: on Linux a process ends with the thread that started it.
        """
        n = min(cpu_count() - 1, MOST, int(seconds / SECONDS_WORTH))
        if self._started or n < 1:
            return
        self._started = True
        setup = {"session": self.session.as_json(), "level": messages.LOGGER.getEffectiveLevel()}
        # OpenMP has one thread there, as in the threads of a pass here.
        environment = {**os.environ, **ENVIRONMENT, CORES: "1"}
        for _ in range(n):
            try:
                one = _Helper(Child("harness.jobs.helper:work", environment=environment))
            except OSError as error:
                log.debug(f"no process can be started to help ({error.strerror})")
                break
            self.n += 1
            self._all.append(one)
            threading.Thread(target=self._open, args=(one, setup), daemon=True).start()
        log.debug(f"{self.n} more processes are started to help")

    def ask(self, work: Shared[Any], batch: Batch) -> tuple[Any, list[Any]]:
        """What a helper computes of a batch, and what it logged meanwhile.

        None if none has time, and if it failed there.
        """
        with self._lock:
            if not self._free:
                return None, []
            one = self._free.pop()
        given: dict[str, Any] = {"name": work.name, "batch": batch.tolist()}
        if one.doing != work.name:
            given["jobs"] = [job.as_json() for job in work.jobs]
            one.doing = work.name
        try:
            answer, said = one.ask("compute", given)
        except NoAnswerError:
            self._lose(one)
            return None, []
        with self._lock:
            self._free.append(one)
        return answer, said

    def stop(self) -> None:
        """End the processes; to be called between two passes."""
        for one in self._all:
            one.child.kill()
        self._all, self._free, self.n = [], [], 0
        self._started = False

    def _open(self, one: _Helper, setup: dict[str, Any]) -> None:
        try:
            opened, _ = one.ask("open", setup)
        except NoAnswerError:
            opened = None
        if opened is None:
            self._lose(one)
        else:
            with self._lock:
                self._free.append(one)

    def _lose(self, one: _Helper) -> None:
        with self._lock:
            self.n = max(0, self.n - 1)
        with contextlib.suppress(Exception):
            one.child.kill()


class _Helper:
    """A process that helps, and the name of the work that it has begun."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.doing = ""

    def ask(self, command: str, given: dict[str, Any]) -> tuple[Any, list[Any]]:
        """What it answers, and what it logged. Raises NoAnswerError when it is gone."""
        said: list[Any] = []
        try:
            self.child.ask([command, given])
        except (OSError, ValueError) as error:
            raise NoAnswerError from error
        while True:
            try:
                answer = self.child.answer(TICK)
            except queue.Empty:
                continue
            if answer is None:
                raise NoAnswerError
            if "log" not in answer:
                return answer.get("answer"), said
            if answer["log"][0] == progress.log.name:  # how far it is; it is worth nothing later
                messages.relay(answer["log"])
            else:
                said.append(answer["log"])


class Shared(Generic[Answer]):
    """The work of a pass, done by this process and by those that help.

    ``here`` computes a batch in this process. ``read`` makes the same of the JSON that a helper
    answers, or None if the batch is to be computed here.
    """

    def __init__(
        self,
        jobs: Sequence[JobSpec],
        helpers: Helpers | None,
        here: Callable[[Batch], Answer],
        read: Callable[[Any], Answer | None],
    ) -> None:
        self.jobs = jobs
        self.helpers = helpers
        self.name = uuid.uuid4().hex
        self._here = here
        self._read = read
        self._cost = 0.0
        """Seconds of a core that the last batch took in this process."""
        self._one_here = threading.Lock()

    def get_help(self, batches: float) -> None:
        """Start helpers, if so many batches are left that they are worth it."""
        if self.helpers is not None:
            self.helpers.start(batches * self._cost)

    def __call__(self, batch: Batch) -> Answer:
        """Compute a batch, elsewhere or here."""
        if self.helpers is not None:
            answer, said = self.helpers.ask(self, batch)
            read = None if answer is None else self._read(answer)
            if read is not None:
                for message in said:
                    messages.relay(message)
                return read
        # Two threads of this process would only keep those that start from starting.
        with self._one_here if self.helpers is not None and self.helpers.n else nullcontext():
            before = time.thread_time()
            computed = self._here(batch)
            self._cost = time.thread_time() - before
            return computed

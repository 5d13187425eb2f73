"""The process that helps a worker with a pass. It writes nothing: see ``harness.jobs.helpers``."""

from __future__ import annotations

import faulthandler
from collections.abc import Callable
from typing import Any

import numpy as np

from harness.hooks.guard import alone
from harness.jobs.kinds import HELPED
from harness.jobs.session import OpenSession
from harness.jobs.spec import JobSpec, SessionSpec
from harness.system import messages
from harness.system.child import channels
from harness.system.threads import one_thread_each


def work() -> int:
    """Answer questions until the worker is gone. What fails is answered by None."""
    receive, tell = channels()
    faulthandler.enable()
    messages.LOGGER.addHandler(messages.Forwarder(tell))
    messages.LOGGER.propagate = False
    opened: OpenSession | None = None
    compute: Callable[[Any], Any] | None = None
    with one_thread_each() as limits:
        while True:
            command, given = receive()
            answer: Any = None
            try:
                if command == "open":
                    with messages.silent():
                        opened = OpenSession.open(SessionSpec.from_json(given["session"]))
                    messages.LOGGER.setLevel(given["level"])
                    answer = True
                elif opened is not None:
                    if "jobs" in given:
                        compute = None
                        jobs = [JobSpec.from_json(content) for content in given["jobs"]]
                        with messages.silent():
                            compute = HELPED[jobs[0].kind](jobs, opened)
                    if not limits.are_complete():
                        limits.complete()
                    if compute is not None:
                        with alone():
                            answer = compute(np.array(given["batch"], np.int64))
            except KeyboardInterrupt:
                return 130
            except BaseException:  # the worker tries it, and says what is wrong
                answer = None
            tell({"answer": answer})

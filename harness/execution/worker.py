"""The process that computes jobs. It plans nothing: it gets a session once, and jobs after.

``harness.execution.supervise`` is at the other end.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import io
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import TextIO, cast

from harness.jobs import fit
from harness.jobs.compute import answer, compute, described
from harness.jobs.helpers import Helpers
from harness.jobs.session import OpenSession
from harness.jobs.spec import JobSpec, SessionSpec
from harness.system import messages, progress
from harness.system.child import Tell, channels


def work() -> int:
    """Answer commands until the other end says that it is enough, or is gone."""
    receive, tell = channels()
    faulthandler.enable()
    if hasattr(signal, "SIGUSR1"):  # asked where it is before it is ended for taking too long
        faulthandler.register(signal.SIGUSR1, all_threads=True)
    session: OpenSession | None = None
    marker = b""
    messages.LOGGER.addHandler(messages.Forwarder(tell))
    messages.LOGGER.propagate = False
    try:
        while True:
            command, given = receive()
            if command == "open":
                marker = given["marker"].encode()
                try:
                    with messages.silent():
                        spec = SessionSpec.from_json(given["session"])
                        session = OpenSession.open(spec)
                        session.helpers = Helpers(spec)
                except Exception as error:
                    traceback.print_exc()
                    tell(described(error, Path()))
                messages.LOGGER.setLevel(given["level"])
                progress.shown = given["terminal"]
                progress.instead = cast(TextIO, _Terminal(tell, given["terminal"]))
            elif command == "estimate":
                assert session is not None
                tell({"seconds": fit.estimate(JobSpec.from_json(given), session)})
            elif command == "compute":
                assert session is not None
                jobs = [JobSpec.from_json(content) for content in given]
                for job, wrong in compute(jobs, session, lambda: tell({"ready": True})):
                    tell(answer(job, wrong, session.store.root))
            else:
                if session is not None and session.helpers is not None:
                    session.helpers.stop()
                return 0
            _flush(marker)
            tell({"done": True})
    except KeyboardInterrupt:
        _flush(marker)
        os._exit(130)  # a thread of a pass may be in a plugin's code, for long


def _flush(marker: bytes) -> None:
    """Let go of what Python and C still hold back, and mark the end of it."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    with contextlib.suppress(Exception):
        ctypes.CDLL(None).fflush(None)
    with contextlib.suppress(OSError):
        os.write(2, marker)


class _Terminal(io.TextIOBase):
    """The user's terminal at the other end, for bars."""

    def __init__(self, send: Tell, is_terminal: bool) -> None:
        self.send = send
        self.is_terminal = is_terminal

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """For ``tqdm``, which draws with blocks if it may."""
        return "utf-8"

    def isatty(self) -> bool:
        """Whether bars can be drawn."""
        return self.is_terminal

    def write(self, text: str) -> int:
        """Send text; it is shown at once."""
        self.send({"draw": text})
        return len(text)

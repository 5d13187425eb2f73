"""The process that computes jobs. It plans nothing: it gets a session once, and jobs after.

``harness.supervise`` is at the other end.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import io
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, TextIO, cast

from harness import failures, messages, progress
from harness.boundary import alone
from harness.child import Tell, channels
from harness.jobs import dispatch, fit
from harness.jobs.session import OpenSession
from harness.jobs.spec import JobSpec, SessionSpec
from harness.jobs.sweeps import store_all
from harness.plan import sweep_key
from harness.stored import DamagedError


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
                        session = OpenSession.open(SessionSpec.from_json(given["session"]))
                except Exception as error:
                    traceback.print_exc()
                    tell(_problem(error, Path()))
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
                    said = _problem(wrong, session.store.root) if wrong else {}
                    tell({"digest": job.key.digest, **said})
            else:
                return 0
            _flush(marker)
            tell({"done": True})
    except KeyboardInterrupt:
        return 130


def _problem(error: BaseException, folder: Path) -> dict[str, Any]:
    return {
        "why": failures.reason(error, folder),
        "traceback": "".join(traceback.format_exception(error))[-100_000:],
        "full": failures.disk_is_full(error),
        "damaged": error.folder.name if isinstance(error, DamagedError) else "",
    }


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
        keeps = group[0].group or group[0].kind == "fit"
        workspace = store.workspace(key) if keeps else store.root
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

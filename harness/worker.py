"""The process that computes: it makes the plan of a command line and does as it is told.

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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO, cast

from harness import failures, progress
from harness.boundary import alone
from harness.child import Tell, channels
from harness.plan import Job, seconds, sweep_key
from harness.store import Store
from harness.stored import DamagedError
from harness.sweeps import Finish


def work() -> int:
    """Answer commands until the other end says that it is enough, or is gone."""
    receive, tell = channels()
    faulthandler.enable()
    if hasattr(signal, "SIGUSR1"):  # asked where it is before it is ended for taking too long
        faulthandler.register(signal.SIGUSR1, all_threads=True)
    jobs: dict[str, Job] = {}
    store: Store | None = None
    marker = b""
    try:
        while True:
            command, given = receive()
            if command == "plan":
                marker = given["marker"].encode()
                try:
                    jobs, store = _plan(given["arguments"], given["left_out"], given["refused"])
                except Exception as error:
                    traceback.print_exc()
                    tell(_problem(error, Path()))
                progress.instead = cast(TextIO, _Terminal(tell, given["terminal"]))
            elif command == "estimate":
                tell({"seconds": seconds(jobs[given]) if given in jobs else None})
            elif command == "compute":
                assert store is not None
                for digest in set(given) - set(jobs):
                    tell(
                        {"digest": digest, "why": "is not planned any more; run the command again"}
                    )
                known = [jobs[digest] for digest in given if digest in jobs]
                for job, wrong in compute(known, store) if known else ():
                    said = _problem(wrong, store.root) if wrong else {}
                    tell({"digest": job.key.digest, **said})
            else:
                return 0
            _flush(marker)
            tell({"done": True})
    except KeyboardInterrupt:
        return 130


def _plan(
    arguments: Sequence[str], left_out: list[str], refused: dict[str, str]
) -> tuple[dict[str, Job], Store]:
    """The plan, without a word: the other end has made the same and said all there is to say."""
    from harness.cli import parse

    progress.instead = io.StringIO()
    options = parse(arguments)
    options.left_out = left_out
    options.refused = refused
    # A plugin may change the working folder.
    options.store = options.store.absolute()
    options.data = options.data and Path(options.data).absolute()
    plan, store = options.plan(options)
    return plan.jobs, store


def _problem(error: BaseException, folder: Path) -> dict[str, Any]:
    return {
        "why": failures.reason(error, folder),
        "traceback": "".join(traceback.format_exception(error))[-100_000:],
        "full": failures.disk_is_full(error),
        "damaged": error.folder.name if isinstance(error, DamagedError) else "",
    }


def compute(group: Sequence[Job], store: Store) -> Iterator[tuple[Job, BaseException | None]]:
    """Compute jobs together and store them; yields each with what went wrong, if anything."""
    sweep = group[0].sweep
    finishes: Sequence[Finish]
    workspace: Path | None = None
    try:
        if sweep is None:
            assert group[0].compute is not None
            finishes = [group[0].compute]
        else:
            workspace = store.workspace(sweep_key(group))
            with alone():
                finishes = sweep.run([job.part for job in group], workspace)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also what is no Exception, such as a panic in Rust
        yield from ((job, error) for job in group)
        return
    for job, finish in zip(group, finishes, strict=True):
        try:
            with store.write(job.key) as (folder, record):
                with alone():
                    record |= finish(folder)
                record["needs"] = [key.digest for key in job.needs]
        except (Exception, SystemExit) as error:
            yield job, error
        else:
            yield job, None
    if workspace is not None:
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
    """The user's terminal, or what stands in its place, at the other end."""

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
        self.send({"say": text})
        return len(text)

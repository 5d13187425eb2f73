"""Messages and progress: what a user sees while something runs.

Messages are logged (``harness.messages``). Progress is a bar on a terminal, and a message every 30
seconds elsewhere.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TextIO, TypeVar

T = TypeVar("T")
LINE_EVERY = 30.0
_last_line = time.monotonic()  # over all loops: an epoch may take less than the interval
log = logging.getLogger(__name__)
WARNING = "WARNING: "

shown = False
"""Whether bars are drawn: the command line does, a library does not unless it is asked to."""
instead: TextIO | None = None
"""Where bars are drawn if not on standard error: set where that is not the user's terminal."""


def terminal() -> TextIO:
    """Where bars and the messages of the command line go."""
    return instead or sys.stderr or io.StringIO()  # without a standard error, to nobody


def say(message: str) -> None:
    """Log a message of a plugin: a warning if it begins with "WARNING: "."""
    if message.startswith(WARNING):
        log.warning("%s", message.removeprefix(WARNING))
    else:
        log.info("%s", message)


def draws(file: TextIO) -> bool:
    """Whether bars are drawn there: on a terminal that can move its cursor."""
    return shown and file.isatty() and os.environ.get("TERM") != "dumb"


@contextlib.contextmanager
def above_bars(file: TextIO) -> Iterator[None]:
    """A context in which lines can be printed: bars are taken away, and drawn again after it."""
    if not draws(file):
        yield
        return
    from tqdm import tqdm

    with tqdm.external_write_mode(file=file):
        yield


def progress(items: Iterable[T], *, total: int | None = None, label: str = "") -> Iterator[T]:
    """Pass items on and show how far along they are: a bar, or a message every 30 seconds."""
    file = terminal()
    if draws(file):
        from tqdm import tqdm

        yield from tqdm(items, total=total, desc=label, leave=False, file=file)
        return
    global _last_line
    for done, item in enumerate(items, 1):
        yield item
        if time.monotonic() - _last_line > LINE_EVERY:
            _last_line = time.monotonic()
            log.info(f"  {label}: {done}" + (f" of {total}" if total else ""))


def duration(seconds: float) -> str:
    """Seconds as a person would say them: "3 s", "5 min", "2.5 h", "11 days"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.0f} days"

"""Messages and progress: what a user sees while something runs.

Messages are logged (``harness.system.messages``). Progress is a bar on a terminal, and a message
every 30 seconds elsewhere.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import time
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, TextIO, TypeVar

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


def in_notebook() -> bool:
    """Whether this process computes the cells of a notebook."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """A context in which nothing is shown."""
    global instead
    before, instead = instead, io.StringIO()
    try:
        yield
    finally:
        instead = before


def notebook_bar(total: int | None = None, items: Iterable[Any] | None = None) -> Any:
    """A bar of ``tqdm`` for a notebook, a line of text where ipywidgets is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that ipywidgets is not installed
        from tqdm.auto import tqdm
    return tqdm(items, total=total, leave=False)


def progress(items: Iterable[T], *, total: int | None = None, label: str = "") -> Iterator[T]:
    """Pass items on and show how far along they are: a bar, or a message every 30 seconds."""
    if in_notebook() and instead is None:
        bar = notebook_bar(total, items)
        bar.set_description(label)
        yield from bar
        return
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

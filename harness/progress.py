"""What a user sees while something runs: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, TextIO, TypeVar

from harness.errors import printable

T = TypeVar("T")
LINE_EVERY = 30.0
_last_line = time.monotonic()  # over all loops: an epoch may take less than the interval

instead: TextIO | None = None
"""Where messages go if not to standard error: set where that is not the user's terminal."""


def terminal() -> TextIO:
    """Where messages go."""
    return instead or sys.stderr or io.StringIO()  # without a standard error, to nobody


def say(message: str) -> None:
    """Print a line to standard error, above a progress bar if there is one.

    Control characters, which may come from a server or a file, are left out.
    """
    file, message = terminal(), printable(message)
    if draws(file):
        from tqdm import tqdm

        tqdm.write(message, file=file)
    else:
        print(message, file=file, flush=True)


def draws(file: TextIO) -> bool:
    """Whether bars can be drawn there: on a terminal that can move its cursor."""
    return file.isatty() and os.environ.get("TERM") != "dumb"


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
    """Pass items on and show how far along they are: a bar, or a line every 30 seconds."""
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
            say(f"  {label}: {done}" + (f" of {total}" if total else ""))


def duration(seconds: float) -> str:
    """Seconds as a person would say them: "3 s", "5 min", "2.5 h", "11 days"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.0f} days"

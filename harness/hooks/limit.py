"""A time limit on a plugin's code that runs in this process: a list, a probe of models, a hook."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from threading import main_thread
from types import FrameType

from harness.errors import HarnessError

TICKS = 10
"""Parts of the limit that are counted one by one."""
GRACE = 10.0
"""Seconds after the limit that compiled code gets to come back."""


@contextmanager
def limited(minutes: float | None) -> Iterator[None]:
    """Raise HarnessError in what takes longer. Time in which the process is stopped hardly counts.

    That is possible in Python code of the main thread, and not on Windows; elsewhere there is no
    limit. Where compiled code does not return to be told, the command ends with a message, unless
    that code lets no other thread run. What computes results has a process of its own, which can be
    ended whatever it does.
    """
    main = threading.current_thread() is main_thread()
    if minutes is None or not main or not hasattr(signal, "setitimer"):
        yield
        return

    ticks = 0

    def tick(number: int, frame: FrameType | None) -> None:
        nonlocal ticks
        ticks += 1  # one, however many are due when a stopped process goes on
        if ticks != TICKS:
            return
        raise HarnessError(_said(minutes, frame))

    over = threading.Event()
    watch = threading.Thread(target=_end, args=(over, minutes, main_thread()), daemon=True)
    watch.start()
    before = signal.signal(signal.SIGALRM, tick)
    signal.setitimer(signal.ITIMER_REAL, 60 * minutes / TICKS, 60 * minutes / TICKS)
    try:
        yield
    finally:
        over.set()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _said(minutes: float, frame: FrameType | None) -> str:
    where = f" (in {frame.f_code.co_filename}:{frame.f_lineno})" if frame else ""
    return (
        f"took longer than the {minutes:g} min of --time-limit{where}; "
        "report it to the plugin's author or give it more time"
    )


def _end(over: threading.Event, minutes: float, main: threading.Thread) -> None:
    """End the command when it is not over long after the limit, whatever the main thread does."""
    left = 60 * minutes + GRACE
    while left > 0:
        if over.wait(min(1.0, left)):
            return
        left -= 1.0  # also where the process was stopped meanwhile
    frame = sys._current_frames().get(main.ident or 0)
    print(f"harness: error: a plugin {_said(minutes, frame)}", file=sys.stderr, flush=True)
    os._exit(1)

"""A time limit on a plugin's code that runs in this process: a list, a probe of models, a hook."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from harness.errors import HarnessError

TICKS = 10
"""Parts of the limit that are counted one by one."""


@contextmanager
def limited(minutes: float | None) -> Iterator[None]:
    """Raise HarnessError in what takes longer. Time in which the process is stopped hardly counts.

    That is possible in Python code of the main thread, and not on Windows; elsewhere there is no
    limit. What computes results has a process of its own, which can be ended whatever it does.
    """
    main = threading.current_thread() is threading.main_thread()
    if minutes is None or not main or not hasattr(signal, "setitimer"):
        yield
        return

    ticks = 0

    def tick(number: int, frame: FrameType | None) -> None:
        nonlocal ticks
        ticks += 1  # one, however many are due when a stopped process goes on
        if ticks != TICKS:
            return
        where = f" (in {frame.f_code.co_filename}:{frame.f_lineno})" if frame else ""
        raise HarnessError(
            f"took longer than the {minutes:g} min of --time-limit{where}; "
            "report it to the plugin's author or give it more time"
        )

    before = signal.signal(signal.SIGALRM, tick)
    signal.setitimer(signal.ITIMER_REAL, 60 * minutes / TICKS, 60 * minutes / TICKS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

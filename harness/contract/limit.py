"""A promise may hang; the others are to be seen all the same."""

from __future__ import annotations

import faulthandler
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from harness.contract.outcome import Broken

GRACE = 5.0
"""Seconds after which a process is ended in which nothing can be raised."""


@contextmanager
def limited(minutes: float | None) -> Iterator[None]:
    """Raise Broken in what takes longer than this.

    In compiled code that never returns to Python, and on Windows, nothing can be raised: there
    the process says where it is and ends.
    """
    if minutes is None:
        yield
        return

    def late(number: int, frame: FrameType | None) -> NoReturn:
        where = f" ({frame.f_code.co_filename}:{frame.f_lineno})" if frame else ""
        raise Broken(
            f"took longer than the {minutes:g} min of --time-limit{where}",
            "let it come to an end, or give it more time",
        )

    can_raise = hasattr(signal, "SIGALRM") and threading.current_thread() is threading.main_thread()
    faulthandler.dump_traceback_later(60 * minutes + (GRACE if can_raise else 0), exit=True)
    before = signal.signal(signal.SIGALRM, late) if can_raise else None
    if can_raise:
        signal.setitimer(signal.ITIMER_REAL, 60 * minutes)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        if can_raise:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

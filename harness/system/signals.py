"""Signals: Ctrl-C, SIGTERM and SIGHUP end a command in one line; Ctrl-Z stops what it computes too.

A signal that is ignored from the start stays ignored, as with ``nohup`` and in the background.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any

groups: set[int] = set()
"""Process groups of our children: they are stopped and continued with this process."""
LONGEST_TICK = 1.0
"""Seconds between two looks at a stopwatch that count at most."""
ENDS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
ENDING = [-number for number in ENDS]
"""Codes of processes that were ended by the signals that end a command."""
_received = 0
_leaving = False


def listen() -> None:
    """From here on, let SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt in the main thread."""
    for number in ENDS:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _end)
    if hasattr(signal, "SIGTSTP") and signal.getsignal(signal.SIGTSTP) == signal.SIG_DFL:
        signal.signal(signal.SIGTSTP, _stop)
    sys.unraisablehook = _unraisable
    atexit.register(_exit)  # the first to be registered is the last to be called


def received() -> bool:
    """Whether a signal asked this process to end: then no other error is worth a word."""
    return bool(_received)


def ignore() -> None:
    """From here on, let Ctrl-C change nothing, also while Python ends: all is done."""
    for number in ENDS:
        if number != signal.SIGTERM and signal.getsignal(number) == _end:
            signal.signal(number, signal.SIG_IGN)


def leave() -> int:
    """Say in a line why the command ends, and return its exit code."""
    global _leaving
    ignore()
    _leaving = True
    number = _received or signal.SIGINT
    what = "interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}"
    print(
        f"\nharness: {what}; finished results are kept, the same command goes on from here",
        file=sys.stderr,
    )
    return 128 + number


class Stopwatch:
    """Seconds that pass while this process runs, those left out in which it is stopped.

    It must be looked at all the time: of a gap between two looks, only LONGEST_TICK counts.
    """

    def __init__(self) -> None:
        self._seconds = 0.0
        self._last = time.monotonic()

    def seconds(self) -> float:
        """The seconds until now."""
        now = time.monotonic()
        self._seconds += min(now - self._last, LONGEST_TICK)
        self._last = now
        return self._seconds


def _exit() -> None:
    """Where a signal ended the command, end the process with that exit code.

    Python itself forgets it, and kills the process by SIGINT, where KeyboardInterrupt has passed
    through ``exec`` of a text, as dataclasses use it.
    """
    if _leaving:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(128 + (_received or signal.SIGINT))


def _end(number: int, frame: FrameType | None) -> None:
    global _received
    _received = _received or number
    if _leaving:
        os._exit(128 + _received)
    raise KeyboardInterrupt


def _stop(number: int, frame: FrameType | None) -> None:
    """Stop our children, then this process; continue them when it is continued."""
    stopped = set(groups)
    for action in (signal.SIGSTOP, signal.SIGCONT):
        for group in stopped:
            with contextlib.suppress(OSError):  # it has ended
                os.killpg(group, action)
        if action == signal.SIGSTOP:
            os.kill(os.getpid(), signal.SIGSTOP)


def _unraisable(found: Any) -> None:
    """Where Python tidies up, it drops exceptions with a word: an interrupt is raised once more."""
    if issubclass(found.exc_type, KeyboardInterrupt) and _received:
        again = threading.Timer(0.05, os.kill, (os.getpid(), _received))
        again.daemon = True
        again.start()
    else:
        sys.__unraisablehook__(found)

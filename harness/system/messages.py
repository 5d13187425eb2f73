"""Where log messages go: the terminal of a command, or the process that started this one.

The package logs under the name ``harness``, as any library: in a script or a notebook, warnings are
shown, and ``logging.basicConfig(level=logging.INFO)`` shows the rest. The command line shows
messages as plain lines on standard error.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any

from harness.errors import printable
from harness.system import progress

LOGGER = logging.getLogger("harness")
LEVELS = {"quiet": logging.WARNING, "normal": logging.INFO, "verbose": logging.DEBUG}
"""By what the user asked for with ``--quiet`` and ``--verbose``."""
PREFIXES = {logging.DEBUG: "DEBUG: ", logging.WARNING: "WARNING: "}
SILENT = logging.CRITICAL + 1


class ConsoleHandler(logging.Handler):
    """Prints each message as a line on standard error, above progress bars if there are any.

    Control characters, which may come from a server or a file, are left out. What was printed to
    standard output before comes first, also where both go to one file.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Print a message."""
        text = PREFIXES.get(record.levelno, "") + printable(record.getMessage())
        file = progress.terminal()
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or none
            sys.stdout.flush()
        with progress.above_bars(file):
            print(text, file=file, flush=True)


class Forwarder(logging.Handler):
    """Sends each message to the process that started this one, which logs it."""

    def __init__(self, tell: Callable[[dict[str, Any]], None]) -> None:
        super().__init__()
        self.tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        """Send a message."""
        with progress.above_bars(progress.terminal()):
            self.tell({"log": [record.name, record.levelno, record.getMessage()]})


def relay(sent: tuple[str, int, str]) -> None:
    """Log what a ``Forwarder`` has sent."""
    name, level, text = sent
    logging.getLogger(name).log(level, "%s", text)


@contextlib.contextmanager
def handled(handler: logging.Handler, level: int, *, bars: bool) -> Iterator[None]:
    """Let a handler have all messages from a level on, and no other; with ``bars``, show these."""
    before = LOGGER.level, LOGGER.propagate, LOGGER.handlers[:], progress.shown
    LOGGER.setLevel(level)
    LOGGER.propagate = False
    LOGGER.handlers[:] = [handler]
    progress.shown = bars
    try:
        yield
    finally:
        LOGGER.setLevel(before[0])
        LOGGER.propagate = before[1]
        LOGGER.handlers[:] = before[2]
        progress.shown = before[3]


@contextlib.contextmanager
def silent(least: int = SILENT) -> Iterator[None]:
    """No bars, and no messages below a level: by default none, as where another process does the
    same and says all there is to say."""
    level, shown = LOGGER.level, progress.shown
    LOGGER.setLevel(max(least, level))
    progress.shown = False
    try:
        yield
    finally:
        LOGGER.setLevel(level)
        progress.shown = shown

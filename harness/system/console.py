"""Standard output and error, whatever they are: of any encoding, full, closed, or read by nobody.

What cannot be printed never costs a result: a character that the encoding lacks is replaced, and a
stream that takes no more is written to no more. ``finish`` says at the end what was lost.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import select
import sys
from typing import Any

LOOKALIKES = {
    "Δ": "Delta",
    "–": "-",
    "—": "-",
    "“": '"',
    "”": '"',
    "’": "'",
    "…": "...",
    "±": "+/-",
    "×": "x",
}
"""What is printed for a character that an encoding lacks; of others, the escape (``\\u0394``)."""
_HANDLER = "harness.lookalikes"


class _Device(io.FileIO):
    """A file descriptor. What cannot be written is dropped; ``error`` says why."""

    error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write some of the bytes; returns how many, all of them when they are dropped."""
        while self.error is None:
            try:
                written = super().write(data)
            except OSError as error:
                self.error = error
                break
            if written is not None:
                return written
            # Another program has made the terminal or the pipe non-blocking.
            select.select([], [self], [])
        return len(data)


_devices: dict[str, _Device] = {}


def prepare() -> None:
    """Make ``sys.stdout`` and ``sys.stderr`` of this process streams that never raise OSError.

    Where one of the descriptors 0, 1 and 2 is closed, it is opened on nothing: otherwise the next
    file that is opened would get its number, and what others print would be written to that file.
    """
    codecs.register_error(_HANDLER, _lookalikes)
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        buffer = getattr(stream, "buffer", None)
        raw = getattr(buffer, "raw", buffer)
        if stream is not None and type(raw) is not io.FileIO:  # such as the console of Windows
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors=_HANDLER)
            continue
        _devices[name] = device = _Device(number, "w", closefd=False)
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.flush()
        made = io.TextIOWrapper(
            io.BufferedWriter(device),
            encoding=stream.encoding if stream else "utf-8",
            errors=_HANDLER,
            line_buffering=stream.line_buffering if stream else True,
            write_through=stream.write_through if stream else False,
        )
        setattr(sys, name, made)


def finish() -> str:
    """Print what is still held back; returns why some of the output was lost, "" if none was.

    A reader that left, such as ``head``, has what it wanted: that is no loss.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):  # a stream that is not ours
                stream.flush()
    error = _devices["stdout"].error if "stdout" in _devices else None
    if error is None or error.errno == errno.EPIPE:
        return ""
    return f"standard output: {error.strerror}"


def unread() -> bool:
    """Whether nobody reads standard output any more."""
    return "stdout" in _devices and _devices["stdout"].error is not None


def _lookalikes(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    escaped = (LOOKALIKES.get(c) or c.encode("ascii", "backslashreplace").decode() for c in lacking)
    return "".join(escaped), error.end

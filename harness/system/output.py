"""What a process prints: the first part is kept in a file, the rest is counted and dropped."""

from __future__ import annotations

import io
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

KEPT = 2**20
"""Bytes that are kept of what one group of jobs prints."""
TAIL = 4000
"""Bytes of its end that are kept for the details of a failure."""


@dataclass(frozen=True)
class Printed:
    """How much was printed, and where the first part of it is."""

    size: int
    path: Path
    tail: str

    def text(self) -> str:
        """What is kept of it."""
        try:
            return self.path.read_text("utf-8", "replace")
        except OSError:  # a full disk
            return self.tail

    def __str__(self) -> str:
        if self.size <= KEPT:
            return f"{_bytes(self.size)}, see {self.path}"
        return f"{_bytes(self.size)}, the first {_bytes(KEPT)} are in {self.path}"


class Output(threading.Thread):
    """Reads a pipe to its end, so that whoever writes to it never waits for long.

    The writer puts ``marker`` after what belongs together: the pipe may well stay open after it,
    in a process that a plugin started and forgot.
    """

    def __init__(self, pipe: IO[bytes], marker: bytes) -> None:
        super().__init__(daemon=True)
        self.pipe = pipe
        self.marker = marker
        self.lock = threading.Lock()
        self.complete = threading.Event()
        self.begin(None)
        self.start()

    def begin(self, path: Path | None) -> None:
        """From here on, keep what comes in this file."""
        with self.lock:
            self.path = path
            self.size = 0
            self.tail = b""
            self.file: BinaryIO | None = None
            self.complete.clear()

    def end(self, wait: float) -> Printed | None:
        """What came since ``begin``, up to the marker; None if nothing did.

        Waits so many seconds at most, should the marker not come.
        """
        self.complete.wait(wait)
        with self.lock:
            if self.file is not None:
                self.file.close()
            if not self.size or self.path is None:
                return None
            return Printed(self.size, self.path, self.tail.decode(errors="replace"))

    def run(self) -> None:
        """Read until all ends of the pipe are closed."""
        assert isinstance(self.pipe, io.BufferedReader)
        held = b""  # may be the beginning of the marker
        try:
            while chunk := self.pipe.read1(2**16):
                *parts, held = (held + chunk).split(self.marker)
                for part in parts:
                    self._keep(part)
                    self.complete.set()
                cut = held.rfind(self.marker[:1])
                if cut < 0 or len(held) - cut >= len(self.marker):
                    cut = len(held)
                self._keep(held[:cut])
                held = held[cut:]
        except (OSError, ValueError):  # closed under our hands
            pass
        self._keep(held)
        self.complete.set()

    def _keep(self, part: bytes) -> None:
        with self.lock:
            if not part or self.path is None:
                return
            room = KEPT - self.size
            try:
                if not self.size:
                    self.path.parent.mkdir(parents=True, exist_ok=True)
                    self.file = self.path.open("wb", buffering=0)
                if room > 0 and self.file is not None and not self.file.closed:
                    self.file.write(part[:room])
            except OSError:  # a full disk; the tail is there in any case
                pass
            self.size += len(part)
            self.tail = (self.tail + part)[-TAIL:]


def _bytes(size: int) -> str:
    if size < 1000:
        return f"{size} bytes"
    if size < 10**6:
        return f"{size / 1000:.1f} kB"
    return f"{size / 10**6:,.1f} MB"

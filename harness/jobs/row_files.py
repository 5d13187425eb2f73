"""An array in a file that grows row by row, and whose rows prove themselves after a killed run."""

from __future__ import annotations

import hashlib
import io
import logging
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError
from harness.system import digests

log = logging.getLogger(__name__)


class RowFile:
    """A float32 array (N, D) in a file that grows row by row.

    It is opened anew each time: there may be more of them than files that may be open. And written,
    not memory-mapped: on a full disk, a write through a map kills the process.

    A second file, ``<name>.rows``, gets a line for each part that is added: how many rows there are
    by then, of how many columns, and the SHA-256 of the file up to there. Only rows that this
    proves are kept.
    """

    def __init__(self, path: Path, n: int) -> None:
        self.path = path
        self.log = path.with_suffix(".rows")
        self.n = n
        self.width = self.count = 0
        self.sha256 = hashlib.sha256()

    def rows(self) -> int:
        """How many of the first rows, which may be kept from here on, are as they were written."""
        proved = 0
        if self.log.exists() and self.path.exists():
            for line in self.log.read_text("ascii", "replace").splitlines():
                rows, width, digest = [*line.split(" "), "", ""][:3]
                if not (rows.isdecimal() and width.isdecimal() and proved < int(rows) <= self.n):
                    break
                if not proved:
                    self._start(int(width))
                self._read(proved, int(rows))
                if self.sha256.hexdigest() != digest:
                    break
                proved = int(rows)
            if not proved or self._size(proved) < self.path.stat().st_size:
                log.info(f"{self.path}: rows after the first {proved:,} do not prove themselves")
        return proved

    def cut(self, rows: int) -> None:
        """Keep only the first rows, which must be as they were written."""
        self.count = rows
        if rows:
            os.truncate(self.path, self._size(rows))
            self._start(self.width)
            self._read(0, rows)
            self.log.write_text(self._line(), "utf-8")
        else:
            self.path.unlink(missing_ok=True)
            self.log.unlink(missing_ok=True)
            self.width = 0

    def append(self, rows: NDArray[np.float32]) -> None:
        """Add rows (B, D). Raises ValueError when earlier ones had another D."""
        if not self.width:
            self._start(rows.shape[1])
            self.path.write_bytes(self._header())
        if rows.shape[1] != self.width:
            raise ValueError(f"{rows.shape[1]} columns after {self.width}")
        data = rows.astype("<f4").tobytes()
        with self.path.open("ab") as file:
            file.write(data)
        self.sha256.update(data)
        self.count += len(rows)
        with self.log.open("a", encoding="utf-8") as file:
            file.write(self._line())

    def move(self, target: Path) -> None:
        """Give the file its name, if it is what was written."""
        self.path.rename(target)
        if digests.of_file(target) != self.sha256.hexdigest():
            raise HarnessError(
                f"{self.path}: has changed while it was written; check the disk and run again"
            )

    def _line(self) -> str:
        return f"{self.count} {self.width} {self.sha256.hexdigest()}\n"

    def _header(self) -> bytes:
        header = io.BytesIO()
        shape = self.n, self.width
        described = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(header, described)
        return header.getvalue()

    def _size(self, rows: int) -> int:
        return len(self._header()) + 4 * self.width * rows

    def _start(self, width: int) -> None:
        self.width = width
        self.sha256 = hashlib.sha256(self._header())

    def _read(self, first: int, end: int) -> None:
        """Add rows of the file to the digest, and what is before the first row."""
        with self.path.open("rb") as file:
            if not first and file.read(self._size(0)) != self._header():
                return
            file.seek(self._size(first))
            left = self._size(end) - self._size(first)
            while left and (data := file.read(min(left, 1 << 20))):
                self.sha256.update(data)
                left -= len(data)

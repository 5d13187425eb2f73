"""Perturbed patches on disk, so that models in several processes do not all perturb them again.

Only what takes longer to compute than to read is worth its room: ``WORTH`` seconds a patch and
more, the slowest first, up to a limit of bytes. A file holds the patches of a part of a dataset
under one condition, each in its place, and another file says which of them are there, a byte a
patch. As perturbations depend on nothing but the patch, processes that write the same patch write
the same bytes, and need no lock. The files last as long as a run: none is read after a crash.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

WORTH = 2e-4
"""Seconds of a core to perturb a patch from which it is kept. One of 224 pixels is written in 6e-5
seconds and read in 2e-5."""
PATCHES, THERE = ".patches", ".there"

Change = Callable[[NDArray[np.uint8], Sequence[str]], NDArray[np.uint8]]
"""Perturbs patches uint8 (B, H, W, 3) with these ids."""


class PerturbedCache:
    """A folder of perturbed patches that processes of one run share.

    It never holds more than ``limit`` bytes, nor more than half of what the disk has left. A disk
    that fails costs time, and no result: what cannot be written or read is computed.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit
        self._seconds: dict[str, float] = {}
        """By name of what is not kept by now, what it takes a patch."""
        self._sizes: dict[str, int] = {}
        self._lock = threading.Lock()

    def through(
        self,
        name: str,
        places: NDArray[np.int64],
        n: int,
        images: NDArray[np.uint8],
        ids: Sequence[str],
        change: Change,
        writes: bool = True,
    ) -> NDArray[np.uint8]:
        """Patches, uint8 (B, H, W, 3), after ``change``; those that are kept are read.

        ``name`` stands for the part of a dataset and the condition, ``places`` are the numbers of
        the patches among its ``n``. Without ``writes``, what is computed is not kept.
        """
        there = self._there(name, n)[places] if self._is_kept(name) else np.zeros(len(ids), bool)
        changed = np.empty_like(images)
        try:
            self._read(name, places[there], changed, np.flatnonzero(there))
        except OSError:
            there[:] = False
        lacking = np.flatnonzero(~there)
        if not len(lacking):
            return changed
        started = time.thread_time()
        changed[lacking] = change(images[lacking], [ids[i] for i in lacking.tolist()])
        seconds = (time.thread_time() - started) / len(lacking)
        if writes:
            with contextlib.suppress(OSError):
                if self._admits(name, seconds, n * images[0].nbytes):
                    self._write(name, places[lacking], changed[lacking])
        return changed

    def _is_kept(self, name: str) -> bool:
        return (self.folder / f"{name}{PATCHES}").exists()

    def _admits(self, name: str, seconds: float, size: int) -> bool:
        """Whether patches under a condition are kept; not before it was seen a second time.

        By then, others of its pass were seen as well, and the slowest of them can be told.
        """
        if self._is_kept(name):
            return True
        with self._lock:
            seen = name in self._seconds
            self._seconds[name], self._sizes[name] = seconds, size
            if not seen or seconds < WORTH:  # the first time may be slow for other reasons
                return False
            self.folder.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self.folder).free
            room = min(self.limit - self.size(), free // 2)
            for other in sorted(self._seconds, key=lambda known: -self._seconds[known]):
                if not self._is_kept(other):
                    room -= self._sizes[other]
                if other == name:
                    break
            if room < 0:
                return False
            (self.folder / f"{name}{THERE}").touch()
            with (self.folder / f"{name}{PATCHES}").open("ab") as file:
                file.truncate(size)  # takes no room on disk by itself
        return True

    def size(self) -> int:
        """Bytes that are kept, or will be."""
        try:
            return sum(path.stat().st_size for path in self.folder.glob(f"*{PATCHES}"))
        except OSError:
            return self.limit

    def _there(self, name: str, n: int) -> NDArray[np.bool_]:
        try:
            data = (self.folder / f"{name}{THERE}").read_bytes()
        except OSError:
            data = b""
        return np.frombuffer(data.ljust(n, b"\0")[:n], np.bool_)

    def _read(
        self,
        name: str,
        places: NDArray[np.int64],
        into: NDArray[np.uint8],
        rows: NDArray[np.int64],
    ) -> None:
        if not len(rows):
            return
        with (self.folder / f"{name}{PATCHES}").open("rb", buffering=0) as file:
            for place, row in zip(places.tolist(), rows.tolist(), strict=True):
                file.seek(place * into[row].nbytes)
                if file.readinto(memoryview(into[row]).cast("B")) != into[row].nbytes:
                    raise OSError(f"{file.name} is cut short")

    def _write(self, name: str, places: NDArray[np.int64], patches: NDArray[np.uint8]) -> None:
        with (self.folder / f"{name}{PATCHES}").open("r+b", buffering=0) as file:
            for place, patch in zip(places.tolist(), patches, strict=True):
                file.seek(place * patch.nbytes)
                if file.write(np.ascontiguousarray(patch).data) != patch.nbytes:
                    return  # the disk is full
        # On NFS, who sees this then sees the patches, as their file was closed before.
        with (self.folder / f"{name}{THERE}").open("r+b", buffering=0) as file:
            for place in places.tolist():
                file.seek(place)
                file.write(b"\1")

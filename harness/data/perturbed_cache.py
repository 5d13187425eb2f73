"""Perturbed patches on disk, so that models in several processes do not all perturb them again.

Only what takes longer to compute than to read is kept, up to a limit of bytes; the less room is
left, the slower it must be. A file holds the patches of a part of a dataset under one condition,
each in its place and followed by its CRC-32. A patch whose checksum does not fit is not there, or
was half written by another process or machine: it is computed. Nobody needs a lock, and a file that
is gone costs time alone.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

WORTH = 2e-4
"""Seconds of a core to perturb a patch from which it is kept while there is much room. To write one
of 224 pixels takes 1e-4 seconds, to read it 6e-5."""
CHECKSUM = 4
"""Bytes of a checksum."""

Change = Callable[[NDArray[np.uint8], Sequence[str]], NDArray[np.uint8]]
"""Perturbs patches uint8 (B, H, W, 3) with these ids."""


class PerturbedCache:
    """A folder of perturbed patches that processes of one run share.

    It never holds more than ``limit`` bytes, nor more than half of what the disk would have left
    without it. On Windows, where files are not sparse, it holds nothing.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit
        self._seen: set[str] = set()
        self._decided: set[str] = set()
        self._lock = threading.Lock()

    def through(
        self,
        name: str,
        numbers: Mapping[str, int],
        writes: bool,
        images: NDArray[np.uint8],
        ids: Sequence[str],
        change: Change,
    ) -> NDArray[np.uint8]:
        """Patches, uint8 (B, H, W, 3), after ``change``; those that are kept are read.

        ``name`` stands for a part of a dataset and the condition, ``numbers`` are those of all
        patches of the part, by their ids. Without ``writes``, what is computed is not kept.
        """
        places = np.array([numbers[id_] for id_ in ids], np.int64)
        shape = images.shape[1:]
        path = self.folder / f"{name}-{'x'.join(map(str, shape))}"
        changed = np.empty(images.shape, np.uint8)
        lacking = self._read(path, places, changed)
        if not len(lacking):
            return changed
        started = time.thread_time()
        if len(lacking) == len(ids):
            computed = changed = change(images, ids)
        else:
            computed = change(images[lacking], [ids[i] for i in lacking.tolist()])
            changed[lacking] = computed
        seconds = (time.thread_time() - started) / len(lacking)
        if writes:
            with contextlib.suppress(OSError):
                if self._admits(path, seconds, len(numbers) * (int(np.prod(shape)) + CHECKSUM)):
                    _write(path, places[lacking], computed)
        return changed

    def _read(
        self, path: Path, places: NDArray[np.int64], into: NDArray[np.uint8]
    ) -> NDArray[np.int64]:
        """Read patches; returns the rows of ``into`` for which there are none."""
        lacking = []
        try:
            with path.open("rb", buffering=0) as file:
                for row, place in enumerate(places.tolist()):
                    size = into[row].nbytes
                    file.seek(place * (size + CHECKSUM))
                    data = file.read(size + CHECKSUM)
                    if data[size:] == _checksum(data[:size]):
                        into[row] = np.frombuffer(data, np.uint8, size).reshape(into[row].shape)
                    else:
                        lacking.append(row)
        except OSError:
            return np.arange(len(places))
        return np.array(lacking, np.int64)

    def _admits(self, path: Path, seconds: float, size: int) -> bool:
        """Whether patches under a condition are kept, which is decided once.

        That is when it is seen for the second time: the first may be slow for other reasons.
        """
        if path.exists():
            return True
        with self._lock:
            if path.name in self._decided:
                return False
            if path.name not in self._seen:
                self._seen.add(path.name)
                return False
            self._decided.add(path.name)
            if not self._is_worth(seconds, size):
                return False
            self.folder.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                file.truncate(size)  # takes no room by itself
        return True

    def _is_worth(self, seconds: float, size: int) -> bool:
        if os.name != "posix" or self.limit < size:
            return False
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.folder.parent).free
        room = min(self.limit, (free + self.size()) // 2) - self._reserved() - size
        return room >= 0 and seconds * max(room, self.limit // 50) >= WORTH * self.limit

    def _reserved(self) -> int:
        return sum(path.stat().st_size for path in self.folder.glob("*"))

    def size(self) -> int:
        """Bytes that are taken on disk."""
        return sum(getattr(path.stat(), "st_blocks", 0) * 512 for path in self.folder.glob("*"))


def _write(path: Path, places: NDArray[np.int64], patches: NDArray[np.uint8]) -> None:
    with path.open("r+b", buffering=0) as file:
        for place, patch in zip(places.tolist(), patches, strict=True):
            data = patch.tobytes()
            file.seek(place * (len(data) + CHECKSUM))
            if file.write(data + _checksum(data)) != len(data) + CHECKSUM:
                return  # the disk is full


def _checksum(data: bytes) -> bytes:
    """The CRC-32 of a patch, 4 bytes. Zeros, of which a hole in a file consists, have another."""
    return zlib.crc32(data).to_bytes(CHECKSUM, "little")

"""Patches of small datasets, decoded once a process."""

from __future__ import annotations

import threading
import weakref
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.data.handover import file_of
from harness.types.datasets import Split, Splits

if TYPE_CHECKING:
    from harness.types.datasets import Indices

KEPT = 2**28
"""Bytes of decoded patches that are kept in a process: those of a small dataset, which each fit and
each pass over them reads again. All patches of a split are kept, or none."""


class _Room:
    """What is taken of ``KEPT``."""

    def __init__(self) -> None:
        self.taken = 0
        self._lock = threading.Lock()

    def take(self, size: int) -> bool:
        with self._lock:
            if self.taken + size > KEPT:
                return False
            self.taken += size
        return True

    def give_back(self, size: int) -> None:
        with self._lock:
            self.taken -= size


_ROOM = _Room()


class DecodedOnce:
    """A split that keeps the patches that were read, if there is room for all of its patches."""

    def __init__(self, base: Split) -> None:
        self.base = base
        self._kept: dict[int, NDArray[Any]] = {}
        self._lock = threading.Lock()
        self._has_room: bool | None = None
        """None before the first patch is read."""

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """Labels, int64 (N,)."""
        return self.base.labels

    @cached_property
    def ids(self) -> Any:
        """N names."""
        return self.base.ids

    @cached_property
    def fingerprint(self) -> str:
        """That of the split."""
        return self.base.fingerprint

    def file(self, index: int) -> tuple[str, bytes] | None:
        """Name and content of a patch's file; None where the split has no files."""
        return file_of(self.base, index)

    def read(self, indices: Indices) -> NDArray[Any]:
        """Patches, uint8 (B, H, W, 3), a new array."""
        wanted = np.asarray(indices, np.int64)
        numbers = wanted.tolist()
        lacking = np.array([number for number in numbers if number not in self._kept], np.int64)
        if len(lacking):
            found = self.base.read(lacking)
            if self._keeps(found):
                self._kept.update(zip(lacking.tolist(), np.array(found), strict=True))
            if len(lacking) == len(wanted):
                return found
        patches = [self._kept[number] for number in numbers if number in self._kept]
        if len(patches) < len(wanted) or len({patch.shape for patch in patches}) != 1:
            return self.base.read(wanted)
        return np.stack(patches)

    def _keeps(self, patches: NDArray[Any]) -> bool:
        with self._lock:
            if self._has_room is None:
                size = len(self.labels) * patches[0].nbytes
                self._has_room = _ROOM.take(size)
                if self._has_room:
                    weakref.finalize(self, _ROOM.give_back, size)
            return self._has_room


def decoded_once(splits: Splits) -> Splits:
    """The same splits, which decode the patches of small datasets once."""
    parts = {name: getattr(splits, name) for name in ("train", "validation", "test")}
    once: dict[str, Any] = {name: part and DecodedOnce(part) for name, part in parts.items()}
    return replace(splits, **once)

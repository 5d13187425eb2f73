"""Bringing the results of one store into another."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass

from harness.store.store import CACHES, KINDS, Store
from harness.store.stored import DamagedError
from harness.system.atomic import disk_error


@dataclass
class Merged:
    """What came of it."""

    copied: int = 0
    there: int = 0
    """Results that the store had by then."""
    damaged: int = 0
    """Results that were left behind."""


def merge(into: Store, source: Store, damaged: Callable[[DamagedError], None]) -> Merged:
    """Copy the results that ``into`` lacks, each whole or not at all; caches are made anew.

    What does not prove itself is handed to ``damaged`` and left behind. Where ``into`` has no
    instance of a dataset, the leaderboard will be about the one that ``source`` used last. Raises
    HarnessError when the disk is full or cannot be written to.
    """
    found = Merged()
    for kind in (kind for kind in KINDS if kind not in CACHES):
        for dataset in sorted(path.name for path in (source.root / kind).glob("*")):
            for folder in source.folders(kind, dataset):
                try:
                    copied = into.adopt(folder)
                except DamagedError as error:
                    damaged(error)
                    found.damaged += 1
                except OSError as error:
                    raise disk_error(error, into.root) from error
                else:
                    found.copied += copied
                    found.there += not copied
    for dataset in source.datasets():
        try:
            if not into.has_current(dataset) and source.has_current(dataset):
                into.point_to(dataset, source.current(dataset).name)
        except DamagedError as error:
            damaged(error)
    _copy_details(into, source)
    return found


def _copy_details(into: Store, source: Store) -> None:
    """The files that say more about models that failed."""
    for path in (source.root / "errors").glob("*.txt"):
        target = into.root / "errors" / path.name
        if not target.exists():
            target.parent.mkdir(exist_ok=True)
            shutil.copy2(path, target)

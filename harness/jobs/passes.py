"""What passes over patches have in common: batches, and what stopped single results.

Each patch is read and decoded once, however many conditions it is put under. What goes wrong with
one condition, such as a perturbation that raises, costs only its own result.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError
from harness.store.stored import Record
from harness.system import checkpoints
from harness.types.datasets import Split

log = logging.getLogger(__name__)

BATCH = 64
"""Patches read at a time, if they are small."""
AT_ONCE = 40 * 2**20
"""Bytes of patches in memory at a time, a reading thread, perturbed ones counted."""
SAVE_EVERY = 60.0
"""Seconds between two checkpoints of a pass."""

Finish = Callable[[Path], Record]
"""Writes one result of a pass into its folder and returns its record, or raises what stopped it."""
LOGITS = "logits.npy"


@dataclass(frozen=True)
class Logits:
    """A Finish whose result is an array of logits, which needs no file of its own."""

    values: Callable[[], NDArray[np.float32]]
    """Returns the logits (N, C), or raises what stopped them."""
    about: Callable[[NDArray[np.float32]], Record]
    """Returns the record of these."""

    def __call__(self, folder: Path) -> Record:
        """Write them into a folder and return their record."""
        values = self.values()
        np.save(folder / LOGITS, values)
        return self.about(values)


def batch_size(split: Split, conditions: int = 1) -> int:
    """Patches to read at a time when each is kept under so many conditions."""
    return max(1, min(BATCH, AT_ONCE // (conditions * split.read([0]).nbytes)))


class Errors(dict[int, BaseException]):
    """What stopped single results of a pass, by their number.

    They are kept with what there is of the pass: what failed before a patch that is done must
    neither pass for finished nor be waited for when the pass is resumed.
    """

    written = 0

    def raise_if_any(self, number: int) -> None:
        """Raise what stopped a result, if anything did."""
        if number in self:
            raise self[number]

    def as_json(self) -> str:
        """Types and messages, by number."""
        return json.dumps({k: f"{type(e).__name__}: {e}" for k, e in self.items()})

    def add_json(self, text: str) -> None:
        """Add those of ``as_json``."""
        self |= {int(k): HarnessError(why) for k, why in json.loads(text).items()}

    def write(self, path: Path) -> None:
        """Keep them in a file, if there are new ones."""
        if len(self) > self.written:
            self.written = len(self)
            checkpoints.write(path, lambda draft: draft.write_text(self.as_json(), "utf-8"))

    def read(self, path: Path) -> None:
        """Add those of a file, if there is one that proves itself."""
        if proved(path):
            self.add_json(path.read_text("utf-8"))


def proved(path: Path) -> bool:
    """Whether there is a checkpoint to go on from; says so if it is damaged."""
    why = checkpoints.damage(path)
    if why and path.exists():
        log.info(f"{path}: {why}; it is discarded, and that part is computed again")
    return not why

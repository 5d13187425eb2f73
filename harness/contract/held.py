"""Splits to check with: a few patches in memory, one that counts reads, one that repeats."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError
from harness.types import Features, Split, Splits

if TYPE_CHECKING:
    from harness.types import Indices

TRAIN, VALIDATION, TEST = 6, 2, 3
"""Patches a class: enough that a fit has several batches, few enough to be quick."""


class Held:
    """A Split whose values, patches uint8 (N, H, W, 3) or features (N, D), are in memory."""

    def __init__(self, values: NDArray[Any], labels: NDArray[np.int64], ids: list[str]) -> None:
        self.values = values
        self.labels = labels
        self.ids = ids
        self.fingerprint = hashlib.sha256(values.tobytes() + labels.tobytes()).hexdigest()

    def read(self, indices: Indices) -> NDArray[Any]:
        """A copy of some values."""
        return self.values[np.asarray(indices, np.int64)]

    def only(self, chosen: NDArray[Any]) -> Held:
        """The patches at these places."""
        rows = np.arange(len(self.labels))[chosen]
        return Held(self.values[rows], self.labels[rows], [self.ids[row] for row in rows])

    def features(self, features: Features) -> Held:
        """The same split with features in place of patches."""
        values = np.asarray(features.extract(self.values.copy()), np.float32)
        return Held(values, self.labels, self.ids)

    def save(self, path: Path) -> None:
        """Write it as an .npz file."""
        np.savez(path, values=self.values, labels=self.labels, ids=np.array(self.ids))

    @classmethod
    def load(cls, path: Path) -> Held:
        """Read what ``save`` wrote."""
        with np.load(path) as stored:
            return cls(stored["values"], stored["labels"], stored["ids"].tolist())


class Watched:
    """A split that counts how often it is read; ``then(count)`` is called before each read."""

    def __init__(self, base: Split, then: Callable[[int], None] = lambda count: None) -> None:
        self.base = base
        self.labels = base.labels
        self.ids = base.ids
        self.fingerprint = base.fingerprint
        self.then = then
        self.reads = 0
        self.lock = threading.Lock()

    def read(self, indices: Indices) -> NDArray[Any]:
        """Count, then read."""
        with self.lock:
            self.reads += 1
            count = self.reads
        self.then(count)
        return self.base.read(indices)


class Repeated:
    """The patches of a split over and over, ``n`` in all, that take no more memory than once."""

    def __init__(self, base: Split, n: int) -> None:
        self.base = base
        self.labels = np.resize(base.labels, n)
        self.ids = [f"{base.ids[row % len(base.labels)]} again {row}" for row in range(n)]
        self.fingerprint = f"{base.fingerprint} {n}"

    def read(self, indices: Indices) -> NDArray[Any]:
        """Read from the base."""
        return self.base.read(np.asarray(indices, np.int64) % len(self.base.labels))


def few(splits: Splits, classes: Sequence[str]) -> Splits:
    """A few patches of each class, in memory: training, validation and test patches, all distinct.

    A dataset without training patches lends test patches. Raises HarnessError when some class has
    too few, or when they are no patches.
    """

    def cut(split: Split, skip: int, count: int) -> Held:
        rows = [
            np.flatnonzero(split.labels == label)[skip : skip + count]
            for label in range(len(classes))
        ]
        for name, found in zip(classes, rows, strict=True):
            if not len(found):
                raise HarnessError(f"class {name} has too few patches to check with; add some")
        # Mixed, since classes in turn would hide what a model makes of the order.
        chosen = np.random.default_rng(0).permutation(np.concatenate(rows))
        ids = [str(split.ids[row]) for row in chosen]
        images = np.asarray(split.read(chosen))
        if images.dtype != np.uint8 or images.ndim != 4 or len(images) != len(chosen):
            raise HarnessError(f"its patches are {images.dtype} {images.shape}; check the dataset")
        return Held(images, np.asarray(split.labels)[chosen], ids)

    train = splits.test if splits.train is None else splits.train
    return Splits(
        train=cut(train, 0, TRAIN),
        validation=cut(train, TRAIN, VALIDATION),
        test=cut(splits.test, TRAIN + VALIDATION if splits.train is None else 0, TEST),
    )

"""Splits to check with: a few patches in memory, one that counts reads, one that repeats."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.data.handover import frozen, kept
from harness.data.splits import Concat
from harness.errors import HarnessError
from harness.types.datasets import Split, Splits
from harness.types.models import Features

if TYPE_CHECKING:
    from harness.types.datasets import Indices

TRAIN, VALIDATION, TEST = 6, 2, 3
"""Patches a class: enough that a fit has several batches, few enough to be quick."""


class Held:
    """A Split whose values, patches uint8 (N, H, W, 3) or features (N, D), are in memory."""

    def __init__(self, values: NDArray[Any], labels: NDArray[np.int64], ids: Sequence[str]) -> None:
        self.values = kept(values)
        self.labels = kept(labels)
        self.ids = tuple(ids)
        self.fingerprint = hashlib.sha256(values.tobytes() + labels.tobytes()).hexdigest()

    def read(self, indices: Indices) -> NDArray[Any]:
        """A copy of some values."""
        values: NDArray[Any] = self.values[np.asarray(indices, np.int64)]
        return values

    def only(self, chosen: NDArray[Any]) -> Held:
        """The patches at these places."""
        rows = np.arange(len(self.labels))[chosen]
        return Held(self.values[rows], self.labels[rows], [self.ids[row] for row in rows])

    def features(self, features: Features) -> Held:
        """The same split with features in place of patches."""
        values = np.array(features.extract(self.values.copy()), np.float32)
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
        self.labels = frozen(np.resize(base.labels, n))
        self.ids = [f"{base.ids[row % len(base.labels)]} again {row}" for row in range(n)]
        self.fingerprint = f"{base.fingerprint} {n}"

    def read(self, indices: Indices) -> NDArray[Any]:
        """Read from the base."""
        return self.base.read(np.asarray(indices, np.int64) % len(self.base.labels))


def few(splits: Splits, classes: Sequence[str]) -> Splits:
    """A few patches of each class, in memory: training, validation and test patches, all distinct.

    Those of a dataset with folds are drawn from all its patches, as its folds are. Raises
    HarnessError when a class has too few, or when they are no patches.
    """
    fitted_on = splits.train
    if splits.folds or fitted_on is None:
        fitted_on = splits.test if fitted_on is None else Concat(fitted_on, splits.test)
    apart = fitted_on is splits.train
    return Splits(
        train=_cut(fitted_on, classes, 0, TRAIN),
        validation=_cut(fitted_on, classes, TRAIN, VALIDATION),
        test=_cut(splits.test if apart else fitted_on, classes, 0 if apart else -TEST, TEST),
    )


def _cut(split: Split, classes: Sequence[str], start: int, count: int) -> Held:
    """Some patches of each class, from the ``start``-th on; from the end where it is negative."""
    rows = []
    for label, name in enumerate(classes):
        own = np.flatnonzero(split.labels == label)
        if len(own) < TRAIN + VALIDATION + TEST and start:
            raise HarnessError(
                f"class {name} has {len(own)} patches, too few to check with; name another dataset"
            )
        rows.append(own[start:][:count])
        if not len(rows[-1]):
            raise HarnessError(f"class {name} has no patch to check with; name another dataset")
    # Mixed, since classes in turn would hide what a model makes of the order.
    chosen = np.random.default_rng(0).permutation(np.concatenate(rows))
    images = np.asarray(split.read(chosen))
    if images.dtype != np.uint8 or images.ndim != 4 or len(images) != len(chosen):
        raise HarnessError(f"its patches are {images.dtype} {images.shape}; check the dataset")
    ids = [str(split.ids[row]) for row in chosen]
    return Held(images, np.asarray(split.labels)[chosen], ids)

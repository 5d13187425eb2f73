"""Splits made of splits, streaming over them, and the cuts that evaluation needs."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from harness.data import folds
from harness.data.handover import kept
from harness.errors import HarnessError
from harness.system.threads import cpu_count, one_thread_each
from harness.types.datasets import Dataset, Split, Splits

if TYPE_CHECKING:
    from harness.types.datasets import Indices

Result = TypeVar("Result")

HELD_OUT = 0.1
"""Share of each class of the training patches that is held out to select a checkpoint on."""


class Subset:
    """Some patches of a split, in the given order."""

    def __init__(self, base: Split, indices: NDArray[np.int64]) -> None:
        self.base = base
        self.indices = kept(indices)
        self.labels = kept(base.labels[indices])

    @property
    def ids(self) -> list[str]:
        """Ids of the chosen patches."""
        ids = self.base.ids  # once: of a split of splits they are made anew each time
        return [ids[i] for i in self.indices]

    @property
    def fingerprint(self) -> str:
        """Digest of the base's fingerprint and the indices."""
        return _digest(self.base.fingerprint, self.indices.tobytes().hex())

    def read(self, indices: Indices) -> NDArray[Any]:
        """Read from the base."""
        return self.base.read(self.indices[np.asarray(indices, np.int64)])


class Versioned:
    """A split with another fingerprint."""

    def __init__(self, base: Split, version: int) -> None:
        self.labels = base.labels
        self.ids = base.ids
        self.fingerprint = _digest(base.fingerprint, str(version))
        self.read = base.read


class Concat:
    """One split after another."""

    def __init__(self, *parts: Split) -> None:
        self.parts = parts
        self.starts = np.cumsum([0] + [len(part.labels) for part in parts])
        self.labels = kept(np.concatenate([part.labels for part in parts]))

    @property
    def ids(self) -> list[str]:
        """Ids of all parts."""
        return [id_ for part in self.parts for id_ in part.ids]

    @property
    def fingerprint(self) -> str:
        """Digest of the parts' fingerprints."""
        return _digest(*(part.fingerprint for part in self.parts))

    def read(self, indices: Indices) -> NDArray[Any]:
        """Read from the parts."""
        wanted = np.asarray(indices, np.int64)
        owners = np.searchsorted(self.starts, wanted, side="right") - 1
        rows: list[Any] = [None] * len(wanted)
        for number in np.unique(owners):
            places = np.flatnonzero(owners == number)
            values = self.parts[number].read(wanted[places] - self.starts[number])
            for place, value in zip(places, values, strict=True):
                rows[place] = value
        return np.stack(rows)


def stream(
    split: Split,
    batch_size: int,
    order: NDArray[np.int64] | None = None,
    then: Callable[[NDArray[np.int64], Any], Any] | None = None,
    threads: int | None = None,
) -> Iterator[tuple[NDArray[np.int64], Any]]:
    """Read a split in batches, several threads ahead of the consumer.

    Yields (indices, value) in order, where value is what ``read`` returned, passed through
    ``then(indices, value)`` in the reading thread if given. ``order`` chooses and orders the
    patches; all of them, in order, if None. For the rest, see ``ahead``.
    """

    def work(batch: NDArray[np.int64]) -> Any:
        value = split.read(batch)
        return value if then is None else then(batch, value)

    indices = np.arange(len(split.labels)) if order is None else order
    yield from ahead(work, indices, batch_size, threads)


def ahead(
    work: Callable[[NDArray[np.int64]], Result],
    indices: NDArray[np.int64],
    batch_size: int,
    threads: int | None = None,
    most: int | None = None,
) -> Generator[tuple[NDArray[np.int64], Result]]:
    """Do work on batches of patches, several threads ahead of the consumer.

    Yields (indices, what ``work(indices)`` returned) in order. At most ``most`` batches, or
    threads + 2 if None, are in memory at a time. Until it ends, BLAS and OpenCV have one thread, as
    has OpenMP in the threads.
    """
    threads = threads or cpu_count()
    most = most or threads + 2

    with one_thread_each() as limits:
        pool = ThreadPoolExecutor(threads)
        pending: deque[tuple[NDArray[np.int64], Future[Result]]] = deque()
        interrupted = False

        def limited(batch: NDArray[np.int64]) -> Result:
            limits.here()
            return work(batch)

        try:
            for start in range(0, len(indices), batch_size):
                batch = indices[start : start + batch_size]
                if not limits.are_complete():
                    wait([future for _, future in pending])
                    limits.complete()
                pending.append((batch, pool.submit(limited, batch)))
                if len(pending) >= most:
                    done, future = pending.popleft()
                    yield done, future.result()
            while pending:
                done, future = pending.popleft()
                yield done, future.result()
        except KeyboardInterrupt:  # what is under way may take long, and nobody wants it
            interrupted = True
            raise
        finally:
            pool.shutdown(wait=not interrupted, cancel_futures=True)


def check_splits(dataset: Dataset, splits: Any) -> None:
    """Raise HarnessError unless what a dataset loaded is what it promises to be.

    The patches themselves are looked at when they are read.
    """
    fix = "report it to the plugin's author"
    if not isinstance(splits, Splits):
        raise HarnessError(f"dataset {dataset.name}: load returned {splits!r}, no Splits; {fix}")
    parts = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    there = {name: split for name, split in parts.items() if split is not None}
    for name, split in there.items():
        if problem := _problem(split, len(dataset.classes)):
            raise HarnessError(f"dataset {dataset.name}: {name} {problem}; {fix}")
    ids = [id_ for split in there.values() for id_ in split.ids]
    if len(set(ids)) < len(ids):
        twice = next(id_ for id_, count in Counter(ids).items() if count > 1)
        raise HarnessError(f"dataset {dataset.name}: two patches have the id {twice!r}; {fix}")
    if splits.train is None and splits.train_groups is not None:
        raise HarnessError(
            f"dataset {dataset.name}: has train_groups but no training patches; {fix}"
        )
    for name, groups in (("test", splits.groups), ("train", splits.train_groups)):
        if groups is not None and len(groups) != (n := len(there[name].labels)):
            kind = "test" if name == "test" else "training"
            raise HarnessError(
                f"dataset {dataset.name}: {len(groups)} groups for {n} {kind} patches; {fix}"
            )
    if splits.validation is not None and splits.folds:
        raise HarnessError(f"dataset {dataset.name}: has both folds and a validation split; {fix}")


def _problem(split: Split, n_classes: int) -> str:
    labels = np.asarray(split.labels)
    if labels.ndim != 1 or labels.dtype != np.int64:
        return f"has labels {labels.dtype} {labels.shape} where int64 (N,) are expected"
    if not len(labels):
        return "has no patches"
    if labels.min() < 0 or labels.max() >= n_classes:
        said = f"has labels from {labels.min()} to {labels.max()} for {n_classes} classes"
        unlabeled = "; patches without a label (-1) must be left out" if labels.min() == -1 else ""
        return said + unlabeled
    if len(split.ids) != len(labels):
        return f"has {len(split.ids)} ids for {len(labels)} labels"
    return ""


def hold_out(labels: NDArray[np.int64], seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cut indices into (kept, held out): a tenth of each class, at least one where it has two."""
    rng = np.random.default_rng(seed)
    held = []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        count = max(1, round(len(members) * HELD_OUT)) if len(members) > 1 else 0
        held.append(members[:count])
    held_out = np.sort(np.concatenate(held))
    return np.setdiff1d(np.arange(len(labels)), held_out), held_out


def fold_pairs(
    splits: Splits, classes: Sequence[str], cut: folds.Cut = folds.cut
) -> list[tuple[Split, NDArray[np.int64]]]:
    """For each fold, the split to fit on and the indices of the test patches to predict.

    A dataset without folds has one pair. Folds are stratified and the same in every run; see
    ``harness.data.folds``; ``cut`` may be that with a memory. Raises HarnessError when a class has
    fewer test patches than there are folds, when a fold would be empty, and when one would be
    fitted on patches of a single class.
    """
    if not splits.folds:
        if splits.train is None:
            raise HarnessError("a dataset without folds must come with a training split")
        return [(splits.train, np.arange(len(splits.test.labels)))]
    labels = splits.test.labels
    for label, count in zip(*np.unique(labels, return_counts=True), strict=True):
        if count < splits.folds:
            raise HarnessError(
                f"class {classes[label]} has {count} test patches, too few for "
                f"{splits.folds} folds; add patches of that class, or say folds = {count} "
                "in its description"
                if count > 1
                else f"class {classes[label]} has one test patch, which cannot be both fitted on "
                "and tested; add patches of that class, or leave it out"
            )
    if splits.groups is not None and (n := len(set(splits.groups))) < splits.folds:
        raise HarnessError(
            f"the test patches come from {n} groups, too few for {splits.folds} folds; "
            + (f"say folds = {n} in its description" if n > 1 else "add patches of other groups")
        )
    trained = np.zeros(len(classes), bool)
    if splits.train is not None:
        trained[splits.train.labels] = True
    pairs: list[tuple[Split, NDArray[np.int64]]] = []
    for fold in cut(labels, splits.groups, splits.folds, trained):
        fit_on: Split = Subset(splits.test, np.setdiff1d(np.arange(len(labels)), fold))
        if splits.train is not None:
            fit_on = Concat(splits.train, fit_on)
        where = f"fold {len(pairs) + 1} of {splits.folds}"
        if not len(fold):
            raise HarnessError(f"{where} is empty, as groups are not cut; ask for fewer folds")
        if len(present := np.unique(fit_on.labels)) < 2:
            raise HarnessError(
                f"{where} would be fitted on patches of one class, {classes[present[0]]}, as "
                "groups are not cut; ask for fewer folds or add groups of other classes"
            )
        pairs.append((fit_on, fold))
    return pairs


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()

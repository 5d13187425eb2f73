"""A dataset as it is on this machine, and what is stored of it."""

from __future__ import annotations

import contextlib
import copy
import gc
import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.data import classes, folds
from harness.data.decoded import decoded_once
from harness.data.splits import check_splits, fold_pairs
from harness.errors import HarnessError
from harness.jobs.passes import Finish
from harness.jobs.spec import JobSpec
from harness.store.store import Key, Store
from harness.store.stored import Record, load_array, where
from harness.system import digests
from harness.types.datasets import Dataset, Split, Splits

if TYPE_CHECKING:
    from harness.jobs.session import OpenSession

log = logging.getLogger(__name__)
SAMPLE = 8
"""Patches of a part that are compared before a result of another dataset is used for this one."""


@dataclass(frozen=True)
class Instance:
    """A dataset as it is on this machine."""

    dataset: Dataset
    splits: Splits
    pairs: Sequence[tuple[Split, NDArray[np.int64]]]
    """For each fold, the split to fit on and the indices of the test patches to predict; none if
    no model can be fitted, which ``unfit`` says why. Such a dataset can still be audited."""
    unfit: HarnessError | None
    fingerprint: str
    """Of all that results depend on: classes, patches, folds and groups."""
    described: Record
    """What the leaderboard says of it."""

    @cached_property
    def places(self) -> dict[str, tuple[Split, int]]:
        """By id, the split and the index of every patch."""
        splits = self.splits
        every = (splits.test, splits.train, splits.validation)
        parts = [part for part in every if part is not None]
        return {str(id_): (part, at) for part in parts for at, id_ in enumerate(part.ids)}

    def part(self, name: str) -> Split:
        """The ``train``, ``validation`` or ``test`` patches, which must be there."""
        split: Split | None = getattr(self.splits, name)
        assert split is not None
        return split

    @cached_property
    def listing(self) -> dict[str, str]:
        """By part, SHA-256 of its ids and labels in their order."""
        return listing(self.splits)

    def identity(self, *parts: str) -> str:
        """Digest of what is known of the patches of parts, without reading them.

        What depends on these alone is the same for all datasets that have them.
        """
        known = [[self.part(name).fingerprint, self.listing[name]] for name in parts]
        return digests.of_json(known)[:32]

    def sample(self, part: str) -> str:
        """Digest of the pixels of patches spread over a part, which are read, once."""
        if part not in self._samples:
            split, digest = self.part(part), hashlib.sha256()
            for index in np.unique(np.linspace(0, len(split.labels) - 1, SAMPLE).astype(np.int64)):
                digest.update(np.ascontiguousarray(split.read(np.array([index]))).tobytes())
            self._samples[part] = digest.hexdigest()[:32]
        return self._samples[part]

    @cached_property
    def _samples(self) -> dict[str, str]:
        return {}

    def check_shared(self, record: Record) -> None:
        """Raise HarnessError if a result was computed from other patches than this dataset has.

        It may be from another dataset, as long as its patches are the same; these have the same
        fingerprint. ``record`` is that of the result.
        """
        for part, sample in record.get("patches", {}).items():
            if self.sample(part) != sample:
                raise HarnessError(
                    f"dataset {self.dataset.name}: its {part} patches have the same fingerprint, "
                    f"ids and labels as those of {record['dataset']}, from which "
                    f"{record['key']['name']} was computed, but they are others; let the "
                    "fingerprint of the split depend on what is in the patches"
                )

    def fitted_on(self, selected_on: str = "none", audited: bool = False) -> dict[str, Split]:
        """The parts of the dataset that fits, their selection and its audit read."""
        parts: dict[str, Split] = {}
        if self.splits.train is not None:
            parts["train"] = self.splits.train
        if selected_on == "validation" and self.splits.validation is not None:
            parts["validation"] = self.splits.validation
        if self.splits.folds or selected_on == "test" or audited:
            parts["test"] = self.splits.test
        return parts


def load(dataset: Dataset, data: Path, described_by: str, store: Store | None = None) -> Instance:
    """List the patches of a dataset. Raises HarnessError when they are not what it promises.

    ``described_by`` is the file or plugin whose word stands for what is not verified. A ``store``
    remembers how the dataset is cut into folds.
    """
    cut = folds.cut if store is None else _remembered(store, dataset)
    with _no_collection():
        splits = dataset.load(data)
        check_splits(dataset, splits)
    splits = decoded_once(splits)
    log.debug(f"{dataset.name}: {len(splits.test.labels):,} test patches listed, data in {data}")
    unfit, pairs = None, []
    try:
        pairs = fold_pairs(splits, dataset.classes, cut)
    except HarnessError as error:
        unfit = HarnessError(f"dataset {dataset.name}: {error}")
    there = (splits.train, splits.test, splits.validation)
    parts = [part.fingerprint for part in there if part is not None]
    groups = [] if splits.groups is None else ["groups", *splits.groups]
    groups += [] if splits.train_groups is None else ["train groups", *splits.train_groups]
    # Another version of scikit-learn may cut other folds, and fits of the two must not mix.
    folded = [predicted.tobytes().hex() for _, predicted in pairs] if splits.folds else []
    identity = "\n".join([*dataset.classes, *parts, str(splits.folds), *groups, *folded])
    return Instance(
        dataset=dataset,
        splits=splits,
        pairs=pairs,
        unfit=unfit,
        fingerprint=hashlib.sha256(identity.encode()).hexdigest()[:32],
        described=describe_dataset(dataset, splits, pairs, described_by),
    )


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """No garbage collection, which would visit 100,000 listed files again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _remembered(store: Store, dataset: Dataset) -> folds.Cut:
    """``folds.cut`` that reads from a store how patches were cut before.

    To load scikit-learn for it takes longer than all else that a run does in which nothing is left
    to compute. What cannot be read is cut again.
    """
    store = copy.copy(store)
    store.root = store.root.absolute()  # a dataset may change the working folder

    def cut(
        labels: NDArray[np.int64],
        groups: Sequence[str] | None,
        n_folds: int,
        trained: NDArray[np.bool_],
    ) -> list[NDArray[np.int64]]:
        about = {
            "labels": hashlib.sha256(np.asarray(labels, np.int64).tobytes()).hexdigest(),
            "groups": None if groups is None else digests.of_json(list(groups)),
            "folds": n_folds,
            "version": folds.VERSION,
            "trained": np.flatnonzero(trained).tolist(),
            "scikit-learn": metadata.version("scikit-learn"),
        }
        key = Key("folds", dataset.name, "cut", about)
        with contextlib.suppress(HarnessError, OSError):
            if key in store:
                fold_of = load_array(store.folder(key), "folds.npy")
                return [np.flatnonzero(fold_of == number) for number in range(n_folds)]
        found = folds.cut(labels, groups, n_folds, trained)
        if store.is_written:
            with contextlib.suppress(HarnessError, OSError), store.write(key) as (folder, _):
                np.save(folder / "folds.npy", fold_numbers(found, len(labels)))
        return found

    return cut


def fold_numbers(predicted: Sequence[NDArray[np.int64]], n: int) -> NDArray[np.int64]:
    """The fold of each of n patches, int64 (n,), from the indices of those in each fold."""
    fold_of = np.zeros(n, np.int64)
    for number, indices in enumerate(predicted):
        fold_of[indices] = number
    return fold_of


def compute(specs: Sequence[JobSpec], session: OpenSession, workspace: Path) -> list[Finish]:
    """Labels, ids, folds and groups of test patches, and what is said of the dataset."""
    (spec,) = specs
    instance = session.instance(spec)
    return [
        lambda folder: store_dataset(instance.described, instance.splits, instance.pairs, folder)
    ]


def check_listing(instance: Instance, copy: Key, store: Store) -> None:
    """Raise HarnessError if patches were listed otherwise for the store.

    What is stored of them would be that of others, if their order is not always the same. ``copy``
    is the key of what is stored of the dataset.
    """
    if copy not in store:
        return
    now = instance.listing
    stored = store.record(copy).get("listing", {})
    if other := [part for part, digest in stored.items() if now.get(part) != digest]:
        name = instance.dataset.name
        raise HarnessError(
            f"dataset {name}: its {other[0]} patches are not the same, or not in "
            f"the same order, as when they were listed for {store.root}, although its "
            "fingerprint is; sort them in the dataset's load and let the fingerprint depend on "
            "ids and labels, or, if they are right now, remove what is stored with `harness "
            f"results remove --dataset {name} --yes{where(store.root)}`"
        )


def describe_dataset(
    dataset: Dataset, splits: Splits, pairs: Sequence[Any], described_by: str
) -> Record:
    """What the leaderboard says of a dataset as it is on this machine.

    ``described_by`` is the file or plugin whose word stands for what is not verified.
    """
    counts = np.bincount(splits.test.labels, minlength=len(dataset.classes))
    return {
        **classes.facts(dataset.classes, splits, pairs),
        "name": dataset.name,
        "title": dataset.title,
        "classes": list(dataset.classes),
        "license": dataset.license,
        "source": dataset.source,
        "test_set": dataset.test_set,
        "trained_on": dataset.trained_on,
        "shortfall": splits.shortfall,
        "train_shortfall": splits.train_shortfall,
        "test_identity": splits.test_identity,
        "train_identity": splits.train_identity,
        "described_by": described_by,
        "folds": splits.folds,
        "n_test": len(splits.test.labels),
        "n_groups": {
            part: len(set(groups))
            for part, groups in (("train", splits.train_groups), ("test", splits.groups))
            if groups is not None
        },
        "test_counts": counts.tolist(),
    }


def store_dataset(described: Record, splits: Splits, pairs: Sequence[Any], folder: Path) -> Record:
    """Store labels, ids, folds and groups of test patches beside what is said of a dataset.

    Also how the patches of all parts were listed, of which others are not stored.
    """
    np.save(folder / "labels.npy", splits.test.labels)
    (folder / "ids.json").write_text(json.dumps(list(splits.test.ids)), encoding="utf-8")
    fold_of = fold_numbers([predicted for _, predicted in pairs], len(splits.test.labels))
    np.save(folder / "folds.npy", fold_of)
    if splits.groups is not None:
        (folder / "groups.json").write_text(json.dumps(list(splits.groups)), encoding="utf-8")
    return {**described, "listing": listing(splits)}


def listing(splits: Splits) -> dict[str, str]:
    """By part of a dataset, SHA-256 of its ids and labels in their order."""
    found = {}
    for name in ("train", "validation", "test"):
        part = getattr(splits, name)
        if part is not None:
            digest = hashlib.sha256(json.dumps(list(part.ids)).encode())
            digest.update(np.asarray(part.labels, np.int64).tobytes())
            found[name] = digest.hexdigest()
    return found

"""Features of patches, as one pass over them gives them, and stored features in their place."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.data.handover import HandedSplit, own
from harness.data.splits import Concat, Subset, ahead
from harness.jobs.conditions import Condition
from harness.jobs.helpers import Shared
from harness.jobs.output_checks import checked_features, malformed
from harness.jobs.passes import Errors, Finish, batch_size
from harness.jobs.row_files import RowFile
from harness.jobs.spec import JobSpec
from harness.store.store import Key, Store
from harness.store.stored import Record, load_array
from harness.system.environment import cpu, provenance
from harness.system.progress import progress
from harness.types.datasets import Split
from harness.types.models import Features

if TYPE_CHECKING:
    from harness.jobs.dataset import Instance
    from harness.jobs.session import OpenSession
    from harness.types.datasets import Indices

Rows = NDArray[np.float32] | None
"""Of a batch, one of its features (B, D); None where it failed."""
SHARED_AT_A_TIME = 32
"""Patches at a time where processes share them: few, so that all begin and end together."""
MANY = 512
"""Patches from which they may."""


def compute(specs: Sequence[JobSpec], session: OpenSession, workspace: Path) -> list[Finish]:
    """Features of a part of a dataset under conditions, in one pass over its patches.

    For those that were brought along no patch is read.
    """
    instance, name = session.instance(specs[0]), specs[0].part
    wanted = [session.features(spec) for spec in specs]
    finishes: dict[str, Finish] = {}
    extracted = []
    for spec, features in zip(specs, wanted, strict=True):
        if features.brought is None:
            extracted.append(spec)
        else:
            finishes[spec.key.digest] = partial(_bring, features, instance, name)
    if extracted:
        work = extraction(extracted, session)
        networks = any(features.device for features, _ in work.wanted)  # have their own threads
        shared = None if networks else Shared(extracted, session.helpers, work, work.read)
        found = zip(extracted, extract(work, workspace, shared), strict=True)
        finishes |= {spec.key.digest: finish for spec, finish in found}
    about = {"dataset": specs[0].about, "patches": {name: instance.sample(name)}}
    return [
        _described(finishes[spec.key.digest], features, about)
        for spec, features in zip(specs, wanted, strict=True)
    ]


def _bring(features: Features, instance: Instance, part: str, folder: Path) -> Record:
    """Store features that were computed elsewhere."""
    assert features.brought is not None
    started = time.monotonic()
    split = instance.part(part)
    rows = features.brought(HandedSplit(split), part, instance.dataset.name)
    np.save(folder / "values.npy", checked_features(features.name, rows, split.ids))
    return {"n": len(split.ids), "seconds": time.monotonic() - started}


def helping(specs: Sequence[JobSpec], session: OpenSession) -> Callable[[NDArray[np.int64]], Any]:
    """What computes a batch in a helper: its rows by features, and how long each took."""
    work = extraction(specs, session)

    def rows(batch: NDArray[np.int64]) -> Any:
        work.busy[:] = 0
        found = [
            None if rows is None else [*rows.shape, base64.b64encode(rows.tobytes()).decode()]
            for rows in work(batch)
        ]
        return {"rows": found, "busy": work.busy.tolist()}

    return rows


def _described(finish: Finish, features: Features, about: Record) -> Finish:
    def write(folder: Path) -> Record:
        return {
            **finish(folder),
            **about,
            "features": features.name,
            "initial_weights": features.weights.label if features.weights else "none",
            "device": (features.device() if features.device else "") or cpu(),
            **provenance(),
        }

    return write


def extract(
    work: Extraction, workspace: Path, shared: Shared[list[Rows]] | None = None
) -> list[Finish]:
    """Features under conditions, in one streaming pass; memory stays flat.

    A pass that was killed goes on from the rows that are in ``workspace``. The ``seconds`` of a
    record are its share of the pass.
    """
    work.errors.read(workspace / "failed.json")
    n = len(work.ids)
    files = [RowFile(workspace / f"{number}.npy", n) for number in range(len(work.wanted))]
    size = batch_size(work.split)
    if shared and n >= MANY:
        size = min(size, SHARED_AT_A_TIME)
    able = [file for number, file in enumerate(files) if number not in work.errors]
    done = min((file.rows() for file in able), default=n) // size * size
    for file in able:
        file.cut(done)
    started = time.monotonic()
    batches = ahead(shared or work, np.arange(done, n), size)
    total = -(-(n - done) // size)
    for batch, values in progress(batches, total=total, label=_names(work.wanted)):
        if shared and batch[0] > done:  # the first took longer, as modules were loaded
            shared.get_help((n - batch[-1]) / size)
        for number, rows in enumerate(values):
            if rows is None or number in work.errors:
                continue
            try:
                files[number].append(rows)
            except ValueError:
                work.errors[number] = malformed(work.wanted[number][0].name)
        work.errors.write(workspace / "failed.json")
    took = (time.monotonic() - started) * n / max(n - done, 1)
    shares = work.busy / max(work.busy.sum(), 1e-9)

    def finish(number: int) -> Finish:
        def move(folder: Path) -> Record:
            work.errors.raise_if_any(number)
            files[number].move(folder / "values.npy")
            return {"n": n, "seconds": took * shares[number]}

        return move

    return [finish(number) for number in range(len(work.wanted))]


def _names(wanted: Sequence[tuple[Features, Condition]]) -> str:
    return ", ".join(dict.fromkeys(features.name for features, _ in wanted)) + " features"


def extraction(specs: Sequence[JobSpec], session: OpenSession) -> Extraction:
    """What computes the features of jobs of one pass."""
    wanted = [(session.features(spec), session.condition(spec)) for spec in specs]
    return Extraction(wanted, session.instance(specs[0]).part(specs[0].part))


class Extraction:
    """Each batch of a split under each condition, through each of the features wanted."""

    def __init__(self, wanted: Sequence[tuple[Features, Condition]], split: Split) -> None:
        self.wanted = wanted
        self.split = split
        self.ids = split.ids
        self.errors = Errors()
        self.busy = np.zeros(len(wanted))
        self.by_condition: list[tuple[Condition, list[tuple[int, Features]]]] = []
        for number, (features, condition) in enumerate(wanted):
            for known, users in self.by_condition:
                if known == condition:
                    users.append((number, features))
                    break
            else:
                self.by_condition.append((condition, [(number, features)]))

    def read(self, answer: Any) -> list[Rows] | None:
        """The rows that a helper answered; None if any failed there that have not failed here."""
        found: list[Rows] = []
        for number, given in enumerate(answer["rows"]):
            if given is None and number not in self.errors:
                return None
            rows = None
            if given is not None:
                *shape, data = given
                rows = np.frombuffer(base64.b64decode(data), np.float32).reshape(shape)
            found.append(rows)
        self.busy += answer["busy"]
        return found

    def __call__(self, indices: NDArray[np.int64]) -> list[Rows]:
        """The rows of each of the features; None for one that failed."""
        images = self.split.read(indices)
        ids = [self.ids[i] for i in indices]
        rows: list[Rows] = [None] * len(self.busy)
        last = self.by_condition[-1][0]
        for condition, users in self.by_condition:
            open_users = [user for user in users if user[0] not in self.errors]
            if not open_users:
                continue
            before = time.perf_counter()
            try:
                changed = condition.apply(own(images, last=condition is last), ids)
            except (Exception, SystemExit) as error:
                self.errors |= {number: error for number, _ in open_users}
                continue
            for number, features in open_users:
                try:
                    batch = own(changed, last=number == open_users[-1][0])
                    rows[number] = checked_features(features.name, features.extract(batch), ids)
                except (Exception, SystemExit) as error:
                    self.errors[number] = error
                now = time.perf_counter()
                self.busy[number] += now - before
                before = now
        return rows


class FeatureSplit:
    """A Split whose ``read`` returns stored features, float32 (B, D), instead of patches."""

    def __init__(self, split: Split, values: NDArray[np.float32]) -> None:
        self.labels = split.labels
        self.ids = split.ids
        self.fingerprint = split.fingerprint
        self.values = values

    def read(self, indices: Indices) -> NDArray[np.float32]:
        """Rows of the feature matrix."""
        return self.values[np.asarray(indices, np.int64)]


def with_features(split: Split, stored: Mapping[str, FeatureSplit]) -> Any:
    """The same split, its parts replaced by their stored features (found by fingerprint)."""
    if split.fingerprint in stored:  # also of a dataset's part that is itself made of splits
        return stored[split.fingerprint]
    if isinstance(split, Subset):
        return Subset(with_features(split.base, stored), split.indices)
    assert isinstance(split, Concat)
    return Concat(*(with_features(part, stored) for part in split.parts))


def load_features(store: Store, split: Split, key: Key) -> FeatureSplit:
    """Stored features, memory-mapped. Raises DamagedError."""
    return FeatureSplit(split, load_array(store.place(key), "values.npy", mmap_mode="r"))

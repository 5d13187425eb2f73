"""Features of patches, as one pass over them gives them, and stored features in their place."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.data.handover import own
from harness.data.splits import Concat, Subset, stream
from harness.jobs.conditions import Condition
from harness.jobs.output_checks import checked_features, malformed
from harness.jobs.passes import Errors, Finish, batch_size
from harness.jobs.row_files import Rows
from harness.jobs.spec import JobSpec
from harness.store.store import Key, Store
from harness.store.stored import Record, load_array
from harness.system.environment import cpu, provenance
from harness.system.progress import progress
from harness.types.datasets import Split
from harness.types.models import Features

if TYPE_CHECKING:
    from harness.jobs.session import OpenSession
    from harness.types.datasets import Indices


def compute(specs: Sequence[JobSpec], session: OpenSession, workspace: Path) -> list[Finish]:
    """Features of a part of a dataset under conditions, in one pass over its patches."""
    instance, name = session.instance(specs[0]), specs[0].part
    part = instance.part(name)
    wanted = [(session.features(spec), session.condition(spec)) for spec in specs]
    finishes = extract(wanted, part, workspace)
    about = {"dataset": specs[0].about, "patches": {name: instance.sample(name)}}
    return [
        _described(finish, features, about)
        for finish, (features, _) in zip(finishes, wanted, strict=True)
    ]


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
    wanted: Sequence[tuple[Features, Condition]], split: Split, workspace: Path
) -> list[Finish]:
    """Features under conditions, in one streaming pass; memory stays flat.

    A pass that was killed goes on from the rows that are in ``workspace``. The ``seconds`` of a
    record are its share of the pass.
    """
    work = _Extraction(wanted, split.ids)
    work.errors.read(workspace / "failed.json")
    n = len(split.labels)
    files = [Rows(workspace / f"{number}.npy", n) for number in range(len(wanted))]
    size = batch_size(split)
    able = [file for number, file in enumerate(files) if number not in work.errors]
    done = min((file.rows() for file in able), default=n) // size * size
    for file in able:
        file.cut(done)
    started = time.monotonic()
    batches = stream(split, size, order=np.arange(done, n), then=work)
    total = -(-(n - done) // size)
    for _, values in progress(batches, total=total, label=_names(wanted)):
        for number, rows in enumerate(values):
            if rows is None or number in work.errors:
                continue
            try:
                files[number].append(rows)
            except ValueError:
                work.errors[number] = malformed(wanted[number][0].name)
        work.errors.write(workspace / "failed.json")
    took = (time.monotonic() - started) * n / max(n - done, 1)
    shares = work.busy / max(work.busy.sum(), 1e-9)

    def finish(number: int) -> Finish:
        def move(folder: Path) -> Record:
            work.errors.raise_if_any(number)
            files[number].move(folder / "values.npy")
            return {"n": n, "seconds": took * shares[number]}

        return move

    return [finish(number) for number in range(len(wanted))]


def _names(wanted: Sequence[tuple[Features, Condition]]) -> str:
    return ", ".join(dict.fromkeys(features.name for features, _ in wanted)) + " features"


class _Extraction:
    """For ``stream``: each batch under each condition, through each of the features wanted."""

    def __init__(self, wanted: Sequence[tuple[Features, Condition]], ids: Sequence[str]) -> None:
        self.ids = ids
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

    def __call__(
        self, indices: NDArray[np.int64], images: NDArray[np.uint8]
    ) -> list[NDArray[np.float32] | None]:
        ids = [self.ids[i] for i in indices]
        rows: list[NDArray[np.float32] | None] = [None] * len(self.busy)
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

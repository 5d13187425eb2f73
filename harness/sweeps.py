"""One pass over the patches for many results: features, or logits, under several conditions.

Each patch is read and decoded once, however many conditions it is put under. What goes wrong with
one condition, such as a perturbation that raises, costs only its own result.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import checkpoints
from harness.boundary import frozen, own
from harness.conditions import Condition
from harness.errors import HarnessError
from harness.features import FeatureSplit
from harness.outputs import as_stored, doubt, kind_of
from harness.progress import progress, say
from harness.returned import checked_features, checked_logits, malformed
from harness.row_files import Rows
from harness.splits import stream
from harness.stored import Record, read_record, verify
from harness.types import Classifier, Features, Model, Outputs, Setting, Split

BATCH = 64
"""Patches read at a time, if they are small."""
AT_ONCE = 40 * 2**20
"""Bytes of patches in memory at a time, a reading thread, perturbed ones counted."""
SAVE_EVERY = 60.0
"""Seconds between two checkpoints of a pass."""

Finish = Callable[[Path], Record]
"""Writes one result of a pass into its folder and returns its record, or raises what stopped it."""


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


def batch_size(split: Split, conditions: int = 1) -> int:
    """Patches to read at a time when each is kept under so many conditions."""
    return max(1, min(BATCH, AT_ONCE // (conditions * split.read([0]).nbytes)))


def _names(wanted: Sequence[tuple[Features, Condition]]) -> str:
    return ", ".join(dict.fromkeys(features.name for features, _ in wanted)) + " features"


class _Errors(dict[int, BaseException]):
    """What stopped single results of a pass, by their number.

    They are kept with what there is of the pass: what failed before a patch that is done must
    neither pass for finished nor be waited for when the pass is resumed.
    """

    written = 0

    def raise_if_any(self, number: int) -> None:
        if number in self:
            raise self[number]

    def as_json(self) -> str:
        return json.dumps({k: f"{type(e).__name__}: {e}" for k, e in self.items()})

    def add_json(self, text: str) -> None:
        self |= {int(k): HarnessError(why) for k, why in json.loads(text).items()}

    def write(self, path: Path) -> None:
        """Keep them in a file, if there are new ones."""
        if len(self) > self.written:
            self.written = len(self)
            checkpoints.write(path, lambda draft: draft.write_text(self.as_json(), "utf-8"))

    def read(self, path: Path) -> None:
        """Add those of a file, if there is one that proves itself."""
        if _proved(path):
            self.add_json(path.read_text("utf-8"))


def _proved(path: Path) -> bool:
    """Whether there is a checkpoint to go on from; says so if it is damaged."""
    why = checkpoints.damage(path)
    if why and path.exists():
        say(f"{path}: {why}; it is thrown away, and that part is computed again")
    return not why


class _Extraction:
    """For ``stream``: each batch under each condition, through each of the features wanted."""

    def __init__(self, wanted: Sequence[tuple[Features, Condition]], ids: Sequence[str]) -> None:
        self.ids = ids
        self.errors = _Errors()
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


def predict(
    model: Model,
    settings: Mapping[str, Setting],
    folds: Sequence[tuple[Path, NDArray[np.int64]]],
    wanted: Sequence[tuple[Condition, FeatureSplit | None]],
    test: Split,
    n_classes: int,
    workspace: Path,
) -> list[Finish]:
    """Logits of every test patch under conditions, each by the model of its fold.

    The records say what kind of ``outputs`` is stored, "logits" or "scores", and what speaks
    against it: ``outputs_doubt``. For a model with features, each condition comes with the features
    of the test patches under it. A pass over patches is checkpointed in ``workspace`` and goes on
    from there.
    """
    fits = [str(read_record(fitted)["sha256"]) for fitted, _ in folds]
    work = _Prediction(model.name, len(wanted), len(test.labels), n_classes, workspace, fits)
    started = time.monotonic()
    size = batch_size(test, len(wanted))
    for fitted, indices in folds:
        verify(fitted)
        classifier = model.load(fitted, settings)
        work.declare(kind_of(model, classifier))
        if model.features is not None:
            work.from_features(classifier, indices, [split for _, split in wanted])
        else:
            work.from_patches(classifier, indices, [one for one, _ in wanted], test, size)
    seconds = work.seconds_before + time.monotonic() - started

    def finish(number: int) -> Finish:
        def write(folder: Path) -> Record:
            work.errors.raise_if_any(number)
            logits = work.logits[number]
            np.save(folder / "logits.npy", logits)
            return {
                "seconds": seconds / len(wanted),
                "n": len(test.labels),
                "terms": 1,
                "outputs": "scores" if work.kind == "scores" else "logits",
                "outputs_doubt": doubt(logits) if work.kind == "logits" else "",
            }

        return write

    return [finish(number) for number in range(len(wanted))]


class _Prediction:
    """Logits (K, N, C) of a pass, NaN where it has not come yet.

    ``fits`` are digests of the fits that predict: a pass of others is not gone on with.
    """

    def __init__(
        self, name: str, k: int, n: int, n_classes: int, workspace: Path, fits: Sequence[str]
    ) -> None:
        self.name = name
        self.fits = list(fits)
        self.kind: Outputs | None = None
        self.errors = _Errors()
        self.checkpoint = workspace / "pass.npz"
        self.seconds_before = 0.0
        self.started = self.saved = time.monotonic()
        self.logits = np.full((k, n, n_classes), np.nan, np.float32)
        self.done = np.zeros(n, bool)
        if not _proved(self.checkpoint):
            return
        with np.load(self.checkpoint) as stored:
            same = stored["fits"].tolist() == self.fits
            if same and stored["logits"].shape == self.logits.shape:
                self.logits, self.done = stored["logits"], stored["done"]
                self.seconds_before = float(stored["seconds"])
                self.errors.add_json(str(stored["failed"]))

    def declare(self, kind: Outputs) -> None:
        """What the classifier of a fold returns. Raises HarnessError if others return another."""
        if self.kind not in (None, kind):
            raise HarnessError(
                f"the outputs of {self.name} are {self.kind} in one fold and {kind} in another; "
                "let it return one kind"
            )
        self.kind = kind

    def save(self) -> None:
        """Keep what there is, whole or not at all."""
        if time.monotonic() - self.saved < SAVE_EVERY:
            return
        about: dict[str, Any] = {
            "seconds": self.seconds_before + time.monotonic() - self.started,
            "failed": self.errors.as_json(),
            "fits": self.fits,
        }
        checkpoints.write(
            self.checkpoint,
            lambda draft: np.savez(draft, logits=self.logits, done=self.done, **about),
        )
        self.saved = time.monotonic()

    def from_features(
        self,
        classifier: Classifier,
        indices: NDArray[np.int64],
        splits: Sequence[FeatureSplit | None],
    ) -> None:
        """Predict some patches from their features under each condition."""
        for number, split in enumerate(splits):
            assert split is not None
            for start in range(0, len(indices), 4096):
                chosen = indices[start : start + 4096]
                self.put(number, chosen, classifier.logits(frozen(split.read(chosen))))

    def from_patches(
        self,
        classifier: Classifier,
        indices: NDArray[np.int64],
        conditions: Sequence[Condition],
        test: Split,
        size: int,
    ) -> None:
        """Predict some patches under each condition, decoding each once, ``size`` at a time."""
        ids = test.ids

        def change(chosen: NDArray[np.int64], images: NDArray[np.uint8]) -> dict[int, Any]:
            names = [ids[i] for i in chosen]
            changed = {}
            for number, condition in enumerate(conditions):
                if number in self.errors:
                    continue
                try:
                    batch = own(images, last=number == len(conditions) - 1)
                    changed[number] = condition.apply(batch, names)
                except (Exception, SystemExit) as error:
                    self.errors[number] = error
            return changed

        # Whole batches are skipped, so that what is left comes in the same batches as ever.
        starts = [s for s in range(0, len(indices), size) if not self.done[indices[s]]]
        order = np.concatenate([indices[s : s + size] for s in starts] or [indices[:0]])
        batches = stream(test, size, order=order, then=change)
        label = f"{self.name} predicts" + (f", {len(conditions)} ways" if conditions[1:] else "")
        for chosen, changed in progress(batches, total=len(starts), label=label):
            numbers = sorted(set(changed) - set(self.errors))
            if numbers:
                together = np.concatenate([changed[number] for number in numbers])
                rows = classifier.logits(frozen(together))
                if np.shape(rows) != (len(together), self.n_classes):
                    checked_logits(self.name, rows, len(together), self.n_classes)  # raises
                parts = np.split(np.asarray(rows), len(numbers))
                for number, part in zip(numbers, parts, strict=True):
                    self.put(number, chosen, part)
            self.done[chosen] = True
            self.save()

    def put(self, number: int, chosen: NDArray[np.int64], rows: Any) -> None:
        """Keep the logits of some patches under one condition, or why they cannot be kept."""
        try:
            assert self.kind is not None
            rows = as_stored(self.name, self.kind, rows, len(chosen), self.n_classes)
            self.logits[number, chosen] = rows
        except HarnessError as error:
            self.errors[number] = error

    @property
    def n_classes(self) -> int:
        return self.logits.shape[2]

"""Logits of test patches under conditions, in one pass for all conditions of a model."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness import checkpoints
from harness import settings as model_settings
from harness.boundary import frozen, own
from harness.environment import provenance
from harness.errors import HarnessError
from harness.jobs.conditions import CLEAN, Condition
from harness.jobs.features import FeatureSplit, load_features
from harness.jobs.fit import device_name
from harness.jobs.passes import SAVE_EVERY, Errors, Finish, batch_size, proved
from harness.jobs.spec import JobSpec
from harness.outputs import as_stored, doubt, kind_of
from harness.progress import progress, say
from harness.returned import checked_logits
from harness.splits import stream
from harness.stored import Record, read_record, verify
from harness.types import Classifier, DerivedModel, Model, Outputs, Setting, Split

if TYPE_CHECKING:
    from harness.jobs.session import Session


def compute(specs: Sequence[JobSpec], session: Session, workspace: Path) -> list[Finish]:
    """Logits of all test patches by one model under conditions, in one pass over the patches.

    Each test patch is predicted by the fit of its fold.
    """
    first = specs[0]
    instance, model = session.instance(first), session.model(first)
    test = instance.splits.test
    by_fit: dict[Path, list[NDArray[np.int64]]] = {}
    for fit, (_, indices) in zip(first.inputs["fits"], instance.pairs, strict=True):
        by_fit.setdefault(session.store.folder(fit), []).append(indices)
    folds = [(path, np.sort(np.concatenate(found))) for path, found in by_fit.items()]
    wanted: list[tuple[Condition, FeatureSplit | None]] = []
    for spec in specs:
        stored = [load_features(session.store, test, key) for key in spec.inputs["features"]]
        wanted.append((session.condition(spec), stored[0] if stored else None))
    n_classes = len(instance.dataset.classes)
    finishes = predict(model, first.settings, folds, wanted, test, n_classes, workspace)
    return [
        _described(finish, spec, model, condition, session)
        for finish, spec, (condition, _) in zip(finishes, specs, wanted, strict=True)
    ]


def _described(
    finish: Finish, spec: JobSpec, model: Model, condition: Condition, session: Session
) -> Finish:
    def write(folder: Path) -> Record:
        record, store = finish(folder), session.store
        for key in spec.inputs["features"]:
            record["seconds"] += store.record(key)["seconds"]
        if record["outputs_doubt"] and condition == CLEAN:
            say(f"WARNING: {spec.key.dataset}: {model.name}: {record['outputs_doubt']}")
        fits = {fit.digest: fit for fit in spec.inputs["fits"]}.values()
        return {
            **record,
            **describe(spec, model, condition, session),
            "settings": {name: spec.settings[name] for name in model.settings},
            "deviations": model_settings.deviations(model, spec.settings),
            "initial_weights": spec.weights.get("label", "none"),
            "initial_weights_digest": spec.weights.get("digest", "none"),
            "initial_weights_fallback": bool(spec.weights.get("warning")),
            "version": model.version,
            "trained_on": model.trained_on,
            "classes_declared": not model.trained_on or model.classes is not None,
            "selected_on": spec.selected_on,
            "device": device_name(model, spec.settings),
            "fits": [_short(store.record(fit)) for fit in fits],
            "features": [_short(store.record(part)) for part in spec.inputs["fitted on"]],
        }

    return write


def describe(
    spec: JobSpec, model: Model | DerivedModel, condition: Condition, session: Session
) -> Record:
    """What the record of every prediction says."""
    plugin = session.registry.models.plugin[model.name]
    return {
        "model": model.name,
        "title": model.title,
        "plugin": f"{plugin.distribution} {plugin.version}",
        "data": spec.data,
        "derived": isinstance(model, DerivedModel),
        "seed": spec.seed,
        **condition.as_dict(),
        **provenance(),
    }


def _short(record: Record) -> Record:
    known = ("digest", "seconds", "n", "n_selection")
    return {name: record[name] for name in known if name in record}


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
        self.errors = Errors()
        self.checkpoint = workspace / "pass.npz"
        self.seconds_before = 0.0
        self.started = self.saved = time.monotonic()
        self.logits = np.full((k, n, n_classes), np.nan, np.float32)
        self.done = np.zeros(n, bool)
        if not proved(self.checkpoint):
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

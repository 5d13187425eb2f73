"""Logits of test patches under conditions, in one pass for all conditions of a model."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.data.handover import HandedSplit, frozen, own
from harness.data.splits import stream
from harness.errors import HarnessError
from harness.hooks import settings as model_settings
from harness.jobs.conditions import CLEAN, Condition
from harness.jobs.features import FeatureSplit, load_features
from harness.jobs.fit import device_name
from harness.jobs.output_checks import checked_logits
from harness.jobs.outputs import as_stored, doubt, kind_of
from harness.jobs.passes import SAVE_EVERY, Errors, Logits, batch_size, proved
from harness.jobs.spec import JobSpec
from harness.store.stored import Record, file_name, read_record, verify
from harness.system import checkpoints
from harness.system.environment import provenance
from harness.system.progress import progress
from harness.types.datasets import Split
from harness.types.models import Classifier, DerivedModel, Model, Outputs, Setting

if TYPE_CHECKING:
    from harness.jobs.session import OpenSession

log = logging.getLogger(__name__)

TOGETHER = 2**30
"""Bytes of the files of fits that are loaded at a time."""


def compute(specs: Sequence[JobSpec], session: OpenSession, workspace: Path) -> list[Logits]:
    """Logits of all test patches by models under conditions, in one pass over the patches.

    Each test patch is predicted by the fit of its fold.
    """
    instance = session.instance(specs[0])
    test, n_classes = instance.splits.test, len(instance.dataset.classes)
    by_model: dict[str, list[JobSpec]] = {}
    for spec in specs:
        by_model.setdefault(spec.key.name, []).append(spec)
    tasks = []
    for wanted in by_model.values():
        by_fit: dict[Path, list[NDArray[np.int64]]] = {}
        for fit, (_, indices) in zip(wanted[0].fits, instance.pairs, strict=True):
            by_fit.setdefault(session.store.folder(fit), []).append(indices)
        inputs: list[tuple[Condition, FeatureSplit | None]] = []
        for spec in wanted:
            stored = [load_features(session.store, test, key) for key in spec.inputs["features"]]
            inputs.append((session.condition(spec), stored[0] if stored else None))
        tasks.append(
            Task(
                model=session.model(wanted[0]),
                settings=wanted[0].settings,
                folds=[(path, np.sort(np.concatenate(found))) for path, found in by_fit.items()],
                wanted=inputs,
                dataset=instance.dataset.name,
            )
        )
    finishes: dict[str, Logits] = {}
    found = predict_together(tasks, test, n_classes, workspace)
    for wanted, task, of_task in zip(by_model.values(), tasks, found, strict=True):
        for spec, (condition, _), finish in zip(wanted, task.wanted, of_task, strict=True):
            described = _described(finish, spec, task.model, condition, session)
            finishes[spec.key.digest] = described
    return [finishes[spec.key.digest] for spec in specs]


def _described(
    finish: Logits, spec: JobSpec, model: Model, condition: Condition, session: OpenSession
) -> Logits:
    def about(values: NDArray[np.float32]) -> Record:
        record, store = finish.about(values), session.store
        for key in spec.inputs["features"]:
            record["seconds"] += store.record(key)["seconds"]
        if record["outputs_doubt"] and condition == CLEAN:
            log.warning(f"{spec.about}: {model.name}: {record['outputs_doubt']}")
        fits = {fit.digest: fit for fit in spec.fits}.values()
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

    return Logits(finish.values, about)


def describe(
    spec: JobSpec, model: Model | DerivedModel, condition: Condition, session: OpenSession
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


@dataclass(frozen=True)
class Task:
    """What one model predicts in a pass."""

    model: Model
    settings: Mapping[str, Setting]
    folds: Sequence[tuple[Path, NDArray[np.int64]]]
    """Folders of fits, and the test patches that each predicts."""
    wanted: Sequence[tuple[Condition, FeatureSplit | None]]
    """Conditions; for a model with features, with the features of the test patches under each."""
    dataset: str = ""
    """Name of the dataset whose test patches they are."""


def predict(
    model: Model,
    settings: Mapping[str, Setting],
    folds: Sequence[tuple[Path, NDArray[np.int64]]],
    wanted: Sequence[tuple[Condition, FeatureSplit | None]],
    test: Split,
    n_classes: int,
    workspace: Path,
) -> list[Logits]:
    """``predict_together`` of one model."""
    task = Task(model, settings, folds, wanted)
    return predict_together([task], test, n_classes, workspace)[0]


def predict_together(
    tasks: Sequence[Task], test: Split, n_classes: int, workspace: Path
) -> list[list[Logits]]:
    """Logits of every test patch under conditions, each by the model of its fold; by task.

    The records say what kind of ``outputs`` is stored, "logits" or "scores", and what speaks
    against it: ``outputs_doubt``. Each patch is decoded once and perturbed once under each
    condition, whatever the number of models. A pass over patches is checkpointed in ``workspace``
    and goes on from there. What goes wrong with one model costs the others nothing.
    """
    works = [_Prediction(task, len(test.labels), n_classes, workspace) for task in tasks]
    for work in works:
        if work.task.model.features is not None:
            work.from_features()
        elif work.task.model.given is not None:
            work.from_given(test)
    patches = [
        work for work in works if work.task.model.features is None and work.task.model.given is None
    ]
    for together in _passes(patches):
        _from_patches(together, test)
    if len(works) == 1 and works[0].stopped:  # what there is of the pass is kept for another try
        raise works[0].stopped
    return [[work.finish(number) for number in range(len(work.task.wanted))] for work in works]


def _passes(works: Sequence[_Prediction]) -> list[list[_Prediction]]:
    """Those that predict the same patches in each fold, as many as memory may hold at a time.

    Pretrained classifiers, whose weights need not be among their stored files, go alone.
    """
    found: dict[tuple[object, ...], list[_Prediction]] = {}
    sizes: dict[tuple[object, ...], int] = {}
    for number, work in enumerate(works):
        shape: tuple[object, ...] = tuple(indices.tobytes() for _, indices in work.task.folds)
        if work.task.model.trained_on:
            shape = (*shape, number)
        if sizes.setdefault(shape, 0) + work.size > TOGETHER:
            found[*shape, number] = found.pop(shape, [])
            sizes[shape] = 0
        found.setdefault(shape, []).append(work)
        sizes[shape] += work.size
    return [together for together in found.values() if together]


def _from_patches(works: Sequence[_Prediction], test: Split) -> None:
    """Predict patches, decoding each once and perturbing it once under each condition."""
    conditions: list[Condition] = []
    for work in works:
        conditions += [one for one, _ in work.task.wanted if one not in conditions]
    for work in works:
        work.places = [conditions.index(one) for one, _ in work.task.wanted]
    size = batch_size(test, len(conditions))
    ids = test.ids
    broken: dict[int, BaseException] = {}
    """By condition: what its perturbation raised."""

    def change(chosen: NDArray[np.int64], images: NDArray[np.uint8]) -> dict[int, Any]:
        names = [ids[i] for i in chosen]
        changed = {}
        for place, condition in enumerate(conditions):
            if place in broken or not any(work.wants(place) for work in works):
                continue
            try:
                batch = own(images, last=place == len(conditions) - 1)
                changed[place] = condition.apply(batch, names)
            except (Exception, SystemExit) as error:
                broken[place] = error
        return changed

    ways = f", {len(conditions)} ways" if conditions[1:] else ""
    called = works[0].name if len(works) == 1 else f"{len(works)} models"
    for fold in range(len(works[0].task.folds)):
        indices = works[0].task.folds[fold][1]
        able = [work for work in works if work.load(fold)]
        # Whole batches are skipped, so that what is left comes in the same batches as ever.
        starts = [
            start
            for start in range(0, len(indices), size)
            if not all(work.done[indices[start]] for work in able)
        ]
        order = np.concatenate([indices[s : s + size] for s in starts] or [indices[:0]])
        batches = stream(test, size, order=order, then=change)
        verb = f"{called} predict{'s' if len(works) == 1 else ''}{ways}"
        waited = time.monotonic()
        for chosen, changed in progress(batches, total=len(starts), label=verb):
            open_ones = [work for work in able if not work.done[chosen[0]]]
            share = (time.monotonic() - waited) / max(len(open_ones), 1)
            for work in open_ones:
                work.seconds += share
            joined: dict[tuple[int, ...], NDArray[np.uint8]] = {}
            for work in open_ones:
                work.take(chosen, changed, broken, joined)
            if not any(work.is_open for work in able):
                break
            waited = time.monotonic()
        for work in works:
            work.classifier = None


class _Prediction:
    """Logits (K, N, C) of a task, NaN where they have not come yet.

    They are kept in ``workspace`` with digests of the fits that predict: a pass of others is not
    gone on with.
    """

    def __init__(self, task: Task, n: int, n_classes: int, workspace: Path) -> None:
        self.task = task
        self.name = task.model.name
        self.classifier: Classifier | None = None
        self.places: list[int] = []
        """By number of a condition of this task, its place among those of the pass."""
        self.kind: Outputs | None = None
        self.errors = Errors()
        self.stopped: BaseException | None = None
        """What the model itself raised."""
        self.checkpoint = workspace / f"{file_name(self.name)}.npz"
        self.seconds = 0.0
        self.saved = time.monotonic()
        self.logits = np.full((len(task.wanted), n, n_classes), np.nan, np.float32)
        self.done = np.zeros(n, bool)
        self.fits: list[str] = []
        self.size = 0
        """Bytes of the files of a fit."""
        try:
            records = [read_record(fitted) for fitted, _ in task.folds]
        except HarnessError as error:
            self.fail(error)
            return
        self.fits = [str(record["sha256"]) for record in records]
        self.size = max(sum(f["size"] for f in record["files"].values()) for record in records)
        if not proved(self.checkpoint):
            return
        with np.load(self.checkpoint) as stored:
            same = stored["fits"].tolist() == self.fits
            if same and stored["logits"].shape == self.logits.shape:
                self.logits, self.done = stored["logits"], stored["done"]
                self.seconds = float(stored["seconds"])
                self.errors.add_json(str(stored["failed"]))

    def fail(self, error: BaseException) -> None:
        """Note what stopped everything that has not failed by now."""
        self.stopped = error
        for number in range(len(self.task.wanted)):
            self.errors.setdefault(number, error)

    @property
    def is_open(self) -> bool:
        """Whether anything has not failed by now."""
        return len(self.errors) < len(self.task.wanted)

    def wants(self, place: int) -> bool:
        """Whether patches under a condition of the pass are needed."""
        return any(at == place and k not in self.errors for k, at in enumerate(self.places))

    def load(self, fold: int) -> bool:
        """Load the model of a fold. Returns whether there is anything to predict with it."""
        if not self.is_open:
            return False
        fitted = self.task.folds[fold][0]
        started = time.monotonic()
        try:
            verify(fitted)
            self.classifier = self.task.model.load(fitted, self.task.settings)
            self.declare(kind_of(self.task.model, self.classifier))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # also what is no Exception, such as a panic in Rust
            self.fail(error)
            return False
        finally:
            self.seconds += time.monotonic() - started
        return True

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
            "seconds": self.seconds,
            "failed": self.errors.as_json(),
            "fits": self.fits,
        }
        checkpoints.write(
            self.checkpoint,
            lambda draft: np.savez(draft, logits=self.logits, done=self.done, **about),
        )
        self.saved = time.monotonic()

    def from_features(self) -> None:
        """Predict all patches from their features under each condition."""
        for fold, (_, indices) in enumerate(self.task.folds):
            if not self.load(fold):
                return
            started = time.monotonic()
            for number, (_, split) in enumerate(self.task.wanted):
                assert split is not None
                for start in range(0, len(indices), 4096):
                    chosen = indices[start : start + 4096]
                    self.answer([number], chosen, split.read(chosen))
            self.seconds += time.monotonic() - started

    def from_given(self, test: Split) -> None:
        """Take predictions that were brought along; they are by patch and have no folds."""
        if not self.load(0):
            return
        classifier: Any = self.classifier
        assert self.kind is not None
        n, n_classes = self.logits.shape[1:]
        handed = HandedSplit(test)
        for number, (condition, _) in enumerate(self.task.wanted):
            about = condition.as_dict()
            try:
                rows = classifier.predictions(
                    handed, about["perturbation"], about["level"], self.task.dataset
                )
                self.logits[number] = as_stored(self.name, self.kind, rows, n, n_classes)
            except (Exception, SystemExit) as error:
                self.errors[number] = error

    def take(
        self,
        chosen: NDArray[np.int64],
        changed: Mapping[int, NDArray[np.uint8]],
        broken: Mapping[int, BaseException],
        joined: dict[tuple[int, ...], NDArray[np.uint8]],
    ) -> None:
        """Predict some patches under the conditions of the task. ``broken`` says why one is not
        among the ``changed``. ``joined`` keeps patches under several conditions for other models,
        which get them read-only."""
        started = time.monotonic()
        for number, place in enumerate(self.places):
            if place in broken:
                self.errors.setdefault(number, broken[place])
        numbers = [n for n, at in enumerate(self.places) if n not in self.errors and at in changed]
        if numbers:
            places = tuple(self.places[number] for number in numbers)
            if places not in joined:
                joined[places] = frozen(np.concatenate([changed[place] for place in places]))
            self.answer(numbers, chosen, joined[places])
        if self.stopped:
            return
        self.done[chosen] = True
        self.seconds += time.monotonic() - started
        self.save()

    def answer(self, numbers: Sequence[int], chosen: NDArray[np.int64], inputs: Any) -> None:
        """Predict some patches under some conditions, of which ``inputs`` has one after another."""
        assert self.classifier is not None
        n_classes = self.logits.shape[2]
        try:
            rows = self.classifier.logits(frozen(inputs))
            if np.shape(rows) != (len(inputs), n_classes):
                checked_logits(self.name, rows, len(inputs), n_classes)  # raises
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self.fail(error)
            return
        parts = np.split(np.asarray(rows), len(numbers))
        for number, part in zip(numbers, parts, strict=True):
            try:
                assert self.kind is not None
                part = as_stored(self.name, self.kind, part, len(chosen), n_classes)
                self.logits[number, chosen] = part
            except HarnessError as error:
                self.errors[number] = error

    def finish(self, number: int) -> Logits:
        """The result of a condition."""

        def values() -> NDArray[np.float32]:
            self.errors.raise_if_any(number)
            logits: NDArray[np.float32] = self.logits[number]
            return logits

        def about(logits: NDArray[np.float32]) -> Record:
            return {
                "seconds": self.seconds / len(self.task.wanted),
                "n": len(logits),
                "terms": 1,
                "outputs": "scores" if self.kind == "scores" else "logits",
                "outputs_doubt": doubt(logits) if self.kind == "logits" else "",
            }

        return Logits(values, about)

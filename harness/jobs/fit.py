"""Fitting a model on a fold, and what is kept of it beside the model itself."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.data.handover import HandedSplit, frozen
from harness.data.splits import Subset, hold_out, stream
from harness.errors import HarnessError
from harness.hooks import settings as model_settings
from harness.hooks.guard import alone
from harness.jobs.features import load_features, with_features
from harness.jobs.outputs import as_stored, kind_of
from harness.jobs.passes import Finish
from harness.jobs.spec import JobSpec
from harness.store.store import Key, Store
from harness.store.stored import Record
from harness.system import checkpoints
from harness.system.environment import cpu, provenance
from harness.system.progress import progress, say
from harness.types.datasets import Dataset, Split
from harness.types.models import Classifier, Features, FitContext, InitialWeights, Model, Setting

if TYPE_CHECKING:
    from harness.jobs.session import OpenSession

log = logging.getLogger(__name__)

HELD_OUT = "held-out.npz"
"""In the folder of a fit: logits (N, C) and labels (N,) of the patches it selected on."""
EPOCHS = "epochs.npz"
"""In the folder of an audited fit: logits (E, N, C) of test patches and scores (E,)."""


@dataclass(frozen=True)
class FitSpec:
    """One fit: which model, how, on which fold."""

    dataset: Dataset
    model: Model
    settings: Mapping[str, Setting]
    """All settings, those that change only the execution included."""
    weights: InitialWeights | None
    seed: int
    selected_on: str
    """none, held-out, validation or test; for a pretrained classifier, what its authors did."""
    fold: int
    audited: bool = False
    """Whether what each epoch predicts is kept."""


def compute(specs: Sequence[JobSpec], session: OpenSession, workspace: Path) -> list[Finish]:
    """Fit a model on a fold. Inputs named "features: PART" are of parts of the dataset."""
    (spec,) = specs
    return [lambda folder: _fit(spec, session, folder)]


def _fit(spec: JobSpec, session: OpenSession, folder: Path) -> Record:
    instance, model, store = session.instance(spec), session.model(spec), session.store
    train: Any
    train, test_indices = instance.pairs[spec.fold]
    test: Any = Subset(instance.splits.test, test_indices)
    validation: Any = instance.splits.validation
    # What the authors of a pretrained classifier selected on is not read here.
    selected_on = "none" if model.trained_on else spec.selected_on
    parts = instance.fitted_on(selected_on, spec.audited)
    stored = {
        split.fingerprint: load_features(store, split, spec.inputs[f"features: {part}"][0])
        for part, split in parts.items()
        if f"features: {part}" in spec.inputs
    }
    if stored:
        train = with_features(train, stored)
        if spec.audited or selected_on == "test":
            test = with_features(test, stored)
        if selected_on == "validation":
            validation = with_features(validation, stored)
    how = FitSpec(
        *(instance.dataset, model, spec.settings, session.weights(spec), spec.seed),
        *(spec.selected_on, spec.fold, spec.audited),
    )
    return {
        **fit(how, train, test, validation, store, spec.key, folder),
        "model": model.name,
        "settings": dict(spec.settings),
        "deviations": model_settings.deviations(model, spec.settings),
        "seed": spec.seed,
        "selected_on": spec.selected_on,
        "initial_weights": spec.weights.get("label", "none"),
        "fold": spec.fold,
        "dataset": spec.about,
        "patches": {} if model.trained_on else {part: instance.sample(part) for part in parts},
        **provenance(),
    }


def weights_of(
    model: Model, settings: Mapping[str, Setting], used: Features | None
) -> InitialWeights | None:
    """What a model with these settings starts from: weights of its own, or of its features."""
    if model.initial_weights:
        return model.initial_weights(settings)
    return used.weights if used else None


def estimate(spec: JobSpec, session: OpenSession) -> float | None:
    """Seconds that a fit takes on this device, roughly. None if the model cannot tell."""
    model = session.model(spec)
    try:
        return model.estimate(spec.n_fit, spec.settings) if model.estimate else None
    except Exception:  # the fit itself will fail in the same way, and say so
        return None


def fit(
    spec: FitSpec,
    train: Split,
    test_fold: Split,
    own_validation: Split | None,
    store: Store,
    key: Key,
    folder: Path,
) -> Record:
    """Fit a model on a fold and save it. ``own_validation`` is the dataset's, if it has one."""
    validation: Split | None = None
    if spec.model.trained_on:
        pass  # it is pretrained
    elif spec.selected_on == "validation":
        validation = own_validation
    elif spec.selected_on == "held-out":
        kept, held = hold_out(train.labels, spec.seed)
        if not len(held):
            raise HarnessError(
                f"{spec.dataset.name}: no class has two training patches, so none can be held out "
                "to select on; add patches"
            )
        train, validation = Subset(train, kept), Subset(train, held)
    elif spec.selected_on == "test":
        validation = test_fold
    workspace = store.workspace(key)
    n_classes = len(spec.dataset.classes)
    epochs = Epochs(workspace, spec.model, test_fold, n_classes) if spec.audited else None
    context = FitContext(
        seed=spec.seed,
        classes=spec.dataset.classes,
        settings=MappingProxyType(dict(spec.settings)),
        folder=workspace,
        initial_weights=spec.weights,
        after_epoch=epochs.keep if epochs else None,
        progress=progress,
        say=say,
    )
    timer = _Timer(context.folder)
    with alone():
        handed = None if validation is None else HandedSplit(validation)
        classifier = spec.model.fit(HandedSplit(train), handed, context)
    others = spec.model.classes not in (None, spec.dataset.classes)
    if spec.model.trained_on and others and spec.model.given is None:
        _check_order(spec.model, classifier, train, context)
    classifier.save(folder)
    if validation is not None and spec.selected_on != "test":
        logits = predict_all(spec.model, classifier, validation, n_classes)
        np.savez(folder / HELD_OUT, logits=logits, labels=validation.labels)
    if epochs:
        epochs.save(folder)
    return {
        "seconds": timer.total(),
        "n": 0 if spec.model.trained_on else len(train.labels),
        "n_selection": 0 if validation is None else len(validation.labels),
        "device": device_name(spec.model, spec.settings),
    }


def _check_order(model: Model, classifier: Classifier, train: Split, context: FitContext) -> None:
    """Raise HarnessError unless a pretrained model gives its logits in the order of the classes.

    It is loaded again for the classes in the opposite order, which must reverse its logits.
    """
    folder = context.folder / "reversed"
    folder.mkdir(exist_ok=True)
    opposite = replace(context, classes=context.classes[::-1], folder=folder)
    inputs = train.read(np.arange(min(4, len(train.labels))))
    used = model.features_with(context.settings)
    inputs = frozen(used.extract(inputs) if used and inputs.ndim == 4 else inputs)
    values = np.array(classifier.logits(inputs))
    expected = np.asarray(model.fit(train, None, opposite).logits(inputs))[:, ::-1]
    if values.shape != expected.shape or not np.allclose(values, expected, rtol=1e-2, atol=1e-2):
        raise HarnessError(
            f"{model.name}: its logits are not in the order of the dataset's classes "
            f"({', '.join(context.classes)}), but its own is {', '.join(model.classes or ())}; let "
            "fit bring them into the order of context.classes"
        )


def predict_all(
    model: Model, classifier: Classifier, split: Split, n_classes: int
) -> NDArray[np.float32]:
    """Logits of every patch of a split, (N, C), without any change, as they are stored."""
    kind = kind_of(model, classifier)
    logits = np.empty((len(split.labels), n_classes), np.float32)
    for chosen, inputs in stream(split, 64):
        rows = classifier.logits(frozen(inputs))
        logits[chosen] = as_stored(model.name, kind, rows, len(chosen), n_classes)
    return logits


class Epochs:
    """Keeps what each epoch of a fit predicts for the test patches of its fold.

    Each is written at once, so that a fit that was killed goes on with those it has. Where one of
    them is damaged or gone, the model starts over: it would not report that epoch again.
    """

    def __init__(self, workspace: Path, model: Model, test: Split, n_classes: int) -> None:
        self.folder = workspace / "epochs"
        self.index = workspace / "epochs.json"
        self.model = model
        self.test = test
        self.n_classes = n_classes
        if any(workspace.iterdir()) and (why := self._damage()):
            log.info(f"{why}; the fit starts over")
            shutil.rmtree(workspace)
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.index.exists():
            self._list([])

    def _damage(self) -> str:
        for path in (self.index, *(self._file(epoch) for epoch in self._kept())):
            if why := checkpoints.damage(path):
                return f"{path}: {why}"
        return ""

    def _kept(self) -> list[int]:
        """The epochs that are kept; none if that cannot be told."""
        if checkpoints.damage(self.index):
            return []
        kept: list[int] = json.loads(self.index.read_text("utf-8"))
        return kept

    def _list(self, epochs: Sequence[int]) -> None:
        checkpoints.write(self.index, lambda draft: draft.write_text(json.dumps(epochs), "utf-8"))

    def _file(self, epoch: int) -> Path:
        return self.folder / f"{epoch:06}.npz"

    def keep(self, epoch: int, classifier: Classifier, score: float) -> None:
        """``FitContext.after_epoch``."""
        logits = predict_all(self.model, classifier, self.test, self.n_classes)
        path = self._file(epoch)
        checkpoints.write(path, lambda draft: np.savez(draft, logits=logits, score=score))
        self._list(sorted({*self._kept(), epoch}))

    def save(self, folder: Path) -> None:
        """Write logits (E, N, C) and scores (E,) of all epochs."""
        kept = []
        if why := self._damage():
            raise HarnessError(f"{why}; run again")
        for epoch in self._kept():
            with np.load(self._file(epoch)) as stored:
                kept.append((stored["logits"], float(stored["score"])))
        if not kept:
            raise HarnessError(
                "the model reported no epochs, so the selection cannot be audited; report it to "
                "the plugin's author"
            )
        logits, scores = zip(*kept, strict=True)
        np.savez(folder / EPOCHS, logits=np.stack(logits), scores=np.array(scores))


def device_name(model: Model, settings: Mapping[str, Setting]) -> str:
    """Where a model runs with these settings."""
    return (model.device(settings) if model.device else "") or cpu()


class _Timer:
    """Seconds spent on a fit, over all the runs it took; a killed run counts up to its last save.

    Runs leave their start in the workspace; the newest file there tells how far a run came.
    """

    def __init__(self, folder: Path) -> None:
        file = folder / "seconds.json"
        self.before = 0.0
        if not checkpoints.damage(file):
            earlier = json.loads(file.read_text(encoding="utf-8"))
            newest = max(path.stat().st_mtime for path in folder.iterdir())
            self.before = earlier["before"] + max(0.0, newest - earlier["started"])
        content = {"before": self.before, "started": time.time()}
        checkpoints.write(file, lambda draft: draft.write_text(json.dumps(content), "utf-8"))
        self.clock = time.monotonic()

    def total(self) -> float:
        return self.before + time.monotonic() - self.clock

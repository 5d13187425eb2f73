"""The work behind each kind of result: list a dataset, fit, sum logits, ask a probe.

Every function here computes one result into an empty folder and returns what its record says. All
inputs come from the store or from a dataset; nothing is passed from job to job in memory. Features
and predictions, many of which one pass over the patches gives, are in ``harness.sweeps``.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import checkpoints, classes
from harness.boundary import HandedSplit, alone, frozen
from harness.environment import cpu
from harness.errors import HarnessError
from harness.outputs import as_stored, kind_of
from harness.probes import Audit, DatasetProbe, Measured
from harness.progress import progress, say
from harness.splits import Subset, hold_out, stream
from harness.store import Key, Store
from harness.stored import Record, load_array
from harness.types import (
    Classifier,
    Dataset,
    FitContext,
    InitialWeights,
    Model,
    Setting,
    Split,
    Splits,
)

HELD_OUT = "held-out.npz"
"""In the folder of a fit: logits (N, C) and labels (N,) of the patches it selected on."""
SUM_VERSION = 2
"""Of sums of logits, in their keys: raised when their records say more."""
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
    """none, held-out, validation or test; for a model that comes fitted, what its authors did."""
    fold: int
    audited: bool = False
    """Whether what each epoch predicts is kept."""


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
        "test_counts": counts.tolist(),
    }


def store_dataset(described: Record, splits: Splits, pairs: Sequence[Any], folder: Path) -> Record:
    """Store labels, ids, folds and groups of test patches beside what is said of a dataset.

    Also how the patches of all parts were listed, of which others are not stored.
    """
    np.save(folder / "labels.npy", splits.test.labels)
    (folder / "ids.json").write_text(json.dumps(list(splits.test.ids)), encoding="utf-8")
    folds = np.zeros(len(splits.test.labels), np.int64)
    for number, (_, predicted) in enumerate(pairs):
        folds[predicted] = number
    np.save(folder / "folds.npy", folds)
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
        pass  # it comes fitted
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
    if spec.model.trained_on and spec.model.classes not in (None, spec.dataset.classes):
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
    inputs = frozen(train.read(np.arange(min(4, len(train.labels)))))
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
            say(f"{why}; the fit starts over")
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


def ask(
    probe: DatasetProbe,
    dataset: Dataset,
    splits: Splits,
    pairs: Sequence[tuple[Split, NDArray[np.int64]]],
    stored: Mapping[str, Mapping[str, Path]],
    folder: Path,
) -> Record:
    """What a probe finds in a dataset. ``stored`` has folders of features by part and name."""

    def measured(part: str, split: Split | None) -> Measured | None:
        if split is None:
            return None
        values = {
            name: frozen(load_array(path, "values.npy")) for name, path in stored[part].items()
        }
        return Measured(split=HandedSplit(split), values=MappingProxyType(values))

    train, test = measured("train", splits.train), measured("test", splits.test)
    assert test is not None
    n_train = 0 if splits.train is None else len(splits.train.labels)
    all_test = np.arange(len(splits.test.labels))
    folds = []
    for _, predicted in pairs:
        rest = np.setdiff1d(all_test, predicted)
        fitted_on = np.concatenate([np.arange(n_train), n_train + rest])
        folds.append((frozen(fitted_on), frozen(n_train + predicted)))
    started = time.monotonic()
    finding = probe.measure(
        Audit(
            classes=dataset.classes, train=train, test=test, folds=tuple(folds), progress=progress
        )
    )
    (folder / "finding.json").write_text(
        json.dumps(asdict(finding), allow_nan=False) + "\n", encoding="utf-8"
    )
    return {"seconds": time.monotonic() - started}


def derive(members: Sequence[Path], records: Sequence[Record], folder: Path) -> Record:
    """Sum stored logits; the record joins those of the members, and counts the terms.

    Raises HarnessError for a sum of scores and logits, which have no common scale.
    """
    kinds = {record.get("outputs") == "scores": record["model"] for record in records}
    if len(kinds) > 1:
        raise HarnessError(
            f"the outputs of {kinds[True]} are scores and those of {kinds[False]} are logits; they "
            "have no common scale, so their sum means nothing; sum models of one kind"
        )
    total = np.sum([load_array(member, "logits.npy") for member in members], axis=0)
    np.save(folder / "logits.npy", total.astype(np.float32))
    fits, features = (
        list({part["digest"]: part for record in records for part in record[kind]}.values())
        for kind in ("fits", "features")
    )
    return {
        "seconds": sum(record["seconds"] for record in records),
        "n": len(total),
        "fits": fits,
        "features": features,
        "members": [record["digest"] for record in records],
        "terms": sum(record.get("terms", 1) for record in records),
        "outputs": "scores" if True in kinds else "logits",
        "initial_weights_fallback": any(r.get("initial_weights_fallback") for r in records),
        "classes_declared": all(r.get("classes_declared", True) for r in records),
        **{
            field: _join(records, field)
            for field in (
                *("device", "initial_weights", "initial_weights_digest"),
                *("selected_on", "deviations", "version", "trained_on", "outputs_doubt"),
            )
        },
    }


def _join(records: Sequence[Record], field: str) -> str:
    known = (record.get(field) for record in records)
    return "; ".join(dict.fromkeys(str(value) for value in known if value))

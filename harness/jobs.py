"""The work behind each kind of result: list a dataset, fit, sum logits, ask a probe.

Every function here computes one result into an empty folder and returns what its record says. All
inputs come from the store or from a dataset; nothing is passed from job to job in memory. Features
and predictions, many of which one pass over the patches gives, are in ``harness.sweeps``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.environment import cpu
from harness.errors import HarnessError
from harness.probes import Audit, DatasetProbe, Measured
from harness.progress import progress, say
from harness.returned import checked_logits
from harness.splits import Subset, hold_out, stream
from harness.store import Key, Record, Store, write_atomically
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

if TYPE_CHECKING:
    pass

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
    """none, held-out, validation or test; for a model that comes fitted, what its authors did."""
    fold: int
    audited: bool = False
    """Whether what each epoch predicts is kept."""


def describe_dataset(dataset: Dataset, splits: Splits, pairs: Sequence[Any]) -> Record:
    """What the leaderboard says of a dataset as it is on this machine."""
    counts = np.bincount(splits.test.labels, minlength=len(dataset.classes))
    return {
        "name": dataset.name,
        "title": dataset.title,
        "classes": list(dataset.classes),
        "license": dataset.license,
        "source": dataset.source,
        "test_set": dataset.test_set,
        "trained_on": dataset.trained_on,
        "shortfall": splits.shortfall,
        "train_shortfall": splits.train_shortfall,
        "folds": splits.folds,
        "n_train": max((len(train.labels) for train, _ in pairs), default=0),
        "n_test": len(splits.test.labels),
        "test_counts": counts.tolist(),
    }


def store_dataset(described: Record, splits: Splits, pairs: Sequence[Any], folder: Path) -> Record:
    """Store labels, ids, folds and groups of test patches beside what is said of a dataset."""
    np.save(folder / "labels.npy", splits.test.labels)
    (folder / "ids.json").write_text(json.dumps(list(splits.test.ids)), encoding="utf-8")
    folds = np.zeros(len(splits.test.labels), np.int64)
    for number, (_, predicted) in enumerate(pairs):
        folds[predicted] = number
    np.save(folder / "folds.npy", folds)
    if splits.groups is not None:
        (folder / "groups.json").write_text(json.dumps(list(splits.groups)), encoding="utf-8")
    return described


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
    epochs = Epochs(workspace, spec.model.name, test_fold, n_classes) if spec.audited else None
    context = FitContext(
        seed=spec.seed,
        classes=spec.dataset.classes,
        settings=spec.settings,
        folder=workspace,
        initial_weights=spec.weights,
        after_epoch=epochs.keep if epochs else None,
        progress=progress,
        say=say,
    )
    timer = _Timer(context.folder)
    classifier = spec.model.fit(train, validation, context)
    classifier.save(folder)
    if validation is not None and spec.selected_on != "test":
        logits = predict_all(spec.model.name, classifier, validation, n_classes)
        np.savez(folder / HELD_OUT, logits=logits, labels=validation.labels)
    if epochs:
        epochs.save(folder)
    return {
        "seconds": timer.total(),
        "n": 0 if spec.model.trained_on else len(train.labels),
        "n_selection": 0 if validation is None else len(validation.labels),
        "device": device_name(spec.model, spec.settings),
    }


def predict_all(
    name: str, classifier: Classifier, split: Split, n_classes: int
) -> NDArray[np.float32]:
    """Logits of every patch of a split, (N, C), without any change, by the model of this name."""
    logits = np.empty((len(split.labels), n_classes), np.float32)
    for chosen, inputs in stream(split, 64):
        rows = classifier.logits(inputs)
        logits[chosen] = checked_logits(name, rows, len(chosen), n_classes)
    return logits


class Epochs:
    """Keeps what each epoch of a fit predicts for the test patches of its fold.

    Each is written at once, so that a fit that was killed goes on with those it has.
    """

    def __init__(self, workspace: Path, name: str, test: Split, n_classes: int) -> None:
        self.folder = workspace / "epochs"
        self.name = name
        self.folder.mkdir(exist_ok=True)
        self.test = test
        self.n_classes = n_classes

    def keep(self, epoch: int, classifier: Classifier, score: float) -> None:
        """``FitContext.after_epoch``."""
        logits = predict_all(self.name, classifier, self.test, self.n_classes)
        temporary = self.folder / "unfinished.npz"
        np.savez(temporary, logits=logits, score=score)
        temporary.replace(self.folder / f"{epoch:06}.npz")

    def save(self, folder: Path) -> None:
        """Write logits (E, N, C) and scores (E,) of all epochs."""
        kept = []
        for path in sorted(self.folder.glob("[0-9]*.npz")):
            with np.load(path) as stored:
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
        try:
            earlier = json.loads(file.read_text(encoding="utf-8"))
            newest = max(path.stat().st_mtime for path in folder.iterdir())
            self.before = earlier["before"] + max(0.0, newest - earlier["started"])
        except (OSError, ValueError, KeyError, TypeError):  # the first run, or a file cut short
            pass
        content = {"before": self.before, "started": time.time()}
        write_atomically(file, json.dumps(content))
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
            name: np.load(path / "values.npy", mmap_mode="r") for name, path in stored[part].items()
        }
        return Measured(split=split, values=values)

    train, test = measured("train", splits.train), measured("test", splits.test)
    assert test is not None
    n_train = 0 if splits.train is None else len(splits.train.labels)
    all_test = np.arange(len(splits.test.labels))
    folds = []
    for _, predicted in pairs:
        rest = np.setdiff1d(all_test, predicted)
        folds.append((np.concatenate([np.arange(n_train), n_train + rest]), n_train + predicted))
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
    """Sum stored logits; the record joins those of the members."""
    total = np.sum([np.load(member / "logits.npy") for member in members], axis=0)
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
        "initial_weights_fallback": any(r.get("initial_weights_fallback") for r in records),
        **{
            field: _join(records, field)
            for field in (
                *("device", "initial_weights", "initial_weights_digest"),
                *("selected_on", "deviations", "version", "trained_on"),
            )
        },
    }


def _join(records: Sequence[Record], field: str) -> str:
    known = (record.get(field) for record in records)
    return "; ".join(dict.fromkeys(str(value) for value in known if value))

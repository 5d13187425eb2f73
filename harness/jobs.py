"""The work behind each kind of result: extract features, fit, predict, sum.

Every function here computes one result into an empty folder and returns what its record says. All
inputs come from the store or from a dataset; nothing is passed from job to job in memory.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.environment import cpu
from harness.errors import HarnessError
from harness.perturb import perturb
from harness.progress import progress, say
from harness.splits import Concat, Subset, hold_out, stream
from harness.store import Key, Store, write_atomically
from harness.types import (
    Classifier,
    Dataset,
    Features,
    FitContext,
    InitialWeights,
    Model,
    Perturbation,
    Setting,
    Split,
    Splits,
)
from harness.views import apply_view

if TYPE_CHECKING:
    from harness.types import Indices

BATCH = 64
Record = dict[str, Any]


@dataclass(frozen=True)
class Condition:
    """What is done to test patches before they are predicted."""

    perturbation: Perturbation | None = None
    level: float | None = None
    view: str = "identity"

    def as_dict(self) -> dict[str, Any]:
        """The condition as it stands in keys and records."""
        if self.perturbation is None:
            return {"perturbation": "clean", "level": None, "view": self.view}
        return {
            "perturbation": self.perturbation.name,
            "perturbation_version": self.perturbation.version,
            "level": self.level,
            "view": self.view,
        }

    def __str__(self) -> str:
        parts = []
        if self.perturbation is not None and self.level is not None:
            parts.append(f"{self.perturbation.name} {self.level:g}")
        if self.view != "identity":
            parts.append(self.view)
        return ", ".join(parts) or "clean"

    def change(self, split: Split) -> Callable[[NDArray[np.int64], Any], Any]:
        """A function of (indices, images) for ``stream`` that applies the condition."""
        ids = split.ids

        def then(indices: NDArray[np.int64], images: NDArray[np.uint8]) -> NDArray[np.uint8]:
            if self.perturbation is not None and self.level is not None:
                chosen = [ids[i] for i in indices]
                images = perturb(images, chosen, self.perturbation, self.level)
            return apply_view(images, self.view)

        return then


CLEAN = Condition()


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
    """none, held-out or test."""
    fold: int


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
        "n_train": max(len(train.labels) for train, _ in pairs),
        "n_test": len(splits.test.labels),
        "test_counts": counts.tolist(),
    }


def store_dataset(described: Record, splits: Splits, folder: Path) -> Record:
    """Store test labels and ids beside what is said of a dataset."""
    np.save(folder / "labels.npy", splits.test.labels)
    (folder / "ids.json").write_text(json.dumps(list(splits.test.ids)))
    return described


def extract(features: Features, split: Split, condition: Condition, folder: Path) -> Record:
    """One streaming pass over a split: decode, perturb, extract, in threads; memory stays flat."""
    change = condition.change(split)
    started = time.monotonic()
    n = len(split.labels)
    batches = stream(split, BATCH, then=lambda at, x: features.extract(change(at, x)))
    with (folder / "values.npy").open("wb") as file:
        # Written, not memory-mapped: on a full disk, writing through a map kills the process.
        for indices, rows in progress(batches, total=-(-n // BATCH), label=features.name):
            if rows.ndim != 2 or len(rows) != len(indices) or not np.isfinite(rows).all():
                raise HarnessError(
                    f"features {features.name!r} are not one row of finite numbers a patch; "
                    "report it to the plugin's author"
                )
            if indices[0] == 0:
                header = {"descr": "<f4", "fortran_order": False, "shape": (n, rows.shape[1])}
                np.lib.format.write_array_header_1_0(file, header)
            file.write(rows.astype("<f4").tobytes())
    return {"n": n, "seconds": time.monotonic() - started}


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
    if isinstance(split, Subset):
        return Subset(with_features(split.base, stored), split.indices)
    if isinstance(split, Concat):
        return Concat(*(with_features(part, stored) for part in split.parts))
    return stored[split.fingerprint]


def load_features(store: Store, split: Split, key: Key) -> FeatureSplit:
    """Stored features, memory-mapped."""
    return FeatureSplit(split, np.load(store.folder(key) / "values.npy", mmap_mode="r"))


def fit(
    spec: FitSpec,
    train: Split,
    test_fold: Split,
    store: Store,
    key: Key,
    folder: Path,
) -> Record:
    """Fit a model on a fold and save it."""
    validation: Split | None = None
    if spec.selected_on == "held-out":
        kept, held = hold_out(train.labels, spec.seed)
        if not len(held):
            raise HarnessError(
                f"{spec.dataset.name}: no class has two training patches, so none can be held out "
                "to select on; add patches"
            )
        train, validation = Subset(train, kept), Subset(train, held)
    elif spec.selected_on == "test":
        validation = test_fold
    context = FitContext(
        seed=spec.seed,
        classes=spec.dataset.classes,
        settings=spec.settings,
        folder=store.workspace(key),
        initial_weights=spec.weights,
        progress=progress,
        say=say,
    )
    timer = _Timer(context.folder)
    classifier = spec.model.fit(train, validation, context)
    classifier.save(folder)
    return {
        "seconds": timer.total(),
        "n": len(train.labels),
        "n_selection": 0 if validation is None else len(validation.labels),
        "device": device_name(spec.model, spec.settings),
    }


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
            earlier = json.loads(file.read_text())
            newest = max(path.stat().st_mtime for path in folder.iterdir())
            self.before = earlier["before"] + max(0.0, newest - earlier["started"])
        except (OSError, ValueError, KeyError, TypeError):  # the first run, or a file cut short
            pass
        content = {"before": self.before, "started": time.time()}
        write_atomically(file, json.dumps(content))
        self.clock = time.monotonic()

    def total(self) -> float:
        return self.before + time.monotonic() - self.clock


def predict(
    model: Model,
    settings: Mapping[str, Setting],
    folds: Sequence[tuple[Path, NDArray[np.int64]]],
    test: Any,
    n_classes: int,
    condition: Condition,
    folder: Path,
) -> Record:
    """Logits of every test patch, each by the model of its fold; (N, C) float32.

    ``test`` is the test split, or its features under the condition when the model uses features.
    """
    logits = np.full((len(test.labels), n_classes), np.nan, np.float32)
    seconds = 0.0
    change = None if model.features else condition.change(test)
    for fitted, indices in folds:
        classifier: Classifier = model.load(fitted, settings)
        started = time.monotonic()
        batches = stream(test, BATCH, order=indices, then=change)
        total = -(-len(indices) // BATCH)
        for chosen, inputs in progress(batches, total=total, label=f"{model.name} predicts"):
            logits[chosen] = _checked(model.name, classifier.logits(inputs), len(chosen), n_classes)
        seconds += time.monotonic() - started
    np.save(folder / "logits.npy", logits)
    return {"seconds": seconds, "n": len(logits)}


def _checked(name: str, logits: Any, n: int, n_classes: int) -> NDArray[np.float32]:
    values = np.asarray(logits)
    if values.shape != (n, n_classes):
        raise HarnessError(
            f"model {name!r} returned logits of shape {values.shape} where ({n}, {n_classes}) is "
            "expected; report it to the plugin's author"
        )
    if not np.isfinite(values).all():
        raise HarnessError(
            f"model {name!r} returned logits that are not finite; train it again with a smaller "
            "learning rate or report it to the plugin's author"
        )
    return values.astype(np.float32, copy=False)


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
        **{
            field: _join(records, field)
            for field in ("device", "initial_weights", "selected_on", "deviations")
        },
    }


def _join(records: Sequence[Record], field: str) -> str:
    return "; ".join(dict.fromkeys(record[field] for record in records if record[field]))

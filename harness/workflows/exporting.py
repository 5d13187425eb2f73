"""What ``harness export`` does: stored predictions and features for other programs to read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError
from harness.hooks.heads import ENDINGS
from harness.hooks.registry import Registry
from harness.jobs.dataset import Instance
from harness.store import predictions
from harness.store.keys import SHARED
from harness.store.predictions import Run
from harness.store.store import Store
from harness.store.stored import Place, file_name, load_array, where
from harness.text.names import suggest
from harness.workflows.lookup import runs_of

CLEAN = "clean"
PARTS = ("train", "validation", "test")
ABOUT = ("id", "label", "seed", "perturbation", "level")
"""Columns before those of the classes; the level is empty for clean patches."""


@dataclass(frozen=True)
class Part:
    """Predictions of all test patches by one run under one condition."""

    seed: int
    perturbation: str
    level: float | None
    values: NDArray[np.float32]
    """What was predicted, (N, C): logits, on the scale of one model, or scores."""


@dataclass(frozen=True)
class Exported:
    """What a model predicted for the test patches of a dataset."""

    ids: Sequence[str]
    labels: Sequence[str]
    columns: Sequence[str]
    """One for each class: ``logit_CLASS``, or ``score_CLASS`` where outputs have no scale."""
    parts: Sequence[Part]

    def rows(self) -> Iterator[list[Any]]:
        """Rows of ``ABOUT`` and ``columns``: by seed, clean patches first."""
        for part in self.parts:
            about = part.seed, part.perturbation, part.level
            for id_, label, values in zip(self.ids, self.labels, part.values, strict=True):
                yield [id_, label, *about, *values.tolist()]


def export(store: Store, dataset: str, model: str, registry: Registry, perturbed: bool) -> Exported:
    """All runs of a model, its name or the digest of a result; with those of perturbed patches.

    Raises HarnessError when there is none, and when the model was run in several ways.
    """
    truth = predictions.ground_truth(store, dataset)
    runs = runs_of(store, dataset, model, registry)
    parts = []
    for seed in sorted(runs):
        run = runs[seed]
        parts.append(_part(run, seed, CLEAN, None, run.clean))
        for (name, level), place in sorted(run.perturbed.items() if perturbed else ()):
            parts.append(_part(run, seed, name, level, place))
    first = next(iter(runs.values()))
    kind = "score" if first.record.get("outputs") == "scores" else "logit"
    return Exported(
        ids=tuple(truth.ids),
        labels=[truth.classes[label] for label in truth.labels],
        columns=[f"{kind}_{name}" for name in truth.classes],
        parts=parts,
    )


def _part(run: Run, seed: int, name: str, level: float | None, place: Place) -> Part:
    values = load_array(place, "logits.npy") / np.float32(run.terms)
    return Part(seed, name, level, np.asarray(values, np.float32))


@dataclass(frozen=True)
class Embedded:
    """The features of all patches of a part of a dataset."""

    name: str
    """Of the features, as that of a file."""
    digest: str
    """Of the stored result."""
    part: str
    """train, validation or test."""
    ids: Sequence[str]
    labels: Sequence[str]
    groups: Sequence[str] | None
    """Patient or slide of each patch; None if not known."""
    values: NDArray[np.float32]
    """Features (N, D), memory-mapped."""


def embeddings(
    store: Store, instance: Instance, models: Sequence[str], registry: Registry
) -> list[Embedded]:
    """The features that models were fitted on and predicted from, each once.

    A model is named as it was run, or without its head: "encoder:uni2-h" is any of
    "encoder:uni2-h+linear" and so on; or by the digest of a result. Raises HarnessError for what
    was not run, reads patches, or was run on several features, and for features that are gone.
    """
    dataset = instance.dataset.name
    runs = predictions.runs(store, dataset, registry.perturbations)
    known = {
        record["digest"]: (folder, record)
        for folder, record in store.records("features", SHARED, lambda damaged: None)
    }
    found: dict[tuple[str, str], Embedded] = {}
    for model in models:
        names = {model, *(f"{model}+{head}" for head in ENDINGS)}
        mine = [run.record for run in runs if {run.record["model"], run.record["digest"]} & names]
        if not mine:
            stored = {str(run.record["model"]) for run in runs}
            raise HarnessError(
                f"no predictions of {model} for {dataset} are stored; {suggest(model, stored)}"
            )
        by_part: dict[str, set[str]] = {}
        for record in mine:
            for digest in known.keys() & set(record["needs"]):
                for part in known[digest][1]["patches"]:
                    by_part.setdefault(part, set()).add(digest)
        fitted_on = {one["digest"] for record in mine for one in record.get("features", ())}
        if not fitted_on and not by_part:
            raise HarnessError(f"{model} reads patches and no features, so there are none to write")
        if "test" not in by_part or fitted_on - known.keys():
            raise HarnessError(
                f"the features of {model} are gone or damaged; remove its results with `harness "
                f"results remove --dataset {dataset} --model {mine[0]['model']} --yes"
                f"{where(store.root)}` and run it again"
            )
        if any(len(digests) > 1 for digests in by_part.values()):
            ways = ", ".join(str(record["digest"]) for record in mine)
            raise HarnessError(f"{model} was run in several ways; name a result: {ways}")
        for part, (digest,) in by_part.items():
            folder, record = known[digest]
            if record["key"]["fields"]["data"] != instance.identity(part):
                raise HarnessError(
                    f"dataset {dataset}: its {part} patches have changed since {model} was run; "
                    "run it again"
                )
            one = _embedded(instance, part, record["features"], digest, folder)
            if found.setdefault((part, one.name), one).digest != digest:
                raise HarnessError(
                    f"the features of {model} have the name {one.name}, as those of another model; "
                    "write them to another folder"
                )
    return sorted(found.values(), key=lambda one: PARTS.index(one.part))


def _embedded(instance: Instance, part: str, name: str, digest: str, folder: Place) -> Embedded:
    split, classes = instance.part(part), instance.dataset.classes
    values = load_array(folder, "values.npy", mmap_mode="r")
    groups = {"test": instance.splits.groups, "train": instance.splits.train_groups}
    return Embedded(
        name=file_name(name),
        digest=digest,
        part=part,
        ids=split.ids,
        labels=[classes[label] for label in split.labels],
        groups=groups.get(part),
        values=values,
    )

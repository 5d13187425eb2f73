"""What ``harness export`` does: stored predictions as a table that other programs read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.hooks.registry import Registry
from harness.store import predictions
from harness.store.predictions import Run
from harness.store.store import Store
from harness.store.stored import Place, load_array
from harness.workflows.lookup import runs_of

CLEAN = "clean"
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

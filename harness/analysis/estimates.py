"""Figures of stored runs with their intervals, computed once and kept in the store."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.statistics import intervals, metrics, reliability
from harness.statistics.estimates import Estimate
from harness.statistics.intervals import Sampling
from harness.store.predictions import GroundTruth, Run
from harness.store.store import Key, Store
from harness.store.stored import load_json

VERSION = 4
"""Raised when the same logits give other figures, so that stored ones are not read back."""
NAMES = (
    *(*metrics.OF_CONFUSION, "macro_auroc"),
    *("ece", "ece_if_calibrated", "ece_debiased"),
    *("ece_equal_mass", "ece_equal_mass_if_calibrated", "ece_equal_mass_debiased"),
    *("brier", "nll"),
)
"""The figures of a run."""


@dataclass(frozen=True)
class RunFigures:
    """What the logits of one run come to."""

    estimates: Mapping[str, Estimate]
    """By name; what is not defined for these patches is left out."""
    recall: Mapping[str, Estimate]
    """By class; those without patches are left out."""
    confusion: list[list[int]]
    metrics: Mapping[str, Estimate] = field(default_factory=dict)
    """What plugins add, by name; not kept in the store."""


def of_run(store: Store, run: Run, truth: GroundTruth, sampling: Sampling) -> RunFigures:
    """Figures of a run on a test set; read back if the store has them."""
    key = Key(
        "figures",
        truth.dataset,
        run.record["model"],
        {
            "prediction": run.record["digest"],
            "logits": run.record["files"]["logits.npy"]["sha256"][:16],
            "version": VERSION,
            "groups": _digest(sampling.groups),
            "temperatures": _digest(run.temperatures),
            "terms": run.terms,
            "no_probabilities": run.no_probabilities,
            "design_effect": sampling.design_effect,
            "resamples": sampling.resamples,
        },
    )
    if key not in store:
        found = _compute(run, truth, sampling)
        content = {
            "figures": [_plain(estimate) for estimate in found.estimates.values()],
            "recall": [_plain(estimate) for estimate in found.recall.values()],
            "confusion": found.confusion,
        }
        try:
            with store.write(key) as (folder, _):
                (folder / "figures.json").write_text(
                    json.dumps(content, allow_nan=False) + "\n", encoding="utf-8"
                )
        except OSError:  # a store that is only read: computed again the next time
            return found
    content = load_json(store.folder(key), "figures.json")
    estimates, recall = (
        {estimate["name"]: Estimate(**estimate) for estimate in content[part]}
        for part in ("figures", "recall")
    )
    return RunFigures(estimates, recall, content["confusion"])


def _compute(run: Run, truth: GroundTruth, sampling: Sampling) -> RunFigures:
    predicted = run.logits().argmax(axis=1)
    n_classes = len(truth.classes)
    found = intervals.of_predictions(truth.labels, predicted, n_classes, sampling)
    found["macro_auroc"] = intervals.auroc_of(truth.labels, run.scores(), sampling)
    if not run.no_probabilities:
        found |= reliability.estimates(truth.labels, run.mean_logits(), sampling)
    return RunFigures(
        estimates={
            name: estimate for name, estimate in found.items() if math.isfinite(estimate.value)
        },
        recall=intervals.recalls(truth.labels, predicted, truth.classes, sampling),
        confusion=metrics.confusion_matrix(truth.labels, predicted, n_classes).tolist(),
    )


def mean(runs: Sequence[Mapping[str, Estimate]]) -> dict[str, Estimate]:
    """Mean figures over trainings with different seeds, and the mean ends of their intervals.

    So the interval is about other test patches; how much trainings differ is another question.
    """

    def over(name: str, part: str) -> float | None:
        values = [getattr(run[name], part) for run in runs]
        return None if None in values else float(np.mean(values))

    names = [name for name in runs[0] if all(name in run for run in runs)]
    return {
        name: Estimate(
            name=name,
            value=float(np.mean([run[name].value for run in runs])),
            low=over(name, "low"),
            high=over(name, "high"),
        )
        for name in names
    }


def _digest(values: NDArray[Any] | None) -> str | None:
    return None if values is None else hashlib.sha256(values.tobytes()).hexdigest()[:16]


def _plain(estimate: Estimate) -> dict[str, Any]:
    return {
        "name": estimate.name,
        "value": float(estimate.value),
        "low": None if estimate.low is None else float(estimate.low),
        "high": None if estimate.high is None else float(estimate.high),
    }

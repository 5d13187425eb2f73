"""What a model makes of a fault that gives the class away in training."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from harness.analysis import contrast
from harness.planning.plan import Plan
from harness.statistics.estimates import Estimate
from harness.store import predictions
from harness.store.store import Store


@dataclass(frozen=True)
class Accuracy:
    """How well a model that was trained with a fault predicts test patches."""

    model: str
    dose: float
    tested: str
    """One of ``harness.data.planting.TESTED``."""
    seeds: tuple[int, ...]
    accuracy: float
    """Mean over the seeds."""
    low: float
    high: float
    """Ends of the 95 % interval of the first seed, over patches, moved to that mean."""

    def as_row(self) -> dict[str, Any]:
        """By column."""
        return {**asdict(self), "seeds": " ".join(map(str, self.seeds))}


def accuracy(
    store: Store, plan: Plan, dataset: str, model: str, dose: float, tested: str
) -> Accuracy | None:
    """Of what was planned and is stored; None if nothing is."""
    runs = contrast.planned(plan, store, dataset, model)
    if not runs:
        return None
    seeds = sorted(runs)
    truth = predictions.ground_truth(store, dataset)
    entry = contrast.entry(store, truth, [runs[seed] for seed in seeds])
    first: Estimate = entry.found[0].estimates["accuracy"]
    mean = float(np.mean(entry.right))
    low, high = (
        mean if end is None else min(1.0, max(0.0, mean + end - first.value))
        for end in (first.low, first.high)
    )
    return Accuracy(model, dose, tested, tuple(seeds), mean, low, high)

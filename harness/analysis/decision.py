"""Decision curves of two models, where one class is the positive one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.analysis.compare import Compared
from harness.errors import HarnessError
from harness.statistics.estimates import Estimate
from harness.statistics.intervals import Sampling
from harness.statistics.metrics import Bools, Floats
from harness.statistics.net_benefit import net_benefits
from harness.statistics.paired import mean_difference
from harness.text.names import suggest


@dataclass(frozen=True)
class DecisionCurves:
    """Net benefits of two models by threshold: means over their trainings."""

    positive: str
    prevalence: float
    """Share of test patches that are of the positive class."""
    thresholds: tuple[float, ...]
    one: tuple[float, ...]
    other: tuple[float, ...]
    act_on_all: tuple[float, ...]
    """Of calling every patch positive; to call none so has none."""
    differences: tuple[Estimate, ...]
    """The one's less the other's, with paired 95 % intervals."""


def decision_curves(
    compared: Compared, positive: str, thresholds: Sequence[float]
) -> DecisionCurves:
    """Net benefits at thresholds up to one half.

    Raises HarnessError for a class that is not there, or a model without probabilities.
    """
    truth = compared.truth
    if positive not in truth.classes:
        raise HarnessError(f"--positive {positive}: {suggest(positive, truth.classes)}")
    sides = compared.one, compared.other
    for entry in sides:
        if why := entry.no_probabilities:
            raise HarnessError(f"--positive: {entry.name}: {why}, so it has no decision curve")
    label = truth.classes.index(positive)
    own: Bools = truth.labels == label
    sampling = Sampling(groups=truth.groups, design_effect=compared.design_effect)
    columns = [[run.scores()[:, label] for run in entry.runs] for entry in sides]
    one, other = ([_mean(own, probabilities, t) for t in thresholds] for probabilities in columns)
    return DecisionCurves(
        positive=positive,
        prevalence=float(own.mean()),
        thresholds=tuple(thresholds),
        one=tuple(float(values.mean()) for values in one),
        other=tuple(float(values.mean()) for values in other),
        act_on_all=tuple(float(net_benefits(own, np.ones(len(own)), t).mean()) for t in thresholds),
        differences=tuple(
            mean_difference("net_benefit", a - b, sampling) for a, b in zip(one, other, strict=True)
        ),
    )


def _mean(own: Bools, probabilities: Sequence[Floats], threshold: float) -> Floats:
    """What each patch adds, on average over trainings."""
    added = [net_benefits(own, probability, threshold) for probability in probabilities]
    return np.asarray(np.mean(added, axis=0))

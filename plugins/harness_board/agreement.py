"""How far predictions agree with the labels."""

from __future__ import annotations

import math

import numpy as np

from harness import Estimate, MetricInput
from harness.statistics.deviations import unseen
from harness.statistics.intervals import SMOOTHING, furthest, linearized, right_or_wrong
from harness.statistics.metrics import confusion_matrix


def kappa(given: MetricInput) -> Estimate | None:
    """Cohen's kappa of labels and predictions (Educational and Psychological Measurement 20, 1960).

    From -1 to 1. Its variance is from how much each patch moves it, as for the Matthews
    correlation. None where all patches are of one class and called so.
    """
    predicted = given.predicted
    matrix = confusion_matrix(given.labels, predicted, len(given.classes))
    n = matrix.sum()
    shares = matrix / n
    agreed = np.trace(shares)
    of_label, of_call = shares.sum(axis=1), shares.sum(axis=0)
    by_chance = of_label @ of_call
    if by_chance >= 1:
        return None
    value = (agreed - by_chance) / (1 - by_chance)
    # How much one more patch in a cell moves it: the derivative, per patch.
    more_agreed = np.eye(len(matrix)) - agreed
    more_by_chance = of_call[:, None] + of_label[None] - 2 * by_chance
    influence = more_agreed - more_by_chance * (1 - agreed) / (1 - by_chance)
    influence = influence / (1 - by_chance) / n
    outcomes = right_or_wrong(influence[None])
    moves = influence[given.labels, predicted]
    right = float(agreed)
    more = unseen(moves[:, None], given.labels, outcomes, np.array([right, 1 - right]))[0]
    furthest_move = max(1 / n, furthest(outcomes, given.labels)[0])
    return linearized(
        "kappa",
        float(value),
        moves,
        given.labels,
        given.sampling,
        least=-1.0,
        one_patch=math.sqrt(SMOOTHING) * furthest_move,
        more=float(more),
    )


def top2(given: MetricInput) -> Estimate:
    """Share of patches whose class has at most one other above it; ties go to the lower class."""
    own = given.logits[np.arange(len(given.labels)), given.labels][:, None]
    lower = np.arange(given.logits.shape[1])[None] < given.labels[:, None]
    above = (given.logits > own) | ((given.logits == own) & lower)
    return given.mean(above.sum(axis=1) < 2)

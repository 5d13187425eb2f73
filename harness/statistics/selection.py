"""What choosing an epoch on the test patches adds to the accuracy that is then reported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.statistics.estimates import Estimate
from harness.statistics.intervals import quantile

HALVES = 200


@dataclass(frozen=True)
class Trajectory:
    """One training, epoch by epoch: E epochs, N test patches."""

    right: NDArray[np.bool_]
    """Which test patches each epoch gets right, (E, N)."""
    scores: NDArray[np.float64]
    """How good each epoch is on the held-out part, (E,); more is better."""
    groups: NDArray[np.int64] | None = None
    """Number of the group of each test patch, (N,); None if each counts by itself."""


@dataclass(frozen=True)
class SelectionAudit:
    """Accuracies that one and the same training would have been reported with."""

    epochs: dict[str, tuple[int, ...]]
    """Chosen epochs, from 1, a training: by ``held-out``, ``last`` and ``test``."""
    accuracies: dict[str, float]
    reported: float
    """Accuracy at the epochs that the test patches chose, less that of the held-out part's. Above
    zero even where all epochs are equally good, as one of them is best by chance."""
    optimism: Estimate
    """Of that, what is more than chance: it holds on test patches that did not choose."""
    curve: tuple[float, ...]
    """Test accuracy after each epoch."""

    @property
    def chance(self) -> float:
        """What the best of several epochs has for being the best on these very patches."""
        return self.reported - self.optimism.value


def audit(trainings: Sequence[Trajectory], design_effect: float = 1.0) -> SelectionAudit:
    """Audit the selection in the trainings of a model, one for each fold of the test patches.

    Of equally good epochs the earliest counts. The optimism is cross-fitted: one random half of the
    test patches of a fold, or of their groups, chooses an epoch, and the others tell how much
    better it is than the one that the held-out part chose; over many halves each patch has a mean,
    and the optimism is the mean of these. So it is zero on average where epochs are equally good,
    however small the folds. Its interval is Student's, from how the epoch that a half chose and the
    one that the held-out part chose differ from patch to patch, or group to group, on average over
    halves, with the variance of one patch added.
    """
    rng = np.random.default_rng(0)
    chosen = {
        "held-out": [int(t.scores.argmax()) for t in trainings],
        "last": [len(t.scores) - 1 for t in trainings],
        "test": [int(t.right.mean(axis=1).argmax()) for t in trainings],
    }
    n = sum(t.right.shape[1] for t in trainings)

    def accuracy(epochs: Sequence[int]) -> float:
        hits = [int(t.right[e].sum()) for t, e in zip(trainings, epochs, strict=True)]
        return sum(hits) / float(n)

    gain, variance, units = 0.0, 1 / n**2, 0
    for training, honest in zip(trainings, chosen["held-out"], strict=True):
        right, size_of = _by_group(training)
        g = len(size_of)
        chooses = rng.permuted(np.tile(np.arange(g) < g // 2, (HALVES, 1)), axis=1)
        best = (chooses.astype(np.float64) @ right.T).argmax(axis=1)
        better = right[best] - right[honest]
        gained = np.where(chooses, 0, better).sum(axis=0) / np.maximum((~chooses).sum(axis=0), 1)
        gain += float(gained.sum()) / n
        spread = better - better.sum(axis=1, keepdims=True) / size_of.sum() * size_of
        variance += float(np.square(spread).sum(axis=1).mean()) * g / max(g - 1, 1) / n**2
        units += g - 1
    accuracies = {name: accuracy(epochs) for name, epochs in chosen.items()}
    half = min(2.0, quantile(units + 1) * float(np.sqrt(variance * design_effect)))
    longest = max(len(t.scores) for t in trainings)
    curve = [accuracy([min(e, len(t.scores) - 1) for t in trainings]) for e in range(longest)]
    return SelectionAudit(
        epochs={name: tuple(e + 1 for e in epochs) for name, epochs in chosen.items()},
        accuracies=accuracies,
        reported=accuracies["test"] - accuracies["held-out"],
        optimism=Estimate(
            name="optimism",
            value=gain,
            low=max(-1.0, gain - half),
            high=min(1.0, gain + half),
        ),
        curve=tuple(curve),
    )


def _by_group(training: Trajectory) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """How many patches of each group each epoch gets right, (E, G), and their numbers, (G,)."""
    if training.groups is None:
        return training.right.astype(np.float64), np.ones(training.right.shape[1], np.int64)
    numbers = np.unique(training.groups, return_inverse=True)[1]
    counted = [np.bincount(numbers, right) for right in training.right]
    return np.stack(counted).astype(np.float64), np.bincount(numbers)

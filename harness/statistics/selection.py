"""What choosing an epoch on the test patches adds to the accuracy that is then reported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.probes import Figure
from harness.statistics.intervals import Z

RESAMPLES = 2_000
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
    optimism: Figure
    """Accuracy at the epochs that the test patches chose, less that of the held-out part's."""
    kept: float
    """Of that, what holds on test patches that did not choose: from random halves."""
    curve: tuple[float, ...]
    """Test accuracy after each epoch."""


def audit(trainings: Sequence[Trajectory]) -> SelectionAudit:
    """Audit the selection in the trainings of a model, one for each fold of the test patches.

    Of equally good epochs the earliest counts. The interval of the optimism is normal, with the
    standard error of a bootstrap of test patches, or their groups, that chooses anew in each
    resample; the optimism cannot be less than zero.
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

    gains = np.zeros(RESAMPLES)
    kept = np.zeros(HALVES)
    for training, honest in zip(trainings, chosen["held-out"], strict=True):
        right, size_of = _by_group(training)
        units, size = len(size_of), training.right.shape[1]
        drawn = rng.multinomial(units, np.full(units, 1 / units), RESAMPLES).astype(np.float64)
        counts = drawn @ right.T
        gains += (counts.max(axis=1) - counts[:, honest]) / n
        for half in range(HALVES):
            chooses = rng.permutation(units) < units // 2
            best = int(right[:, chooses].sum(axis=1).argmax())
            rest = ~chooses
            gain = (right[best, rest] - right[honest, rest]).sum() / size_of[rest].sum()
            kept[half] += gain * size / n
    accuracies = {name: accuracy(epochs) for name, epochs in chosen.items()}
    optimism = accuracies["test"] - accuracies["held-out"]
    half_width = Z * float(gains.std(ddof=1))
    longest = max(len(t.scores) for t in trainings)
    curve = [accuracy([min(e, len(t.scores) - 1) for t in trainings]) for e in range(longest)]
    return SelectionAudit(
        epochs={name: tuple(e + 1 for e in epochs) for name, epochs in chosen.items()},
        accuracies=accuracies,
        optimism=Figure(
            name="optimism",
            value=optimism,
            low=max(0.0, optimism - half_width),
            high=optimism + half_width,
        ),
        kept=float(kept.mean()),
        curve=tuple(curve),
    )


def _by_group(training: Trajectory) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """How many patches of each group each epoch gets right, (E, G), and their numbers, (G,)."""
    if training.groups is None:
        return training.right.astype(np.float64), np.ones(training.right.shape[1], np.int64)
    numbers = np.unique(training.groups, return_inverse=True)[1]
    counted = [np.bincount(numbers, right) for right in training.right]
    return np.stack(counted), np.bincount(numbers)

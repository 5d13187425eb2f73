"""The rules that intervals followed up to version 2 of ``harness.analysis.estimates``, to compare
with.

As in ``harness/statistics`` then: a bootstrap of the patches of each class, whose variance lacks
n / (n - 1); normal intervals of means; and the plain optimism of a selection, by a bootstrap of the
patches of each fold.
"""

import numpy as np

from harness.statistics import metrics
from harness.statistics.intervals import wilson

Z = 1.959963984540054
RESAMPLES = 300


def resampled(counts, rng):
    """Bootstrap of the counts (C, K) of each class: (R, C, K)."""
    return np.stack(
        [
            rng.multinomial(n, row / n, RESAMPLES)
            for n, row in zip(counts.sum(1), counts, strict=True)
        ],
        axis=1,
    )


def single(confusion, rng):
    """Intervals of the figures of a confusion matrix, (4, 2), then of recalls, (C, 2)."""
    n_of = confusion.sum(axis=1)
    n, classes = n_of.sum(), len(n_of)
    variances = metrics.of_confusion(resampled(confusion, rng)).var(axis=0, ddof=1)
    heaviest, alike = 1 / (classes * n_of.min()), classes**2 / (1 / n_of).sum()
    ends = []
    for number, value in enumerate(metrics.of_confusion(confusion)):
        weight, most = (1 / n, n) if number in (0, 3) else (heaviest, alike)
        error = np.sqrt(variances[number] + 0.25 * weight**2)
        if number == 3:
            low, high = _wilson_of((1 + value) / 2, error / 2, most)
            ends.append((2 * low - 1, 2 * high - 1))
        else:
            ends.append(_wilson_of(value, error, most))
    return ends + [wilson(right, n) for right, n in zip(np.diag(confusion), n_of, strict=True)]


def _wilson_of(value, error, n):
    spread = value * (1 - value)
    effective = spread / error**2 if spread > 1e-12 else n
    return wilson(value * effective, effective)


def paired(counts, rng):
    """Half widths of the intervals of differences, (4,), from counts (C, C, C): label, one, other.

    That of the accuracy is another: ``paired_difference``.
    """
    n_of = counts.sum(axis=(1, 2))
    drawn = resampled(counts.reshape(len(n_of), -1), rng).reshape(RESAMPLES, *counts.shape)
    gaps = metrics.of_confusion(drawn.sum(axis=3)) - metrics.of_confusion(drawn.sum(axis=2))
    smoothing = np.full(4, 1 / n_of.sum() ** 2)
    smoothing[1:3] = 0.1 / (len(n_of) * n_of.min()) ** 2
    return Z * np.sqrt(gaps.var(axis=0, ddof=1) + smoothing)


def mean(values):
    """Normal interval of a mean."""
    half = Z * values.std(ddof=1) / np.sqrt(len(values))
    return max(0.0, values.mean() - half), values.mean() + half


def optimism(trainings, rng):
    """The optimism of choosing on test patches, and its interval."""
    n = sum(t.right.shape[1] for t in trainings)
    value, gains = 0.0, np.zeros(RESAMPLES)
    for training in trainings:
        right, honest = training.right.astype(float), int(training.scores.argmax())
        units = right.shape[1]
        drawn = rng.multinomial(units, np.full(units, 1 / units), RESAMPLES) @ right.T
        gains += (drawn.max(axis=1) - drawn[:, honest]) / n
        value += (right.sum(axis=1).max() - right[honest].sum()) / n
    half = Z * gains.std(ddof=1)
    return value, max(0.0, value - half), value + half

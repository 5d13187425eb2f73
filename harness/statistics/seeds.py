"""Models that were trained several times, with different seeds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.probes import Figure
from harness.statistics.metrics import Bools


@dataclass(frozen=True)
class RunsComparison:
    """Difference in mean accuracy of two models over their trainings."""

    difference: Figure
    p: float
    sampling_variance: float
    """That the difference has because other test patches could have been drawn."""
    seed_variance: float
    """That it has because the trainings could have had other seeds."""

    @property
    def seed_share(self) -> float:
        """Share of the variance that is due to seeds."""
        return self.seed_variance / (self.seed_variance + self.sampling_variance)


def compare_runs(
    one: Bools, other: Bools, groups: NDArray[np.int64] | None = None
) -> RunsComparison:
    """Compare models by which patches each training gets right, bool (S, N) and (T, N).

    Two sources of variance are added: that of the mean over seeds from patch to patch (or from
    group to group), enlarged by that of one patch, and that of the accuracies from seed to seed.
    What trainings with other seeds get right by chance on single patches is in both; it is taken
    off the first. The test and the interval are Welch's, with degrees of freedom after
    Satterthwaite. A model with one training is taken to vary from seed to seed as the other does.
    """
    from scipy.stats import t

    n = one.shape[1]
    gaps = one.mean(axis=0) - other.mean(axis=0)
    value = float(gaps.mean())
    sums = gaps - value if groups is None else np.bincount(groups, gaps - value)
    m = len(sums)
    if groups is not None and m < 2:  # one group does not show how groups differ
        whole = Figure(name="accuracy", value=value, low=-1.0, high=1.0)
        return RunsComparison(whole, 1.0, 1.0, 0.0)
    sampling = float(np.square(sums).sum() * m / max(m - 1, 1)) / n**2
    several = [right for right in (one, other) if len(right) > 1]
    by_chance = sum(float(right.var(axis=0, ddof=1).mean()) / len(right) for right in several) / n
    sampling = max(sampling - by_chance, 0.0) + 1 / n**2
    parts = [(sampling, max(m - 1, 1))]
    for right in (one, other) if several else ():
        known = right if len(right) > 1 else several[0]
        spread = float(known.mean(axis=1).var(ddof=1))
        parts.append((spread / len(right), len(known) - 1))
    variance = sum(part for part, _ in parts)
    degrees = variance**2 / sum(part**2 / freedom for part, freedom in parts)
    error = np.sqrt(variance)
    half = t.ppf(0.975, degrees) * error
    low, high = max(-1.0, value - half), min(1.0, value + half)
    return RunsComparison(
        difference=Figure(name="accuracy", value=value, low=float(low), high=float(high)),
        p=float(2 * t.sf(abs(value) / error, degrees)),
        sampling_variance=sampling,
        seed_variance=variance - sampling,
    )

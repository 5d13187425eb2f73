"""Models that were trained several times, with different seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.statistics.estimates import Estimate
from harness.statistics.metrics import Bools

LARGEST_SPREAD = 0.05
"""Standard deviation of the accuracy over trainings, as a fraction of 1, beyond which no recipe is
expected to vary; ten times that of fine-tuned networks. It stands in where too few trainings tell
the spread."""
LEAST_P = 1e-12
"""p values are not resolved below this."""

POWER = 0.8
"""Share of trials in which a difference is to be found."""

Part = tuple[float, float]
"""A variance and its degrees of freedom, infinite where the variance is known."""


@dataclass(frozen=True)
class RunsComparison:
    """Difference in mean accuracy of two models over their trainings."""

    difference: Estimate
    """With its 95 % interval."""
    low90: float
    high90: float
    """Its 90 % interval, for tests of equivalence."""
    p: float
    sampling_variance: float
    """That the difference has because other test patches could have been drawn."""
    seed_variance: float
    """That it has because the trainings could have had other seeds."""
    bound: float | None
    """The standard deviation over seeds that was taken for that of a model, the larger of two, if
    the trainings are too few to tell it."""

    @property
    def seed_share(self) -> float:
        """Share of the variance that is due to seeds."""
        return self.seed_variance / (self.seed_variance + self.sampling_variance)


def compare_runs(
    one: Bools,
    other: Bools,
    groups: NDArray[np.int64] | None = None,
    design_effect: float = 1.0,
) -> RunsComparison:
    """Compare models by which patches each training gets right, bool (S, N) and (T, N).

    The variance has three parts: that of the mean over seeds from patch to patch (or from group to
    group), enlarged by that of one patch and by the design effect, and of each model that of its
    accuracies from seed to seed. What trainings with other seeds get right by chance on single
    patches is in both; it is taken off the first. Each part is multiplied by the square of
    Student's quantile for its own degrees of freedom (Banerjee, Sankhya A 23, 1961). So the test
    keeps to its level whatever the models' spreads are and however many trainings each has, which
    Welch's does not: with 2 trainings beside 10 it errs in 11 % of trials (see
    ``tests/simulations/verdicts.md``).

    One training tells nothing of how a model varies, and two tell little. Models can still be told
    apart by a difference that is too large even for models that vary by ``LARGEST_SPREAD``, or by
    twice what their trainings are seen to vary by (one training: those of the other). That is a
    second result; of the two, the one with the smaller p is returned.
    """
    value = float((one.mean(axis=0) - other.mean(axis=0)).mean())
    found = [
        _compared(value, parts[0], parts[1:], bound)
        for parts, bound in _variances(one, other, groups, design_effect)
    ]
    return min(found, key=lambda result: result.p) if found else _whole(value)


def detectable_over_seeds(
    one: Bools,
    other: Bools,
    groups: NDArray[np.int64] | None = None,
    design_effect: float = 1.0,
    levels: Sequence[float] = (0.05,),
) -> list[float]:
    """The differences in accuracy that ``compare_runs`` finds at levels, in about 80 % of trials.

    Where the variances of these two models are the true ones. 1 where no difference shows.
    """
    found = _variances(one, other, groups, design_effect)
    return [min([1.0, *(detectable(parts, level) for parts, _ in found)]) for level in levels]


def _variances(
    one: Bools, other: Bools, groups: NDArray[np.int64] | None, design_effect: float
) -> list[tuple[list[Part], float | None]]:
    """Each way to count the variance of a difference, and the bound on spreads that it takes.

    The first part is that of patches, then that of seeds of each model.
    """
    n = one.shape[1]
    gaps = one.mean(axis=0) - other.mean(axis=0)
    sums = gaps - gaps.mean() if groups is None else np.bincount(groups, gaps - gaps.mean())
    m = len(sums)
    if groups is not None and m < 2:  # one group does not show how groups differ
        return []
    sampling = design_effect * float(np.square(sums).sum()) * m / max(m - 1, 1) / n**2
    several = [right for right in (one, other) if len(right) > 1]
    by_chance = sum(float(right.var(axis=0, ddof=1).mean()) / len(right) for right in several) / n
    sampling = max(sampling - by_chance, 0.0) + design_effect / n**2
    spreads = [float(right.mean(axis=1).var(ddof=1)) for right in several]
    of_patches = (sampling, max(m - 1, 1))
    found: list[tuple[list[Part], float | None]] = []
    if len(several) == 2:
        known = [(s / len(r), len(r) - 1) for s, r in zip(spreads, several, strict=True)]
        found.append(([of_patches, *known], None))
    bounds = [max(LARGEST_SPREAD, 2 * math.sqrt(spread)) for spread in spreads]
    if len(several) < 2:
        bounds = 2 * [max(bounds, default=LARGEST_SPREAD)]
    taken = [(b**2 / len(r), math.inf) for b, r in zip(bounds, (one, other), strict=True)]
    found.append(([of_patches, *taken], max(bounds)))
    return found


def detectable(parts: Sequence[Part], level: float = 0.05) -> float:
    """The difference that a test at this level finds in 80 % of trials, at most 1.

    By the normal approximation: half the width of the interval, and the 80 % quantile of the
    standard error on top.
    """
    from scipy.special import ndtri

    error = math.sqrt(sum(part for part, _ in parts))
    return min(1.0, _half(parts, level) + float(ndtri(POWER)) * error)


def _whole(value: float) -> RunsComparison:
    """What is known of a difference whose variance is not."""
    whole = Estimate(name="accuracy", value=value, low=-1.0, high=1.0)
    return RunsComparison(whole, -1.0, 1.0, 1.0, 1.0, 0.0, None)


def _compared(
    value: float, of_patches: Part, of_seeds: Sequence[Part], bound: float | None = None
) -> RunsComparison:
    from scipy.optimize import brentq

    parts = [of_patches, *of_seeds]

    def excess(log_p: float) -> float:
        return _half(parts, math.exp(log_p)) - abs(value)

    p = 1.0
    if excess(math.log(LEAST_P)) < 0:
        p = LEAST_P
    elif excess(0.0) < 0:  # with a value of rounding alone it may not be
        p = math.exp(brentq(excess, math.log(LEAST_P), 0.0))
    ends = [_half(parts, level) for level in (0.05, 0.10)]
    low, high, low90, high90 = (
        end for half in ends for end in (max(-1.0, value - half), min(1.0, value + half))
    )
    return RunsComparison(
        difference=Estimate(name="accuracy", value=value, low=low, high=high),
        low90=low90,
        high90=high90,
        p=p,
        sampling_variance=of_patches[0],
        seed_variance=sum(part for part, _ in of_seeds),
        bound=bound,
    )


def _half(parts: Sequence[Part], level: float) -> float:
    """Half the width of Banerjee's interval that misses with at most this probability."""
    from scipy.special import ndtri, stdtrit

    quantiles = [
        ndtri(level / 2) if math.isinf(freedom) else stdtrit(freedom, level / 2)
        for _, freedom in parts
    ]
    return math.sqrt(
        sum(float(q) ** 2 * part for q, (part, _) in zip(quantiles, parts, strict=True))
    )

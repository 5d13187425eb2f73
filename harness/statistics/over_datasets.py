"""Models on several datasets: whether one is better on datasets in general.

Datasets are the sample here, one figure of a model for each; they count as independent of each
other, and how sure the figure of each dataset is does not count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.statistics.metrics import Floats

STRENGTH = 0.5
"""Of the prior: so many datasets on which models are equal."""
DRAWS = 50_000


FEW = 5
"""Datasets up to which ranks are dealt at random."""
DEALS = 9_999
"""Times that they are dealt."""


@dataclass(frozen=True)
class SignedRank:
    """Probabilities that one model is worse than another, practically equal, or better."""

    worse: float
    equal: float
    better: float


def signed_rank(differences: Floats, margin: float) -> SignedRank:
    """Bayesian signed-rank test of differences (D,), one for each dataset.

    The distribution of differences over datasets has a Dirichlet process as prior, with an
    observation at zero of weight ``STRENGTH``. Of each draw of the weights of the datasets, that
    outcome counts which most means of two differences speak for: below the region of practical
    equivalence, from -``margin`` to ``margin``, within it, or above (Benavoli, Corani, Demšar and
    Zaffalon, JMLR 18, 2017, 4.2). The same in every run, up to 0.3 points from chance.
    """
    rng = np.random.default_rng(0)
    values = np.concatenate([[0.0], differences])
    weights = rng.dirichlet([STRENGTH, *np.ones(len(differences))], DRAWS)
    means = (values[:, None] + values) / 2
    regions = means < -margin, np.abs(means) <= margin, means > margin
    shares = np.stack([((weights @ region) * weights).sum(axis=1) for region in regions])
    won = np.isclose(shares, shares.max(axis=0), rtol=0, atol=1e-12)
    return SignedRank(*map(float, (won / won.sum(axis=0)).mean(axis=1)))


@dataclass(frozen=True)
class Ranks:
    """Ranks of M models over D datasets."""

    mean: Floats
    """Mean rank of each model, (M,), 1 the best; equal figures share their ranks."""
    p: float
    """That all models are equally good."""
    critical_difference: float
    """Mean ranks that differ by this or more differ in truth, at 5 % over all pairs."""


def ranks(figures: Floats) -> Ranks:
    """Mean ranks of figures (D, M), more is better, of at least three models and two datasets.

    p is of Friedman's test with the F distribution of Iman and Davenport (1980), of up to ``FEW``
    datasets by permuting the models within each, as F is too short there. The critical difference
    is that of Nemenyi's test (Demšar, JMLR 7, 2006).
    """
    from scipy.stats import f, friedmanchisquare, rankdata, studentized_range

    d, m = figures.shape
    of_each = rankdata(-figures, axis=1)
    if d <= FEW:
        p = _permuted(of_each)
    else:
        statistic = friedmanchisquare(*of_each.T).statistic if np.ptp(of_each) else 0.0
        room = d * (m - 1) - statistic
        value = (d - 1) * statistic / room if room > 1e-9 else np.inf
        p = float(f.sf(value, m - 1, (m - 1) * (d - 1)))
    quantile = studentized_range.ppf(0.95, m, np.inf) / np.sqrt(2)
    return Ranks(of_each.mean(axis=0), p, float(quantile * np.sqrt(m * (m + 1) / (6 * d))))


def _permuted(of_each: Floats) -> float:
    """How often ranks (D, M) dealt at random within each dataset lie as far apart on average."""
    rng = np.random.default_rng(0)
    seen = np.square(of_each.sum(axis=0)).sum()
    dealt = rng.permuted(np.broadcast_to(of_each, (DEALS, *of_each.shape)), axis=2)
    as_far = np.square(dealt.sum(axis=1)).sum(axis=1) >= seen - 1e-9
    return float((1 + as_far.sum()) / (1 + DEALS))


def not_different(mean_ranks: Floats, critical_difference: float) -> list[tuple[int, ...]]:
    """Largest sets of two or more models whose mean ranks (M,) differ by less than is critical.

    Numbers of the models, the best first.
    """
    order = np.argsort(mean_ranks, kind="stable")
    found: list[tuple[int, ...]] = []
    reached = 0
    for start in range(len(order)):
        near = mean_ranks[order] - mean_ranks[order[start]] < critical_difference
        end = int(np.flatnonzero(near).max()) + 1
        if end > max(reached, start + 1):
            found.append(tuple(order[start:end].tolist()))
            reached = end
    return found

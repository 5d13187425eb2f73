"""How classes differ in fine traces, and which kind of fault the difference looks like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import ledoit_wolf

from harness import Audit, Measured
from harness_bias.audit.drawn import drawn
from harness_bias.audit.enough import FEWEST
from harness_bias.audit.groups import Shuffled, least_p, shuffled, weights
from harness_bias.audit.partial import Struck, struck
from harness_bias.audit.signatures import FAMILIES, signatures
from harness_bias.audit.structure import unexplained, within
from harness_bias.measure.dynamic_range import GAPS
from harness_bias.measure.fine import JUDGED, OF_STRUCTURE, OF_TRACES

FEATURES, RANGE = "bias-fine", "bias-range"
Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

MOST = 10_000
"""Patches of a part that are compared; of more, this many are drawn, by class."""
FAR, FAR_IN_CLASS = 3.5, 2.5
"""Standard deviations from which a patch may have been changed: from the median of other classes,
and from that of its own, as a kind of tissue may vary more than others."""


@dataclass(frozen=True)
class Likeness:
    """How much of a difference between classes looks like one family of faults."""

    strength: float
    """Standard deviation over classes along the most like signature, in standard deviations within
    classes; what structure explains, and what chance adds, is taken off."""
    share: float
    """How much of the whole difference lies along that signature, 0 to 1, by slopes within
    classes."""
    left: float
    """The same of what structure does not explain, without what chance adds."""
    p: float
    """How often labels dealt at random differ as much along any signature of the family."""
    title: str
    """The most like signature."""
    doses: Floats
    """How often that signature is in each class, (C,): 0 on average, NaN for a class left out."""


@dataclass(frozen=True)
class Changed:
    """A class of which some patches, unlike most of the others', were changed."""

    struck: Struck
    family: str
    title: str
    likeness: float
    """How much of the mean change of these patches lies along the most like signature."""
    rows: NDArray[np.int64]
    """The patches, as indices of the part."""


@dataclass(frozen=True)
class Difference:
    """How the classes of one part differ."""

    families: Mapping[str, Likeness]
    strength: float
    """Of the whole difference, as ``Likeness.strength``."""
    p: float
    least_p: float
    """The smallest p that so many patients or slides can show."""
    changed: tuple[Changed, ...]
    rows: NDArray[np.int64]
    """The patches compared, as indices of the part."""
    along: Mapping[str, Floats]
    """By family, how far each of ``rows`` lies along the most like signature."""

    @property
    def most_like(self) -> str:
        """The family that the difference looks most like."""
        return max(self.families, key=lambda name: self.families[name].share)


def differences(audit: Audit) -> dict[str, Difference]:
    """By part, how its classes differ; parts with too few patches are left out."""
    found = {}
    for name, part in audit.parts.items():
        values = part.values[FEATURES]
        labels = part.labels
        rows = np.flatnonzero(judgeable(part))
        counts = np.bincount(labels[rows], minlength=len(audit.classes))
        rows = drawn(rows[(counts >= FEWEST)[labels[rows]]], labels, MOST)
        if len(np.unique(labels[rows])) > 1:
            groups = None if part.groups is None else part.groups[rows]
            found[name] = difference(values[rows], labels[rows], rows, groups, len(audit.classes))
    return found


def judgeable(part: Measured) -> NDArray[np.bool_]:
    """Which patches of a part can be judged, bool (N,): those with tissue and without gaps.

    Where values are missing from a histogram, the patch was rounded anew, which looks like noise.
    """
    gaps = part.values[RANGE][:, GAPS] > 0
    return np.asarray((part.values[FEATURES][:, JUDGED] > 0) & ~gaps.any(axis=1))


def difference(
    values: NDArray[np.float32],
    labels: Labels,
    rows: NDArray[np.int64],
    groups: Labels | None,
    n_classes: int,
) -> Difference:
    """How classes differ in fine traces, from features (N, D) of patches that can be judged."""
    traces = values[:, OF_TRACES].astype(np.float64)
    structure = values[:, OF_STRUCTURE].astype(np.float64)
    present, compact = np.unique(labels, return_inverse=True)
    left = unexplained(traces, structure)
    whiten = _whitening(left, compact)
    left = left @ whiten
    known = signatures()
    changes = np.stack([one.change for one in known]) @ whiten
    sizes = np.linalg.norm(changes, axis=1)
    directions = changes / sizes[:, None]
    weight = weights(compact, groups)
    # What kind it is: by slopes within classes, which take nothing of a fault.
    whole = _means(within(traces, structure, compact) @ whiten, compact, weight)
    along = np.square(whole @ directions.T).mean(axis=0)
    shares = along / max(float(np.square(whole).sum(axis=1).mean()), 1e-12)
    # Whether there is one: by what structure does not explain.
    means = _means(left, compact, weight)
    seen = np.square(means @ directions.T).mean(axis=0)
    every = float(np.square(means).sum(axis=1).mean())
    by_chance, every_by_chance = _null(left, directions, shuffled(compact, groups))
    strength = _debiased(every, every_by_chance)
    families, projections = {}, {}
    for family in FAMILIES:
        own = np.array([one.family == family for one in known])
        best = int(np.where(own, shares, -1).argmax())
        largest = by_chance[:, own].max(axis=1)
        doses = np.full(n_classes, np.nan)
        doses[present] = whole @ directions[best] / sizes[best]
        own_strength = _debiased(seen[best], by_chance[:, best])
        families[family] = Likeness(
            strength=own_strength,
            share=float(shares[best]),
            left=(own_strength / strength) ** 2 if strength else 0.0,
            p=_p(seen[own].max(), largest),
            title=known[best].title,
            doses=doses,
        )
        projections[family] = left @ directions[best]
    return Difference(
        families=families,
        strength=strength,
        p=_p(every, every_by_chance),
        least_p=least_p(compact, groups),
        changed=tuple(_changed(left, labels, groups, rows, directions)),
        rows=rows,
        along=projections,
    )


def _whitening(left: Floats, labels: Labels) -> Floats:
    """What makes traces (N, D) independent and of variance 1 within classes, (D, D)."""
    own = left - _means(left, labels, np.ones(len(labels)), centered=False)[labels]
    low, high = np.quantile(own, (0.02, 0.98), axis=0)
    own = np.clip(own, low, high)
    deviation = np.maximum(own.std(axis=0), 1e-6)
    covariance, _ = ledoit_wolf(own / deviation)
    return np.asarray(np.linalg.inv(np.linalg.cholesky(covariance)).T / deviation[:, None])


def _means(values: Floats, labels: Labels, weight: Floats, centered: bool = True) -> Floats:
    """Weighted means of classes (C, D), less the mean of these unless not ``centered``."""
    member = np.eye(int(labels.max()) + 1)[:, labels] * weight
    means = member @ values / member.sum(axis=1, keepdims=True)
    return np.asarray(means - means.mean(axis=0) if centered else means)


def _null(left: Floats, directions: Floats, deals: Shuffled) -> tuple[Floats, Floats]:
    """The same, of labels dealt at random: along each direction (P, K), and in all (P,)."""
    along, every = [], []
    for labels, weight in deals:
        means = _means(left, labels, weight)
        along.append(np.square(means @ directions.T).mean(axis=0))
        every.append(np.square(means).sum(axis=1).mean())
    return np.array(along), np.array(every)


def _debiased(seen: float, by_chance: Floats) -> float:
    return float(np.sqrt(max(seen - by_chance.mean(), 0.0)))


def _p(seen: float, by_chance: Floats) -> float:
    return float((1 + (by_chance >= seen).sum()) / (1 + len(by_chance)))


def _changed(
    left: Floats,
    labels: Labels,
    groups: Labels | None,
    rows: NDArray[np.int64],
    directions: Floats,
) -> Iterator[Changed]:
    """Classes of which some patches lie far out along a signature where others have few of them.

    The other classes say how patches lie that were not changed.
    """
    along = left @ directions.T
    for label in np.unique(labels):
        own = labels == label
        far = _far(along, along[~own], FAR)
        far[own] &= _far_in_class(along[own])
        best = int((far[own].mean(axis=0) - far[~own].mean(axis=0)).argmax())
        for one in struck(far[:, best], labels, groups, tried=len(directions)):
            if one.label != label:
                continue
            changed = far[:, best] & own
            change = (left[changed] - np.median(left[~own], axis=0)).mean(axis=0)
            shares = np.square(directions @ change) / np.square(change).sum()
            most = signatures()[int(shares.argmax())]
            yield Changed(
                struck=one,
                family=most.family,
                title=most.title,
                likeness=float(shares.max()),
                rows=rows[changed],
            )


def _far(values: Floats, sound: Floats, times: float) -> NDArray[np.bool_]:
    """Which values (N, K) lie so many standard deviations from the median of sound ones."""
    center = np.median(sound, axis=0)
    deviation = 1.4826 * np.median(np.abs(sound - center), axis=0)
    return np.asarray(np.abs(values - center) > times * np.maximum(deviation, 1e-6))


def _far_in_class(values: Floats) -> NDArray[np.bool_]:
    """Which values (N, K) of a class lie so many standard deviations from most of it, either way.

    Center and deviation are those of a normal distribution through the quantiles on the other side,
    which hold as long as less than half of the class was changed.
    """
    far = np.zeros(values.shape, bool)
    for sign in (1, -1):
        tenth, quarter = np.quantile(sign * values, (0.1, 0.25), axis=0)
        deviation = np.maximum((quarter - tenth) / 0.607, 1e-6)
        far |= sign * values > quarter + (0.674 + FAR_IN_CLASS) * deviation
    return far

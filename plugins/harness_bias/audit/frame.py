"""Frame and marks: whether a fixed place of the patches tells the class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness import Audit, Estimate, Finding, Table
from harness.text.numbers import rounded
from harness_bias.audit.between import between
from harness_bias.audit.drawn import drawn
from harness_bias.audit.enough import FEWEST, looked, reason, settled, told
from harness_bias.audit.groups import least_p, shuffled, weights
from harness_bias.audit.predictability import Score, cross_validated
from harness_bias.audit.verdict import grade
from harness_bias.measure.frame import COLUMNS, FALL, KINDS

FEATURES = "bias-frame"
Floats = NDArray[np.float64]
LUCK = 0.005
"""Largest p that counts, of the place that differs most among all: 0.01 over two parts."""
SMALLEST = 1.0
"""Smallest standard deviation over classes that counts, in gray levels."""
STRONGEST = 5
"""Places from which the class is predicted."""
LISTED = 20
MOST = 10_000
"""Patches of a part that are compared; of more, this many are drawn."""
BLIND = (
    "marks whose place differs from patch to patch, and whether what lies at a fixed place is a "
    "mark or tissue on which patches were centered"
)


@dataclass(frozen=True)
class Place:
    """A fixed place of the patches of one part, and how classes differ there."""

    name: str
    means: Floats
    """Of each class, (C,), in gray levels; NaN of a class with too few patches."""
    spread: float
    """Standard deviation of these."""
    p: float
    """How often some place differs as surely when labels are dealt at random."""


def measure(audit: Audit) -> Finding:
    """Whether a frame, a corner or any other fixed place tells the class, in either split.

    Classes are compared place by place by an analysis of variance; ``p`` is that of the place that
    differs most among all, by labels dealt at random (Westfall and Young, Resampling-Based Multiple
    Testing, 1993). Patients and slides keep one label.
    """
    found: dict[str, list[Place]] = {}
    can_tell: dict[str, bool] = {}
    scores: list[Score] = []
    for name, part in audit.parts.items():
        values = part.values[FEATURES]
        counts = np.bincount(part.labels, minlength=len(audit.classes))
        rows = drawn(np.flatnonzero((counts >= FEWEST)[part.labels]), part.labels, MOST)
        if len(np.unique(part.labels[rows])) < 2 or not values.any():
            continue
        groups = None if part.groups is None else part.groups[rows]
        found[name] = places(values[rows], part.labels[rows], groups, len(audit.classes))
        can_tell[name] = least_p(part.labels[rows], groups) <= LUCK
        score = cross_validated(
            *(part.values[FEATURES], part.labels, rows, f"cross-validated on {name}", part.groups),
            strongest=STRONGEST,
        )
        scores += [] if score is None else [score]
    first = {name: those[0] for name, those in found.items()}
    differ = {n: one for n, one in first.items() if one.p <= LUCK and one.spread >= SMALLEST}
    seen = looked(audit)
    opinion = settled([told(name in differ, can_tell[name]) for name in found], seen)
    return Finding(
        summary=f"frame and fixed places: {_text(audit, differ, found, reason(opinion, seen))}",
        estimates=(
            *(score.estimate("fixed places predict the class") for score in scores),
            *(
                Estimate(name=f"permutation p of the place that differs most, {name}", value=one.p)
                for name, one in first.items()
            ),
            *seen.estimates(opinion.needed),
        ),
        tables=(_table(audit, found),),
        reading=max((score.value for score in scores), default=None),
        flag=opinion.flag,
        grade=grade(opinion.flag, scores),
        blind=BLIND,
    )


def places(
    values: NDArray[np.float32],
    labels: NDArray[np.int64],
    groups: NDArray[np.int64] | None,
    n_classes: int,
) -> list[Place]:
    """Every place, that which differs most first, from features (N, D) and labels (N,)."""
    present, compact = np.unique(labels, return_inverse=True)
    even = _even(values)
    weight = weights(compact, groups)
    ratio, _ = between(even, compact, weight)
    _, means = between(values, compact, weight)
    largest = np.array([between(even, *deal)[0].max() for deal in shuffled(compact, groups)])
    found = []
    for column in np.argsort(-ratio):
        of_classes = np.full(n_classes, np.nan)
        of_classes[present] = means[:, column]
        p = (1 + (largest >= ratio[column]).sum()) / (1 + len(largest))
        found.append(Place(COLUMNS[column], of_classes, float(means[:, column].std()), float(p)))
    return found


def light_falls(
    values: NDArray[np.float32], labels: NDArray[np.int64], groups: NDArray[np.int64] | None
) -> float:
    """How differently light falls off toward the corners of classes, in gray levels.

    The standard deviation over classes of the mean of features (N, D), labels (N,) from 0 without
    gaps; 0 where labels dealt at random differ as much, or may, as there are too few patches.
    """
    rows = drawn(np.arange(len(labels)), labels, MOST)
    compact, groups = labels[rows], None if groups is None else groups[rows]
    fall = values[rows][:, [FALL]]
    weight = weights(compact, groups)
    ratio, means = between(fall, compact, weight)
    chance = np.array([between(fall, *deal)[0][0] for deal in shuffled(compact, groups)])
    p = (1 + (chance >= ratio[0]).sum()) / (1 + len(chance))
    return float(means[:, 0].std()) if p <= LUCK else 0.0


def _even(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values (N, D) that vary as much in lively tissue as in plain one.

    Otherwise classes of different texture would differ by more than labels dealt at random do.
    """
    even = np.empty_like(values)
    for kind in KINDS:
        own = values[:, kind]
        size = np.sqrt(np.square(own).mean(axis=1, keepdims=True)) if own.shape[1] > 1 else 1.0
        even[:, kind] = own / np.maximum(size, 0.5)
    return even


def _text(audit: Audit, differ: dict[str, Place], found: dict[str, list[Place]], why: str) -> str:
    if not found:
        return why.removeprefix("; ") or "not judged: that takes patches of 32 pixels a side"
    if not differ:
        return f"none tells the class{why}"
    said = []
    for name, one in differ.items():
        highest = audit.classes[int(np.nanargmax(one.means))]
        lowest = audit.classes[int(np.nanargmin(one.means))]
        said.append(
            f"{one.name} tells classes of the {name} patches apart, by up to "
            f"{rounded(float(np.nanmax(one.means) - np.nanmin(one.means)), 1)} gray levels between "
            f"{lowest} and {highest} (p {rounded(one.p, 3)})"
        )
    return "; ".join(said)


def _table(audit: Audit, found: dict[str, list[Place]]) -> Table:
    rows = [
        (one.name, name, one.spread, one.p, *(None if np.isnan(m) else m for m in one.means))
        for name, those in found.items()
        for one in those[:LISTED]
    ]
    return Table(
        name="places",
        title="Places that differ most between classes: how much brighter than around, gray levels",
        headings=("place", "split", "SD over classes", "p", *audit.classes),
        rows=tuple(rows),
    )

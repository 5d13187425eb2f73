"""Whether patches of some classes were resampled by a factor by which those of others were not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness import Audit, Estimate, Table
from harness.text.numbers import percent, rounded
from harness_bias.audit.between import between
from harness_bias.audit.drawn import drawn
from harness_bias.audit.enough import FEWEST, told
from harness_bias.audit.families import LISTED, LUCK, Beside
from harness_bias.audit.groups import least_p, shuffled, weights
from harness_bias.audit.predictability import cross_validated
from harness_bias.measure.resampling import FREQUENCIES

FEATURES = "bias-resampling"
Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

MOST = 10_000
"""Patches of a part that are compared; of more, this many are drawn, by class."""
SMALLEST = 0.5
"""Smallest difference between classes that counts, in natural logarithms of power: 1.6 times."""
SEEN = 1.6
"""From where on a peak is seen in a patch. At any one frequency, 1.6 % of the patches of the
NCT-CRC-HE sample reach it, and 7 % where most do."""
GOOD_PART = 0.3
"""Share of the patches of a class that must show a peak for its enlargement to be told."""


@dataclass(frozen=True)
class Trace:
    """How classes of one part differ at the frequency at which they differ most surely."""

    rows: NDArray[np.int64]
    """The patches compared, as indices of the part."""
    heights: NDArray[np.float32]
    """Height of every frequency's peak in these patches, (N, F)."""
    at: int
    """Which frequency it is, as an index of ``FREQUENCIES``."""
    means: Floats
    """Mean height of that peak by class, (C,); NaN of a class with too few patches."""
    p: float
    """How often classes differ as surely at some frequency when labels are dealt at random."""
    least_p: float
    """The smallest p that so many patients or slides can show."""

    @property
    def differs(self) -> bool:
        """Whether the peak is there in some class and not in another, and not by chance."""
        high, low = np.nanmax(self.means), np.nanmin(self.means)
        return bool(self.p <= LUCK and high - low >= SMALLEST and low <= high / 2)


def look(audit: Audit) -> Beside:
    """Peaks of periodic traces that some classes have and others do not, in either part.

    Classes are compared frequency by frequency by an analysis of variance; p is that of the
    frequency that differs most among all, by labels dealt at random, whole patients or slides at
    once.
    """
    found: dict[str, Trace] = {}
    for name, part in audit.parts.items():
        values = part.values[FEATURES]
        rows = np.flatnonzero(values.any(axis=1))
        counts = np.bincount(part.labels[rows], minlength=len(audit.classes))
        rows = drawn(rows[(counts >= FEWEST)[part.labels[rows]]], part.labels, MOST)
        if len(np.unique(part.labels[rows])) > 1:
            groups = None if part.groups is None else part.groups[rows]
            found[name] = trace(values[rows], part.labels[rows], rows, groups, len(audit.classes))
    differ = {name: one for name, one in found.items() if one.differs}
    scores = [
        cross_validated(
            *(audit.parts[name].values[FEATURES][:, [one.at]], audit.parts[name].labels, one.rows),
            *(f"cross-validated on {name}", audit.parts[name].groups),
        )
        for name, one in differ.items()
    ]
    return Beside(
        opinions=tuple(told(name in differ, one.least_p <= LUCK) for name, one in found.items()),
        text=_text(audit, found, differ),
        scores=tuple(score for score in scores if score is not None),
        estimates=tuple(
            Estimate(name=f"permutation p of periodic traces, {name}", value=one.p)
            for name, one in found.items()
        ),
        tables=(_by_class(audit, found), _patches(audit, differ)),
    )


def trace(
    values: NDArray[np.float32],
    labels: Labels,
    rows: NDArray[np.int64],
    groups: Labels | None,
    n_classes: int,
) -> Trace:
    """How classes differ in features (N, F) of patches that can be judged."""
    present, compact = np.unique(labels, return_inverse=True)
    ratio, means = between(values, compact, weights(compact, groups))
    # Where a class has less than others, there is no peak but a dent, as between peaks of JPEG.
    ratio = np.where(means.max(axis=0) >= SMALLEST, ratio, 0)
    largest = np.array([_largest(values, *deal) for deal in shuffled(compact, groups)])
    at = int(ratio.argmax())
    of_classes = np.full(n_classes, np.nan)
    of_classes[present] = means[:, at]
    return Trace(
        rows=rows,
        heights=values,
        at=at,
        means=of_classes,
        p=float((1 + (largest >= ratio[at]).sum()) / (1 + len(largest))),
        least_p=least_p(compact, groups),
    )


def _largest(values: NDArray[np.float32], labels: Labels, weight: Floats) -> float:
    ratio, means = between(values, labels, weight)
    return float(np.where(means.max(axis=0) >= SMALLEST, ratio, 0).max())


def factors(frequency: float) -> tuple[float, ...]:
    """By what factors patches may have been resampled that show a peak at a frequency, up to 0.5.

    A factor of s leaves a period of s pixels, and frequencies that differ by whole numbers look
    alike: enlarged, less than 2 times or more; shrunk, to more than 2/3 or less.
    """
    return 1 / (1 - frequency), 1 / frequency, 1 / (1 + frequency), 1 / (2 - frequency)


def _said(frequency: float) -> str:
    """What a frequency says of the size, in words."""
    little, much, less, least = (rounded(factor, 2) for factor in factors(frequency))
    enlarged = little if little == much else f"{little} or {much}"
    return f"enlarged {enlarged} times or shrunk to {less} or {least}"


def _text(audit: Audit, found: dict[str, Trace], differ: dict[str, Trace]) -> str:
    if not differ:
        return "no periodic traces in which classes differ" if found else ""
    said = []
    for name, one in differ.items():
        frequency = float(FREQUENCIES[one.at])
        middle = (np.nanmax(one.means) + np.nanmin(one.means)) / 2
        named = [audit.classes[label] for label in np.flatnonzero(one.means > middle)]
        said.append(
            f"the {name} patches of {', '.join(named)} show periodic traces at "
            f"{rounded(frequency, 3)} cycles per pixel that others do not, as if "
            f"{_said(frequency)} (p {rounded(one.p, 3)})"
        )
    return "; ".join(said)


def _by_class(audit: Audit, found: dict[str, Trace]) -> Table:
    """The strongest peak of each class, and what it says where enough of its patches show it."""
    rows = []
    for name, one in found.items():
        labels = audit.parts[name].labels[one.rows]
        for label, class_name in enumerate(audit.classes):
            own = one.heights[labels == label]
            if not len(own):
                continue
            at = int(own.mean(axis=0).argmax())
            frequency, shown = float(FREQUENCIES[at]), float((own[:, at] >= SEEN).mean())
            told_factors = factors(frequency) if shown >= GOOD_PART else (None,) * 4
            strength = float(np.exp(np.median(own[:, at])))
            rows.append((class_name, name, len(own), frequency, strength, shown, *told_factors))
    return Table(
        name="resampling",
        title=(
            "Strongest periodic trace of each class, and the factors of resampling that leave it "
            f"where {percent(GOOD_PART, 0)} % of the patches show it"
        ),
        headings=(
            *("class", "split", "patches", "cycles per pixel", "times the power around: median"),
            *("patches that show it", "enlarged", "or", "or shrunk to", "or to"),
        ),
        rows=tuple(sorted(rows, key=lambda row: (row[0], row[1]))),
    )


def _patches(audit: Audit, differ: dict[str, Trace]) -> Table:
    """The patches with the highest peaks where classes differ."""
    rows = [row for name, one in differ.items() for row in _highest(audit, name, one)]
    return Table(
        name="resampled",
        title=f"Patches with periodic traces ({min(len(rows), LISTED):,} of {len(rows):,})",
        headings=("patch", "class", "split", "cycles per pixel", "times the power around"),
        rows=tuple(rows[:LISTED]),
    )


def _highest(audit: Audit, name: str, one: Trace) -> Iterator[tuple[str | float | None, ...]]:
    part, heights = audit.parts[name], one.heights[:, one.at]
    ids = part.split.ids
    for index in np.argsort(-heights):
        if heights[index] < SEEN:
            return
        row = int(one.rows[index])
        place = (ids[row], audit.classes[part.labels[row]], name)
        yield *place, float(FREQUENCIES[one.at]), float(np.exp(heights[index]))

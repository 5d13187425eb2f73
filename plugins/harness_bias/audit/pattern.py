"""Whether patches of a class share a fixed pattern, as of a camera, that those of others lack."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from harness import Audit, Table
from harness.text.numbers import rounded
from harness_bias.audit.drawn import comparable
from harness_bias.audit.families import LUCK, Additional, in_addition
from harness_bias.audit.groups import least_p, shuffled, weights
from harness_bias.audit.predictability import Score, cross_validated
from harness_bias.measure.pattern import GRID, RESPONSE, SKETCH

FEATURES = "bias-pattern"
Floats = NDArray[np.float64]
Values = NDArray[np.float32]
Labels = NDArray[np.int64]

MOST = 5_000
"""Patches of a part that are compared; of more, this many are drawn, by class."""
SIDE = 8
"""Regions a side. A camera's pattern is everywhere, a mark in some regions."""
EVERYWHERE = 43
"""Regions out of 64, those where classes differ least, in which they must differ on average."""
SMALLEST = 0.1
"""Smallest standard deviation of a pattern that counts, in percent of the brightness."""
_CELL = np.arange(GRID) * SIDE // GRID
REGION: NDArray[np.int64] = (_CELL[:, None] * SIDE + _CELL).ravel()
"""The region of each cell."""


@dataclass(frozen=True)
class Patterns:
    """How much patches of a class agree with each other, and with those of other classes."""

    rows: NDArray[np.int64]
    """The patches compared, as indices of the part."""
    counts: Labels
    """Of each class, (C,)."""
    halves: Floats
    """Correlation of the mean residuals of two halves of each class, (C,); NaN if left out."""
    others: Floats
    """The same of a half of the class and as many patches of other classes."""
    percent: Floats
    """Standard deviation of what the class's pattern differs by from that of the other classes, in
    percent of the brightness, (C,)."""
    p: float
    """How often labels dealt at random agree as much."""
    least_p: float
    """The smallest p that so many patients or slides can show."""

    @property
    def differs(self) -> bool:
        """Whether classes have patterns of their own that are large enough to count."""
        return bool(self.p <= LUCK and np.nanmax(self.percent) >= SMALLEST)


def look(audit: Audit) -> Additional:
    """Whether patches of one class agree at fixed places more than with those of other classes."""
    found: dict[str, Patterns] = {}
    for name, part in audit.parts.items():
        values = part.values[FEATURES]
        rows = np.flatnonzero(values[:, RESPONSE] > 0)
        rows = comparable(values[:, SKETCH], rows, part.labels, MOST)
        if len(np.unique(part.labels[rows])) > 1:
            groups = None if part.groups is None else part.groups[rows]
            found[name] = patterns(
                values[rows], part.labels[rows], rows, groups, len(audit.classes)
            )
    differ = {name: one for name, one in found.items() if one.differs}
    scores = [_score(audit, name, one) for name, one in differ.items()]
    return in_addition(
        "fixed patterns", found, _text(audit, found, differ), scores, (_table(audit, found),)
    )


def patterns(
    values: Values,
    labels: Labels,
    rows: NDArray[np.int64],
    groups: Labels | None,
    n_classes: int,
) -> Patterns:
    """How classes differ in features (N, 257) of patches that can be judged.

    The mean product of two patches' residuals is what they have in common. A product of a patch
    with itself, or with another of its patient or slide in its class, does not count. ``p`` is that
    of how much more patches of a class have in common than any two, over regions of the patch, of
    which a third is left out, those where it is most: a mark is not everywhere.
    """
    present, compact = np.unique(labels, return_inverse=True)
    sketch = values[:, SKETCH]
    norm = np.linalg.norm(sketch, axis=1, keepdims=True)
    sketch = sketch / np.maximum(norm, 1e-6)
    units = None if groups is None else np.unique(groups, return_inverse=True)[1]
    given = _Products(sketch, compact, weights(compact, groups), units)
    dealt = [_Products(sketch, *deal, units).excess for deal in shuffled(compact, groups)]
    excess = np.array([given.excess, *dealt])
    excess = (excess - excess.mean(axis=0)) / np.maximum(excess.std(axis=0), 1e-12)
    common = np.sort(excess, axis=1)[:, :EVERYWHERE].mean(axis=1)
    response = np.array(
        [values[compact == label, RESPONSE].mean() for label in range(len(present))]
    )
    halves, others, percent = (np.full(n_classes, np.nan) for _ in range(3))
    halves[present], others[present] = given.halves, given.others
    percent[present] = 100 * given.apart / response
    return Patterns(
        rows=rows,
        counts=np.bincount(labels, minlength=n_classes),
        halves=halves,
        others=others,
        percent=percent,
        p=float((common >= common[0]).mean()),
        least_p=least_p(compact, groups),
    )


class _Products:
    """Mean products of sketches of patches of the same class, and of different ones."""

    def __init__(
        self, sketch: Values, labels: Labels, weight: Floats, units: Labels | None
    ) -> None:
        member = (np.eye(int(labels.max()) + 1)[:, labels] * weight).astype(np.float32)
        self.sizes = member.sum(axis=1, dtype=np.float64)
        """Patches of each class, or patients or slides, (C,)."""
        self.sums = (member @ sketch).astype(np.float64)
        self.own = self._own(sketch, labels, weight, units)
        """Of each class, sum of the products of its patches, or groups, with themselves, (C, D)."""

    @staticmethod
    def _own(sketch: Values, labels: Labels, weight: Floats, units: Labels | None) -> Floats:
        of_class = labels
        if units is not None:
            n_units = int(units.max()) + 1
            cells, cell = np.unique(labels * n_units + units, return_inverse=True)
            of_class = cells // n_units
            shape = (len(cells), len(labels))
            columns = np.arange(len(labels))
            sketch = csr_array((weight.astype(np.float32), (cell, columns)), shape) @ sketch
        member = np.eye(int(labels.max()) + 1, dtype=np.float32)[:, of_class]
        return np.asarray(member @ np.square(sketch), np.float64)

    @property
    def excess(self) -> Floats:
        """By how much products within classes exceed those of any two, summed by region, (R,)."""
        sizes = self.sizes[:, None]
        within = (np.square(self.sums) - self.own) / sizes
        whole = (np.square(self.sums.sum(axis=0)) - self.own.sum(axis=0)) / sizes.sum()
        return np.bincount(REGION, within.sum(axis=0) - whole).astype(np.float64)

    @cached_property
    def _common(self) -> tuple[Floats, Floats, Floats]:
        """Mean product of two of a class, of one of it and one of others, and of two others."""
        sizes, total = self.sizes, self.sums.sum(axis=0)
        rest, left = total - self.sums, sizes.sum() - sizes
        own = self.own.sum(axis=1)
        both = (np.square(self.sums).sum(axis=1) - own) / np.maximum(sizes * (sizes - 1), 1)
        one = (self.sums * rest).sum(axis=1) / (sizes * left)
        none = np.square(rest).sum(axis=1) - (own.sum() - own)
        return both, one, none / np.maximum(left * (left - 1), 1)

    @property
    def halves(self) -> Floats:
        """Correlation of the means of two halves of each class, (C,), as products tell it."""
        both, _, _ = self._common
        return np.asarray(np.clip(both, 0, None) / self._variance(both))

    @property
    def others(self) -> Floats:
        """Correlation of the mean of half a class with that of as many others, (C,)."""
        both, one, none = self._common
        return np.asarray(one / np.sqrt(self._variance(both) * self._variance(none)))

    @property
    def apart(self) -> Floats:
        """Norm of the difference between the pattern of each class and that of the others, (C,)."""
        both, one, none = self._common
        return np.asarray(np.sqrt(np.maximum(both + none - 2 * one, 0)))

    def _variance(self, common: Floats) -> Floats:
        """Of a mean over as many as half a class has, of which two have so much in common."""
        single = self.own.sum(axis=1) / self.sizes
        common = np.clip(common, 0, None)
        spread = np.maximum(single - common, 0) / (self.sizes / 2)
        return np.asarray(np.maximum(common + spread, 1e-12))


def _score(audit: Audit, name: str, one: Patterns) -> Score | None:
    part = audit.parts[name]
    return cross_validated(
        *(part.values[FEATURES][:, SKETCH], part.labels, one.rows),
        *(f"cross-validated on {name}", part.groups),
        linear=True,
    )


def _text(audit: Audit, found: dict[str, Patterns], differ: dict[str, Patterns]) -> str:
    if not differ:
        return "no fixed pattern in which classes differ" if found else ""
    said = []
    for name, one in differ.items():
        largest = int(np.nanargmax(one.percent))
        said.append(
            f"classes of the {name} patches differ in a fixed pattern, as of a camera, most "
            f"{audit.classes[largest]}, by about {rounded(float(one.percent[largest]), 2)} % of "
            f"the brightness (p {rounded(one.p, 3)})"
        )
    return "; ".join(said)


def _table(audit: Audit, found: dict[str, Patterns]) -> Table:
    rows: list[tuple[str | float | None, ...]] = [
        (
            *(class_name, name, int(one.counts[label])),
            *(float(of[label]) for of in (one.halves, one.others, one.percent)),
        )
        for name, one in found.items()
        for label, class_name in enumerate(audit.classes)
        if np.isfinite(one.halves[label])
    ]
    return Table(
        name="patterns",
        title="How much mean residuals at fixed places agree: correlation of halves of each class",
        headings=(
            *("class", "split", "patches", "of two halves", "with as many others"),
            "differs from others by: % of brightness",
        ),
        rows=tuple(sorted(rows, key=lambda row: (row[0], row[1]))),
    )

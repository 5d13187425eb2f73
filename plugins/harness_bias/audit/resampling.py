"""Whether patches of some classes were resampled by a factor by which those of others were not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from harness import Audit, Table
from harness.text.numbers import percent, rounded
from harness_bias.audit.between import between
from harness_bias.audit.drawn import comparable
from harness_bias.audit.families import LISTED, LUCK, Additional, in_addition
from harness_bias.audit.groups import least_p, shuffled, weights
from harness_bias.audit.predictability import cross_validated
from harness_bias.measure.resampling import FREQUENCIES, LENGTH

FEATURES = "bias-resampling"
Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

MOST = 5_000
"""Patches of a part that are compared; of more, this many are drawn, by class."""
HIGH = 0.8
"""Smallest mean height of a class's peak that counts, in natural logarithms: 2.2 times the power
around. Classes of 8 to 20 real patches differ by more by chance, but do not peak."""
APART = 0.03
"""How far, in cycles per pixel, from the multiples of 1/8 classes are compared: where tissue comes
and goes up to six times in a patch of 224 pixels, the grid of JPEG does as well. Classes of
phantoms all compressed alike differ at 0.141."""
JUDGED: NDArray[np.int64] = np.flatnonzero(
    (FREQUENCIES >= 0.1) & (np.abs(FREQUENCIES * 8 - np.rint(FREQUENCIES * 8)) > 8 * APART)
)
"""Frequencies at which classes are compared, as indices. At lower ones, tissue itself comes and
goes, as nuclei that lie side by side do."""
SEEN = 1.6
"""From where on a peak is seen in a patch. At any one frequency, 0.5 % of the patches of the
NCT-CRC-HE sample reach it, and 1.5 % where most do."""
GOOD_PART = 0.3
"""Share of the patches of a class that must show a peak for it to count. Tissue that comes and goes
by itself shows one in fewer."""
STEP, LOW, HIGHEST, UNCHANGED = 0.005, 0.5, 3.0, 0.03
"""Factors that are tried: in steps, from and to, and how far from 1."""
EXPECTED = 0.4
"""How high each peak of a grid that was resampled must be, on average."""
SURE = 3.0
"""How much higher peaks of such a grid must be together than the highest of all. The factor of
real patches enlarged 1.05 to 1.9 times by cubic or Lanczos' interpolation is then among those
named; by linear one, not always at 1.1. Of shrunk ones or nearest neighbors it often is not."""
TIED, NAMED, SAME = 2.0, 3, 0.02
"""How much less a factor may explain to be named beside the best, how many are named, and by what
share they differ."""


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
    """Mean height of each frequency's peak by class, (C, F); NaN of a class with too few patches.
    """
    shown: Floats
    """Share of the patches of each class that show that peak, (C,)."""
    p: float
    """How often classes differ as surely at some frequency when labels are dealt at random."""
    least_p: float
    """The smallest p that so many patients or slides can show."""

    @property
    def high(self) -> int:
        """The class whose peak there is highest."""
        return int(np.nanargmax(self.means[:, self.at]))

    @property
    def low(self) -> int:
        """The class whose peak there is lowest."""
        return int(np.nanargmin(self.means[:, self.at]))

    @property
    def differs(self) -> bool:
        """Whether the peak is there in some class and not in another, and not by chance.

        Where both have the one that is the other's highest, both were resampled by one factor:
        then compression before may make a peak at another frequency.
        """
        high, low = self.means[self.high], self.means[self.low]
        there = high[self.at] >= HIGH and self.shown[self.high] >= GOOD_PART
        if self.p > LUCK or not there or low[self.at] > high[self.at] / 2:
            return False
        of_low = int(JUDGED[low[JUDGED].argmax()])
        return bool(low[of_low] < HIGH or high[of_low] < low[of_low] / 2)


def look(audit: Audit) -> Additional:
    """Peaks of periodic traces that some classes have and others do not, in either part.

    Classes are compared frequency by frequency by an analysis of variance; p is that of the
    frequency that differs most among all, by labels dealt at random, whole patients or slides at
    once.
    """
    found: dict[str, Trace] = {}
    for name, part in audit.parts.items():
        values = part.values[FEATURES]
        rows = np.flatnonzero(values.any(axis=1))
        rows = comparable(values, rows, part.labels, MOST)
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
    tables = (_by_class(audit, found), _patches(audit, differ))
    return in_addition("periodic traces", found, _text(audit, found, differ), scores, tables)


def trace(
    values: NDArray[np.float32],
    labels: Labels,
    rows: NDArray[np.int64],
    groups: Labels | None,
    n_classes: int,
) -> Trace:
    """How classes differ in features (N, F) of patches that can be judged."""
    present, compact = np.unique(labels, return_inverse=True)
    judged = values[:, JUDGED]
    ratio, _ = between(judged, compact, weights(compact, groups))
    _, means = between(values, compact, weights(compact, groups))
    largest = np.array([between(judged, *deal)[0].max() for deal in shuffled(compact, groups)])
    # Of frequencies at which classes differ, one at which some class peaks.
    peaks = means[:, JUDGED].max(axis=0) >= HIGH
    best = int(np.where(peaks, ratio, ratio - ratio.max()).argmax())
    at = int(JUDGED[best])
    of_classes = np.full((n_classes, len(FREQUENCIES)), np.nan)
    of_classes[present] = means
    shown = np.full(n_classes, np.nan)
    shown[present] = [(values[compact == k, at] >= SEEN).mean() for k in range(len(present))]
    return Trace(
        rows=rows,
        heights=values,
        at=at,
        means=of_classes,
        shown=shown,
        p=float((1 + (largest >= ratio[best]).sum()) / (1 + len(largest))),
        least_p=least_p(compact, groups),
    )


def factors(frequency: float) -> tuple[float, ...]:
    """By what factors patches may have been resampled that show a peak at a frequency, up to 0.5.

    A factor of s leaves a period of s pixels, and frequencies that differ by whole numbers look
    alike: enlarged, less than 2 times or more; shrunk, to more than 2/3 or less.
    """
    return 1 / (1 - frequency), 1 / frequency, 1 / (1 + frequency), 1 / (2 - frequency)


def explaining(heights: Floats) -> tuple[float, ...]:
    """The factors of resampling that explain the heights of all peaks (F,) best, the best first.

    Blocks of JPEG of 8 pixels that were resampled by s leave peaks at multiples of 1 / 8s, of which
    the eighth is that of resampling itself. None where the highest peak alone says as much.
    """
    tried, combs = _combs()
    explained = combs @ (heights - EXPECTED)
    if explained.max() <= heights.max() + SURE:
        return ()
    found: list[float] = []
    for index in np.argsort(-explained):
        if explained[index] < explained.max() - TIED or len(found) == NAMED:
            break
        if all(abs(tried[index] / other - 1) > SAME for other in found):
            found.append(float(tried[index]))
    return tuple(found)


@cache
def _combs() -> tuple[Floats, Floats]:
    """Factors (K,), and at which frequencies each leaves peaks, 0 or 1, (K, F)."""
    tried = np.arange(LOW, HIGHEST, STEP)
    tried = tried[np.abs(tried - 1) > UNCHANGED]
    peaks = np.array([1, 2, 3, 4, 5, 6, 7, 8, 16]) / 8 / tried[:, None]
    peaks = np.abs(peaks - np.rint(peaks))
    near = np.abs(peaks[:, :, None] - FREQUENCIES) <= 0.5 / LENGTH
    return tried, near.any(axis=1).astype(np.float64)


def _told(heights: Floats, frequency: float) -> str:
    """By what the patches were resampled, in words, from the peaks of a class (F,)."""
    found = explaining(heights)
    known = list(dict.fromkeys(rounded(one, 2) for one in found or factors(frequency)))
    said = " or ".join(filter(None, [", ".join(known[:-1]), known[-1]]))
    return f"about {said}" if found else said


def _text(audit: Audit, found: dict[str, Trace], differ: dict[str, Trace]) -> str:
    if not differ:
        return "no periodic traces in which classes differ" if found else ""
    said = []
    for name, one in differ.items():
        frequency = float(FREQUENCIES[one.at])
        high, low = one.means[one.high], one.means[one.low]
        has_it = one.means[:, one.at] > (high[one.at] + low[one.at]) / 2
        named = [audit.classes[label] for label in np.flatnonzero(has_it)]
        said.append(
            f"the {name} patches of {', '.join(named)} show periodic traces at "
            f"{rounded(frequency, 3)} cycles per pixel that others do not, as resampling by "
            f"{_told(high - low, frequency)} leaves them (p {rounded(one.p, 3)})"
        )
    return "; ".join(said)


def _by_class(audit: Audit, found: dict[str, Trace]) -> Table:
    """The strongest peak of each class, and what it says where enough of its patches show it."""
    rows: list[tuple[str | float | None, ...]] = []
    for name, one in found.items():
        labels = audit.parts[name].labels[one.rows]
        for label, class_name in enumerate(audit.classes):
            if np.isnan(one.means[label]).any():
                continue
            own = one.heights[labels == label]
            at = int(JUDGED[one.means[label][JUDGED].argmax()])
            frequency, shown = float(FREQUENCIES[at]), float((own[:, at] >= SEEN).mean())
            rows.append(
                (
                    *(class_name, name, len(own), frequency),
                    *(float(np.exp(np.median(own[:, at]))), shown),
                    _told(one.means[label], frequency) if shown >= GOOD_PART else None,
                )
            )
    return Table(
        name="resampling",
        title="Strongest periodic trace of each class, and what resampling leaves it",
        headings=(
            *("class", "split", "patches", "cycles per pixel", "times the power around: median"),
            *("patches that show it", f"resampled by, if {percent(GOOD_PART, 0)} % show it"),
        ),
        rows=tuple(sorted(rows, key=lambda row: (str(row[0]), str(row[1])))),
    )


def _patches(audit: Audit, differ: dict[str, Trace]) -> Table:
    """The patches with the highest peaks where classes differ."""
    rows = [row for name, one in differ.items() for row in _highest(audit, name, one)]
    rows.sort(key=lambda row: -row[-1])
    return Table(
        name="resampled",
        title=f"Patches with periodic traces ({min(len(rows), LISTED):,} of {len(rows):,})",
        headings=("patch", "class", "split", "cycles per pixel", "times the power around"),
        rows=tuple(rows[:LISTED]),
    )


def _highest(audit: Audit, name: str, one: Trace) -> Iterator[tuple[str, str, str, float, float]]:
    part, heights = audit.parts[name], one.heights[:, one.at]
    ids = part.split.ids
    for index in np.argsort(-heights):
        if heights[index] < SEEN:
            return
        row = int(one.rows[index])
        height = float(np.exp(heights[index]))
        class_name = audit.classes[part.labels[row]]
        yield ids[row], class_name, name, float(FREQUENCIES[one.at]), height

"""Whether classes went through different tone curves after they were digitized."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

from harness import Audit
from harness_bias.audit.drawn import drawn
from harness_bias.audit.enough import FEWEST
from harness_bias.audit.groups import least_p, shuffled, weights
from harness_bias.measure.levels import octaves

FEATURES = "bias-levels"
Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

ENDS = 3
"""Values at either end that are not compared: how much is cut off there depends on the tissue."""
FILLED = 1.0
"""Octaves of the four values around one, on average, from which that one is judged."""
FROM_CUBIC = np.array([1, -4, 6, -4, 1], np.float32) / 6
"""Weights for the difference between a value and the cubic through two on either side: what bends
in a histogram is tissue, what jumps is not."""
DEEPEST = slice(-9, -1)
"""Values of which the difference counts, of all in ascending order: a curve makes many. A mark of
one color makes one, which is left out."""
MOST = 2_000
"""Patches of a part that are compared; of more, this many are drawn."""
COMMON, EMPTY, GAPS = 5.0, 0.2, 3
"""Of all patches together: mean count of the four values around one from which that one is judged;
share of it below which it is a gap; and gaps in each channel that say that all patches went through
one curve. Where half of them did, there are none."""


@dataclass(frozen=True)
class Curves:
    """How the tone curves of the classes of one part differ."""

    reading: float
    """By how many octaves the ``DEEPEST`` values of a class occur more or less often than in the
    other classes, root mean square; of the class that differs most, in the channel that does least.
    """
    p: float
    """How often labels dealt at random differ as much."""
    least_p: float
    """The smallest p that so many patients or slides can show."""
    by_class: Floats
    """The same of each class, (C,); NaN of a class with too few patches."""
    is_common: bool
    """Whether all patches together have gaps: they went through one curve."""


def curves(audit: Audit) -> dict[str, Curves]:
    """By part, how the curves of its classes differ; parts with too few patches are left out.

    A curve applied to 8-bit values leaves some of them empty and makes others stand out, the same
    ones in every patch. Logs of counts are averaged class by class, so that what belongs to single
    patches counts little, and each value is compared with the curve through those around it. A tone
    curve does that in all three channels: the channel that differs least counts, so that a color
    cast does not.
    """
    found = {}
    for name, part in audit.parts.items():
        counts = np.bincount(part.labels, minlength=len(audit.classes))
        rows = np.flatnonzero((counts >= FEWEST)[part.labels])
        rows = drawn(rows, part.labels, MOST)
        if len(np.unique(part.labels[rows])) > 1:
            groups = None if part.groups is None else part.groups[rows]
            histograms = octaves(part.values[FEATURES][rows]).reshape(len(rows), -1)
            found[name] = _compared(histograms, part.labels[rows], groups, len(audit.classes))
    return found


def _compared(
    histograms: NDArray[np.float32], labels: Labels, groups: Labels | None, n_classes: int
) -> Curves:
    present, compact = np.unique(labels, return_inverse=True)
    weight = weights(compact, groups)
    seen = _differences(histograms, compact, weight)
    by_chance = np.array([_differences(histograms, *d).max() for d in shuffled(compact, groups)])
    by_class = np.full(n_classes, np.nan)
    by_class[present] = seen
    return Curves(
        reading=float(seen.max()),
        p=float((1 + (by_chance >= seen.max()).sum()) / (1 + len(by_chance))),
        least_p=least_p(compact, groups),
        by_class=by_class,
        is_common=_has_gaps(histograms),
    )


def _differences(histograms: NDArray[np.float32], labels: Labels, weight: Floats) -> Floats:
    """How much values of each class stand out otherwise than in the other classes, (C,)."""
    member = (np.eye(int(labels.max()) + 1)[:, labels] * weight).astype(np.float32)
    means = member @ histograms / member.sum(axis=1, keepdims=True)
    means = means.reshape(len(member), 3, 256)
    around = _around(means)
    stands_out = correlate1d(means, FROM_CUBIC, axis=2, mode="wrap")
    judged = _inner(around > FILLED)
    number = judged.sum(axis=0)
    others = (stands_out * judged).sum(axis=0) - stands_out * judged
    apart = stands_out - others / np.maximum(number - 1, 1)
    apart = np.where(judged & (number > 1), apart, 0)
    deepest = np.sort(np.square(apart), axis=2)[..., DEEPEST]
    return np.asarray(np.sqrt(deepest.mean(axis=2)).min(axis=1), np.float64)


def _has_gaps(histograms: NDArray[np.float32]) -> bool:
    """Whether each channel of all patches together has values that next to never occur."""
    mean = np.asarray((np.exp2(histograms) - 1).mean(axis=0).reshape(3, 256), np.float32)
    around = _around(mean)
    gaps = _inner(around > COMMON) & (mean < EMPTY * around)
    return bool((gaps.sum(axis=1) >= GAPS).all())


def _around(counts: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean of the two values on either side."""
    near = [np.roll(counts, by, axis=-1) for by in (-2, -1, 1, 2)]
    return np.asarray(np.mean(near, axis=0), np.float32)


def _inner(judged: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The same, but False at either end."""
    judged[..., :ENDS] = judged[..., -ENDS:] = False
    return judged

"""Whether there are enough patches for an all-clear, and how many it would take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness import Audit, Estimate

FEWEST = 8
"""Patches of each class, in each split, that an all-clear takes. Of classes of real patches that
were compressed or tinted differently, 5 of each were told to be sound in one audit of ten, 8 in
none of fifty."""
FEWEST_GROUPS = 12
"""Patients or slides, each with a patch or more, that tell two classes apart at a p of 0.005, and
some to spare."""
NAMED = 3
"""Classes that are named in a summary."""


@dataclass(frozen=True)
class Opinion:
    """What one measure says: the fault is there, or not, or there are too few patches to tell."""

    flag: bool | None
    needed: int = 0
    """Patches of each class and split that would tell, about; 0 unless there are too few."""


def told(is_there: bool, can_tell: bool) -> Opinion:
    """An opinion by a p value: of too few patients or slides, p cannot be small enough.

    With so few, none seen is no all-clear. Six of each of two classes suffice.
    """
    if is_there or can_tell:
        return Opinion(is_there)
    return Opinion(None, FEWEST_GROUPS)


@dataclass(frozen=True)
class Count:
    """Of how many patches of a class in a split a probe can judge how many."""

    class_name: str
    split: str
    judged: int
    n: int


@dataclass(frozen=True)
class Looked:
    """How many patches of each class, split by split, a probe could judge."""

    counts: tuple[Count, ...]
    fewest: int
    all_are: bool
    """Whether every patch can be judged, whatever it shows."""

    @property
    def lacking(self) -> tuple[Count, ...]:
        """Those with too few."""
        return tuple(one for one in self.counts if one.judged < self.fewest)

    def takes(self, needed: int) -> int:
        """About how many patches it takes, so that so many of each class can be judged."""
        if self.all_are:
            return needed
        shares = (one.judged / one.n for one in self.counts if one.judged)
        # A quarter more, as the share of those that can be judged differs from draw to draw.
        return math.ceil(1.25 * needed / min(shares, default=1.0))

    def estimates(self, needed: int = 0) -> list[Estimate]:
        """How many there are of the rarest class, and how many it takes."""
        least = min((one.judged for one in self.counts), default=0)
        takes = self.takes(max(self.fewest, needed))
        return [
            Estimate(name="patches judged of the rarest class in a split", value=least),
            Estimate(name="patches of each class and split that a verdict takes", value=takes),
        ]


def looked(
    audit: Audit,
    judged: NDArray[np.bool_] | None = None,
    fewest: int = FEWEST,
    both: bool = False,
) -> Looked:
    """Count patches: those that are ``judged``, bool (N,), in the order of ``Audit.labels``.

    With ``both``, a class that is in one split counts in the other, too, where it has no patches.
    """
    counts, start = [], 0
    present = np.unique(audit.labels)
    for name, part in audit.parts.items():
        n = len(part.labels)
        own = np.ones(n, bool) if judged is None else judged[start : start + n]
        start += n
        for label, class_name in enumerate(audit.classes):
            chosen = part.labels == label
            if chosen.any() or (both and label in present):
                counts.append(Count(class_name, name, int(own[chosen].sum()), int(chosen.sum())))
    return Looked(tuple(counts), fewest, judged is None)


def settled(opinions: Sequence[Opinion], seen: Looked) -> Opinion:
    """What opinions come to: a fault that one sees is there; all is well only if all say so of
    enough patches of every class."""
    if any(one.flag for one in opinions):
        return Opinion(True)
    needed = max((one.needed for one in opinions), default=0)
    if seen.lacking:
        return Opinion(None, max(needed, seen.fewest))
    if not opinions or any(one.flag is None for one in opinions):
        return Opinion(None, needed)
    return Opinion(False)


def reason(opinion: Opinion, seen: Looked, kind: str = "") -> str:
    """Why nothing was judged, and what it would take, to go on a summary; "" if it was judged.

    ``kind`` says what patches that can be judged have, such as "with color".
    """
    if opinion.flag is not None or not opinion.needed:
        return ""
    takes = f"{seen.takes(opinion.needed)} patches of each class in each split"
    if not seen.lacking:
        return f"; not judged: too few patches to tell, which takes about {takes}"
    if not seen.all_are:
        takes = f"about {takes}, {opinion.needed} of them {kind or 'that can be judged'}"
    named = ", ".join(
        " ".join(filter(None, [str(one.judged), kind, "of", one.class_name, "in", one.split]))
        for one in seen.lacking[:NAMED]
    )
    more = len(seen.lacking) - NAMED
    rest = f" and too few of {more} more" if more > 0 else ""
    return f"; not judged: that takes {takes}, and there are {named}{rest}"


def to_shrink(count: int, half: float, wanted: float) -> int:
    """Patches that make half an interval of ``count`` of them about as short as wanted.

    Half as many again, as what is measured moves when there are more.
    """
    return max(count + 1, FEWEST, math.ceil(1.5 * count * (half / wanted) ** 2))

"""Colors and markers of pictures, and which model has which.

The eight colors are those of Okabe and Ito (2008), of which orange, sky blue and yellow are made
darker or left out, and brown is added, until each has a contrast of 3:1 on white and all can be
distinguished by readers who do not see red, green or blue as others do. Each has a marker, for
a print in gray.

A model has the color that its name asks for, by a digest, whatever picture it is in. Where several
names of a board ask for the same one they take turns: the name with the lowest digest has it, and
the others have the next of their own order that is free, so that eight models have eight colors.
The ninth shares a color with another and has another marker. A model that joins a board thus moves
only those that it displaces: most models, not all, have one color on all boards. Which names count
is said once for all pictures of a run (``drawing.of_models``): all measured models of the board,
and after them those that only a picture has, such as published ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

COLORS = (
    *("#0072B2", "#C84E00", "#009E73", "#CC79A7"),
    *("#B98200", "#3A95D0", "#6B2D00", "#000000"),
)
MARKERS = ("o", "s", "^", "D", "v", "P", ">", "<")
"""As many."""
SALT = "16777584"
"""Before each name. With it, simple baselines and the reference that come with the harness have the
lowest digests of all its models and ask for three colors, so that theirs are the same on all boards
that measured them (``tests/reports/test_palette.py``)."""


class Style(NamedTuple):
    """How a model is drawn."""

    color: str
    marker: str


def styles(names: Iterable[str], more: Iterable[str] = ()) -> dict[str, Style]:
    """Of each name its style; those of ``names`` do not depend on ``more``."""
    places: dict[str, int] = {}
    taken: set[int] = set()
    for some in (names, more):
        for name in sorted({*some} - {*places}, key=_digest):
            asked = _order(name)
            turn = 0
            while not (free := [at for at in asked if at + turn * len(COLORS) not in taken]):
                turn += 1
            places[name] = free[0] + turn * len(COLORS)
            taken.add(places[name])
    return {name: _style(place) for name, place in places.items()}


def _style(place: int) -> Style:
    turn, color = divmod(place, len(COLORS))
    return Style(COLORS[color], MARKERS[(color + turn) % len(MARKERS)])


def _digest(name: str) -> bytes:
    return hashlib.sha256(f"{SALT} {name}".encode("utf-8", "surrogatepass")).digest()


def _order(name: str) -> list[int]:
    """All colors, in the order in which a name asks for them."""
    return sorted(range(len(COLORS)), key=lambda color: _digest(f"{color} {name}"))


def own(name: str, known: Mapping[str, Style]) -> Style:
    """The style of a name; of features, whose name has no head, that of a model that has one."""
    if name in known:
        return known[name]
    return next(style for other, style in known.items() if other.startswith(f"{name}+"))


def groups(names: Sequence[str], most: int = len(COLORS)) -> list[list[str]]:
    """Names in groups of about the same size, as few as can be with at most so many in each."""
    n = -(-len(names) // most)
    ends = [round(len(names) * at / n) for at in range(n + 1)] if n else [0]
    return [list(names[low:high]) for low, high in pairwise(ends)]

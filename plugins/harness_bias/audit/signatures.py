"""What each kind of fault does to fine traces, measured on real patches, and what looks like it.

``signatures.csv`` has by how much each trace changes, on average, when a fault is planted in real
patches; ``tuned_on.txt`` says in which. Both are written by ``tests/simulations/signatures.py``.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness_bias.measure.fine import TRACES

Floats = NDArray[np.float64]
TABLE = Path(__file__).with_name("signatures.csv")
TUNED_ON = Path(__file__).with_name("tuned_on.txt")
FAMILIES = ("compression", "sharpness", "noise", "tone")
"""``tone`` is there so that changes of color and tone, which other probes look for, are not taken
for the others."""


@dataclass(frozen=True)
class Signature:
    """What one fault at one dose does to fine traces."""

    family: str
    """One of ``FAMILIES``."""
    title: str
    """Such as "Gaussian blur of 0.7 px"."""
    change: Floats
    """Mean change of each of ``TRACES``."""


@cache
def signatures() -> tuple[Signature, ...]:
    """All of the table."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return tuple(
            Signature(row["family"], row["title"], np.array([float(row[t]) for t in TRACES]))
            for row in csv.DictReader(file)
        )


@cache
def _tuned_on() -> frozenset[str]:
    return frozenset(TUNED_ON.read_text(encoding="utf-8").split())


def tuned_on(ids: Sequence[str]) -> NDArray[np.bool_]:
    """Which of some patches the signatures and limits were set on, bool (N,)."""
    known = _tuned_on()
    return np.array([name in known for name in ids], bool)

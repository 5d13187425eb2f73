"""What each seed of the varied phantom has, to judge probes on what they were not tuned on."""

from __future__ import annotations

from scipy.stats import qmc

from harness_phantom import CALIBRATION
from harness_phantom.canvas import SIZE
from harness_phantom.scanner import Look

WHITES = (220.0, 250.0)
"""Bare glass in patches of Kather 2016 is 247 to 250; the phantom that probes were tuned with has
228."""
STAINED = (0.7, 1.3)
"""Strength of stains, and with it how wide the histograms of tissue are."""
SIZES = (96, 128, 160, 224)
COUNTS = (12, 40)
"""Patches a class in either part; of large ones fewer, no more pixels than the phantom has."""


def drawn(seed: int) -> tuple[Look, tuple[int, int]]:
    """How a seed stains and scans, and its training and test patches a class.

    Points of Halton's sequence, so that a few seeds cover the ranges evenly.
    """
    sequence = qmc.Halton(5, scramble=False).fast_forward(seed + 1)
    white, size, stained, *counts = sequence.random()[0].tolist()
    side = SIZES[int(size * len(SIZES))]
    least, most = COUNTS
    most = min(most, CALIBRATION[0] * SIZE**2 // side**2)
    train, test = (least + int(share * (most - least + 1)) for share in counts)
    look = Look(white=between(WHITES, 1 - white), stained=between(STAINED, stained), size=side)
    return look, (train, test)


def between(ends: tuple[float, float], share: float) -> float:
    """What lies this share of the way between two ends."""
    return ends[0] + share * (ends[1] - ends[0])

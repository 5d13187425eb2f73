"""How strong a fault is, in three grades."""

from __future__ import annotations

from collections.abc import Iterable

from harness_bias.audit.predictability import Score

NONE, PRESENT, STRONG = "none seen", "present", "strong enough to carry a classifier"
CARRIES = 0.2
"""How far from chance (0) to always right (1) the lower end of the interval must lie for a fault
alone to carry a classifier."""


def grade(flag: bool | None, scores: Iterable[Score | None]) -> str:
    """The grade of a fault, by how well it tells the class; "" where it was not judged."""
    if flag is None:
        return ""
    if not flag:
        return NONE
    carried = (
        (score.low - score.chance) / (1 - score.chance) for score in scores if score is not None
    )
    return STRONG if max(carried, default=0.0) >= CARRIES else PRESENT

"""A number with its interval."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """One number that a probe measured. ``low`` and ``high`` bound its 95 % interval."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None

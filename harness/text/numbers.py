"""Numbers as text: rounded for people, but never so that they say something else.

What is not zero never reads as zero, what is not all never as 100 %, and values of a column that
differ are shown as different.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

MOST_DECIMALS = 6
SHORT = 2
"""Significant digits up to which numbers are shown as they are."""
TOLD_APART = 6
"""Significant digits in which values differ that are shown as different."""


def rounded(
    value: float, decimals: int, limits: Sequence[float] = (0.0,), signed: bool = False
) -> str:
    """A number with so many decimals; more, where it would read as a limit that it is not."""
    if not math.isfinite(value):
        return "not defined" if math.isnan(value) else f"{value:+}".replace("+", "")
    sign = "+" if signed else ""
    for places in range(decimals, MOST_DECIMALS + 1):
        text = f"{value:{sign}.{places}f}"
        if not any(float(text) == limit and abs(value - limit) > 1e-9 for limit in limits):
            break
    else:
        text = f"{value:{sign}.{decimals}f}"
    return text.replace("-", sign) if float(text) == 0 else text


def percent(share: float, decimals: int = 2) -> str:
    """A share of 1 in percent, without the sign. Only all is 100.00, and only none 0.00."""
    return rounded(100 * share, decimals, (0.0, 100.0))


def points(difference: float, decimals: int = 2) -> str:
    """A difference of shares in percentage points, with its sign."""
    return rounded(100 * difference, decimals, signed=True)


def p_value(p: float) -> str:
    """A p value with three decimals, never 0.000, and never 0.050 unless it is."""
    return "< 0.001" if p < 0.001 else rounded(p, 3, (0.05, 1.0))


def equals_p(p: float) -> str:
    """The same in a sentence: "p = 0.012" or "p < 0.001"."""
    return f"p {p_value(p)}" if p < 0.001 else f"p = {p_value(p)}"


def column(values: Sequence[float], chosen: bool = False) -> list[str]:
    """Numbers of a column: whole and short ones as they are, others with equally many decimals.

    Values that differ in their first six digits are shown as different. Those that somebody has
    chosen, such as levels, are shown as they are.
    """
    if chosen:
        return [given(value) for value in values]
    finite = [float(value) for value in values if math.isfinite(value)]
    if all(value.is_integer() and abs(value) < 1e15 for value in finite):
        texts = [f"{int(value):,}" for value in finite]
    elif all(float(f"{value:.{SHORT}g}") == value for value in finite):
        texts = [given(value) for value in finite]
    else:
        texts = _measured(finite)
    shown = iter(texts)
    return [next(shown) if math.isfinite(value) else rounded(value, 0) for value in values]


def _measured(values: Sequence[float]) -> list[str]:
    different = len({f"{value:.{TOLD_APART}g}" for value in values})
    fewest = 3 if max(map(abs, values)) < 10 else 1
    for decimals in range(fewest, MOST_DECIMALS + 1):
        texts = [_one(value, decimals) for value in values]
        if len(set(texts)) >= different:
            return texts
    return [f"{value + 0.0:.{TOLD_APART}g}" for value in values]


def _one(value: float, decimals: int) -> str:
    text = f"{value + 0.0:.{decimals}f}"
    return f"{value:.2g}" if value and float(text) == 0 else text


def given(value: float) -> str:
    """A number that somebody chose, such as a level, as it was given."""
    return f"{value + 0.0:.12g}"

"""Settings of models, declared with their default, limits and meaning."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any

from harness.errors import HarnessError


@dataclass(frozen=True)
class Option:
    """A setting of a model, in the place of its mere default; or the level of a perturbation.

    ``Option(100, ge=1, help="passes over the training patches")`` is a whole number, at least 1:
    its type is that of the default. A number is finite. A text is not empty, unless the default is.
    Values of other types, out of the limits or none of the ``choices`` are refused before a run.
    """

    default: int | float | str | bool
    _: KW_ONLY
    help: str = ""
    """What it is, in a few words, for ``harness list --model``."""
    ge: float | None = None
    """Least value."""
    gt: float | None = None
    """It must be above this."""
    le: float | None = None
    """Greatest value."""
    lt: float | None = None
    """It must be below this."""
    choices: tuple[str, ...] = ()
    """Of a text: what it may be."""

    @property
    def allowed(self) -> str:
        """What it must be, in words: "a whole number, at least 1"."""
        if self.choices:
            return " or ".join(self.choices)
        return in_words(type(self.default), ge=self.ge, gt=self.gt, le=self.le, lt=self.lt)

    def allows(self, value: Any) -> bool:
        """Whether a value has the type of the default and keeps the limits."""
        kind = type(self.default)
        if kind is bool or type(value) is bool:
            return type(value) is kind
        if kind is str:
            return isinstance(value, str) and (
                value in self.choices if self.choices else bool(value or not self.default)
            )
        if not isinstance(value, int if kind is int else int | float) or not math.isfinite(value):
            return False
        return (
            (self.ge is None or value >= self.ge)
            and (self.gt is None or value > self.gt)
            and (self.le is None or value <= self.le)
            and (self.lt is None or value < self.lt)
        )


def check(options: Mapping[str, Option], values: Mapping[str, Any]) -> None:
    """Raise HarnessError for the first value that its option does not allow.

    Values without an option are not looked at.
    """
    for name, value in values.items():
        option = options.get(name)
        if option is not None and not option.allows(value):
            raise HarnessError(f"setting {name}={value}: must be {option.allowed}")


def defaults(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults of settings, of which some may be options."""
    return {n: v.default if isinstance(v, Option) else v for n, v in settings.items()}


def in_words(
    kind: Any,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
) -> str:
    """What a value of a type and within limits is called."""
    if kind not in (int, float):
        return {bool: "true or false", str: "a text"}.get(kind, "another value")
    if ge is not None and ge == le:
        return f"{ge:g}"
    name = "a whole number" if kind is int else "a number"
    if ge is not None and le is not None:
        return f"{name} from {ge:g} to {le:g}"
    limits = [
        f"{said} {limit:g}"
        for said, limit in (("at least", ge), ("above", gt), ("at most", le), ("below", lt))
        if limit is not None
    ]
    return f"{name}, {' and '.join(limits)}" if limits else name

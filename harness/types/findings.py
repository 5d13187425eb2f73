"""What a probe found: numbers with intervals, and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from harness.statistics.estimates import Estimate


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table that a probe made. Cells are text, numbers or None."""

    name: str
    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str | float | None, ...], ...]


N = TypeVar("N", Estimate, Table)


def _named(name: str, items: Sequence[N]) -> N:
    for item in items:
        if item.name == name:
            return item
    raise KeyError(f"the probe made none named {name!r}")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a probe found. Everything in it can be written as JSON."""

    summary: str
    """One line for a person."""
    estimates: tuple[Estimate, ...] = ()
    tables: tuple[Table, ...] = ()
    reading: float | None = None
    """The number that decides whether the flag is raised."""
    flag: bool | None = None
    """Whether the fault that the probe looks for is there; None when it does not judge."""
    grade: str = ""
    """How strong it is: "none seen", "present" or "strong enough to carry a classifier"; "" where a
    probe does not say, or does not judge."""
    blind: str = ""
    """What the probe cannot see, in words that follow "it cannot see"."""

    def estimate(self, name: str) -> Estimate:
        """The figure of this name. Raises KeyError."""
        return _named(name, self.estimates)

    def table(self, name: str) -> Table:
        """The table of this name. Raises KeyError."""
        return _named(name, self.tables)


def table_from(content: Mapping[str, Any]) -> Table:
    """A Table from the JSON that it was written as."""
    headings, rows = tuple(content["headings"]), tuple(map(tuple, content["rows"]))
    return Table(**{**content, "headings": headings, "rows": rows})


def finding_from(content: Mapping[str, Any]) -> Finding:
    """A Finding from the JSON that it was written as."""
    estimates = tuple(Estimate(**estimate) for estimate in content["estimates"])
    tables = tuple(map(table_from, content["tables"]))
    return Finding(**{**content, "estimates": estimates, "tables": tables})

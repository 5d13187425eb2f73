"""What several commands print: tables and paragraphs that fit the terminal, JSON, failures."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.store.failures import Failure
    from harness.types.findings import Table

log = logging.getLogger(__name__)


def print_json(content: Any) -> None:
    """Print JSON that every terminal and pipe can take: escapes where its encoding is not UTF."""
    encoding = str(getattr(sys.stdout, "encoding", None) or "utf-8").lower()
    escaped = not encoding.startswith("utf")
    print(json.dumps(content, indent=1, ensure_ascii=escaped, allow_nan=False))


def print_text(text: str) -> None:
    """Print an empty line, then a paragraph that fits the terminal."""
    from harness.system import terminal

    print(f"\n{terminal.paragraph(text, terminal.width())}")


def print_parts(parts: Sequence[str], indent: str = "  ") -> None:
    """Print paragraphs and texts of several lines, with empty lines between.

    Lines that are too long go on with ``indent``.
    """
    from harness.system import terminal

    columns = terminal.width()
    print("\n\n".join(terminal.wrapped(part, columns, indent) for part in parts))


def print_table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    details: Sequence[str] = (),
    order: Sequence[str] = (),
) -> None:
    """Print a table that fits the terminal, and which columns there was no room for.

    ``details`` are left out before cells are wrapped, and those in ``order`` where that is not
    enough.
    """
    from harness.system import terminal

    columns = terminal.width()
    fitted = terminal.fit(headings, rows, columns, details=details, order=order)
    print(fitted.text)
    print_left_out(fitted.left_out)


def print_left_out(names: Sequence[str]) -> None:
    """Print which columns there was no room for, and how to see them."""
    if names:
        print_text(_left_out(names))


def _left_out(names: Sequence[str]) -> str:
    from harness.system import terminal

    return (
        f"Columns not shown, as the terminal has {terminal.width()}: {'; '.join(names)}. "
        "Piped to `less -S`, all are printed."
    )


def table_text(table: Table) -> str:
    """The text of a table that fits the terminal."""
    from harness.reports import report
    from harness.system import terminal

    columns = terminal.width()
    # Which patches only one model gets right is also listed by class.
    counts = [name for name in table.headings if name.startswith(("both ", "only "))]
    order = sorted(counts, key=lambda name: not name.startswith("both "))
    fitted = terminal.fit(*report.cells(table), columns, order=order)
    left_out = terminal.paragraph(_left_out(fitted.left_out), columns)
    return fitted.text + (f"\n\n{left_out}" if fitted.left_out else "")


def say_written(pages: Sequence[Sequence[Path]]) -> None:
    """Say which files were written: the first of each group in full, others by what differs."""
    for paths in pages:
        for path in paths:
            log.debug(f"wrote {path}")
        named = [path for path in paths if path.suffix == ".md"] or list(paths[:1])
        first, *others = [str(named[0]), *(path.name for path in named[1:])]
        kinds = sorted({path.suffix for path in paths} - {path.suffix for path in named})
        text = ", ".join([first, *others])
        log.info(f"Wrote {text}" + (f"; also {', '.join(kinds)}" if kinds else ""))


def print_failures(failures: Mapping[str, Failure]) -> None:
    """A line for each reason; what failed for the same one is counted."""
    labels: dict[str, list[str]] = {}
    for label, failure in failures.items():
        labels.setdefault(failure.why, []).append(label)
    for first, *others in labels.values():
        more = f" (and {len(others)} more for the same reason)" if others else ""
        print(f"harness: failed: {first}{more}: {failures[first]}", file=sys.stderr)

"""What several commands need: plugins, folders, exit codes, failures."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.failures import Failure
    from harness.probes import Table
    from harness.registry import Registry
    from harness.session import Session
    from harness.store import Store

OK, FAILED, USAGE, BROKEN_PLUGIN = 0, 1, 2, 3
log = logging.getLogger(__name__)


def switched_off(options: argparse.Namespace) -> list[str]:
    """Plugins to switch off."""
    return [*_listed("HARNESS_WITHOUT"), *options.without]


def plugin_files(options: argparse.Namespace) -> list[Path]:
    """Files to load as plugins."""
    return [*map(Path, _listed("HARNESS_PLUGINS")), *options.plugin]


def _listed(variable: str) -> list[str]:
    """What a variable of the environment lists, with commas."""
    return [text for part in os.environ.get(variable, "").split(",") if (text := part.strip())]


def session_of(options: argparse.Namespace) -> Session:
    """The session that a command is about."""
    from harness import stored
    from harness.session import Session

    stored.plugin_files[:] = options.plugin
    return Session(
        getattr(options, "store", None),
        getattr(options, "data", None) or "data",
        plugins=plugin_files(options),
        without=switched_off(options),
        time_limit=options.time_limit,
        jobs=getattr(options, "jobs", None) or 1,
        executor=getattr(options, "executor", "local"),
        trace_hooks=options.trace_hooks,
    )


def registry_of(options: argparse.Namespace) -> Registry:
    """What the plugins offer; broken ones are named."""
    return session_of(options).registry


def data_folder(options: argparse.Namespace) -> Path:
    """The data folder; one that the user named must be there."""
    if options.data is None:
        return Path("data")
    folder = Path(options.data)
    if not folder.is_dir():
        raise HarnessError(
            f"--data {folder} (or $HARNESS_DATA): no such folder; name the one with the datasets"
        )
    return folder


def leaderboards_folder(options: argparse.Namespace) -> Path:
    """The folder for tables; said to be unusable before, not after, the work for them is done."""
    folder: Path = options.leaderboards
    path = folder.absolute()
    there = next(known for known in (path, *path.parents) if known.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise HarnessError(
            f"--leaderboards {folder}: {there} is no folder that can be written to; name another"
        )
    return folder


def exit_code(options: argparse.Namespace, registry: Registry, code: int = OK) -> int:
    """The exit code of a command that came to an end, broken plugins counted if asked to."""
    return BROKEN_PLUGIN if options.strict and registry.broken and not code else code


def existing_store(options: argparse.Namespace) -> Store:
    """A store that must be there already."""
    from harness.store import Store

    return Store.existing(options.store)


def keep_details(error: BaseException) -> str:
    """Keep the traceback of an error in a file; returns " (details in FILE)" for a message."""
    import traceback
    from tempfile import NamedTemporaryFile

    details = "".join(traceback.format_exception(error))
    try:
        with NamedTemporaryFile(
            "w", prefix="harness-", suffix=".txt", delete=False, encoding="utf-8", errors="replace"
        ) as file:
            file.write(details)
    except OSError:  # there is no folder for temporary files
        print(details, file=sys.stderr)
        return ""
    return f" (details in {file.name})"


def print_json(content: Any) -> None:
    """Print JSON that every terminal and pipe can take: escapes where its encoding is not UTF."""
    encoding = str(getattr(sys.stdout, "encoding", None) or "utf-8").lower()
    escaped = not encoding.startswith("utf")
    print(json.dumps(content, indent=1, ensure_ascii=escaped, allow_nan=False))


def print_text(text: str) -> None:
    """Print an empty line, then a paragraph that fits the terminal."""
    from harness import terminal

    print(f"\n{terminal.paragraph(text, terminal.width())}")


def print_parts(parts: Sequence[str], indent: str = "  ") -> None:
    """Print paragraphs and texts of several lines, with empty lines between.

    Lines that are too long go on with ``indent``.
    """
    from harness import terminal

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
    from harness import terminal

    columns = terminal.width()
    fitted = terminal.fit(headings, rows, columns, details=details, order=order)
    print(fitted.text)
    print_left_out(fitted.left_out)


def print_left_out(names: Sequence[str]) -> None:
    """Print which columns there was no room for, and how to see them."""
    if names:
        print_text(_left_out(names))


def _left_out(names: Sequence[str]) -> str:
    from harness import terminal

    return (
        f"Columns not shown, as the terminal has {terminal.width()}: {'; '.join(names)}. "
        "Piped to `less -S`, all are printed."
    )


def table_text(table: Table) -> str:
    """The text of a table that fits the terminal."""
    from harness import report, terminal

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

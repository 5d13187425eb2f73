"""Writing reports of a leaderboard. One of a plugin that fails costs only itself."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

from harness.analysis.leaderboard import Board
from harness.data.handover import frozen
from harness.hooks.guard import contained
from harness.hooks.limit import limited
from harness.hooks.registry import Registry
from harness.store.failures import Collected
from harness.types.reports import Report


def choose(registry: Registry, names: Sequence[str]) -> list[Report]:
    """The named reports, or all that are not only on request. Raises HarnessError."""
    known = registry.of(Report)
    if names:
        return [known.find(name) for name in dict.fromkeys(names)]
    return [report for report in known.values() if not report.on_request]


def write(
    board: Board,
    folder: Path,
    reports: Sequence[Report],
    registry: Registry,
    problems: Collected,
    minutes: float | None = None,
) -> list[Path]:
    """Write reports into a folder; returns the paths of all files.

    One of a plugin that is not built in gets a copy of the rows. If it fails, or takes longer than
    so many ``minutes``, that is added to ``problems``. Raises OSError where the harness's own
    cannot be written.
    """
    written: list[Path] = []
    folder.mkdir(parents=True, exist_ok=True)
    plugin_of = registry.of(Report).plugin
    for report in reports:
        if plugin_of[report.name].name not in registry.guests:
            written += report.write(board, folder)
            continue
        try:
            with limited(minutes), contained():
                written += checked(report, copied(board), folder)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            problems.add(f"report {report.name} of {board.dataset['name']}", error)
    return written


def copied(board: Board) -> Board:
    """A board whose rows are a plugin's own to change."""
    entries = tuple(replace(entry, right=frozen(entry.right.copy())) for entry in board.entries)
    return replace(board, rows=deepcopy(board.rows), entries=entries)


def checked(report: Report, board: Board, folder: Path) -> list[Path]:
    """Write a report. Raises TypeError or ValueError if it does not name the files it wrote."""
    found = report.write(board, folder)
    if isinstance(found, str | Path) or not hasattr(found, "__iter__"):
        raise TypeError(f"write returned {found!r} where a list of paths is expected")
    paths = [Path(path) for path in found]
    for path in paths:
        if not path.is_file():
            raise ValueError(f"write returned {path}, where there is no file")
        if not path.resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"write returned {path}, which is not in the folder {folder}")
    return paths

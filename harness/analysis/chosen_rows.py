"""Which rows of a board the terminal and LaTeX have. Other pages always have all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from harness.errors import HarnessError
from harness.text.names import suggest

if TYPE_CHECKING:
    from harness.analysis.leaderboard import Board


@dataclass(frozen=True)
class Rows:
    """A choice of rows.

    ``patterns`` choose rows by the names of models, with ``*`` and ``?``. Without any, these are
    all but published results other than the reference and those of models that are measured here.
    """

    patterns: tuple[str, ...] = ()
    published: bool = True
    failed: bool = True

    def of(self, board: Board) -> list[int]:
        """The numbers of the rows that are chosen."""
        reference = board.reference.name if board.reference else None
        own = {row["model"] for row in board.rows if row["result"] != "published"} | {reference}
        found = []
        for number, row in enumerate(board.rows):
            name, result = row["model"], row["result"]
            if (result == "published" and not self.published) or (
                result == "failed" and not self.failed
            ):
                continue
            if self.patterns:
                shown = any(fnmatchcase(name, pattern) for pattern in self.patterns)
            else:
                shown = result != "published" or name in own
            if shown:
                found.append(number)
        return found

    def check(self, boards: Sequence[Board]) -> None:
        """Raise HarnessError for a pattern that no row has."""
        names = {row["model"]: None for board in boards for row in board.rows}
        for pattern in self.patterns:
            if boards and not any(fnmatchcase(name, pattern) for name in names):
                raise HarnessError(
                    f"--model {pattern}: no row is of such a model; {suggest(pattern, names)}"
                )

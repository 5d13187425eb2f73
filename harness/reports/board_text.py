"""A leaderboard on the terminal: some rows, as many columns as fit, and what belongs to them.

Long texts of single rows stand below the table, once for all rows that have the same.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.analysis.leaderboard import Board
from harness.analysis.rows import Row
from harness.reports import formats
from harness.store import stored
from harness.system import terminal
from harness.text.markup import visible

BELOW = ("notes", "reproduced")
"""Columns whose texts, or what follows the first word of them, stand below the table."""
EARLY = ("initial_weights", "selected_on", "balanced_accuracy", "difference_to_reference")
"""Columns that are left out first where they do not fit; then those of probes, and others."""
LATE = ("accuracy_sd", "published_accuracy")
"""Those that are left out after others."""
NAMED = 3
"""Columns that there was no room for that are named as ``--columns`` takes them."""
FIRST = ("model", "rank", "accuracy")
"""Columns that stay as long as any."""


def paragraphs(
    board: Board,
    rows: Sequence[int],
    names: Sequence[str] | None = None,
    columns: int | None = None,
    *,
    page: Path,
    store: Path = Path("runs"),
    marked: Sequence[str] = (),
) -> list[str]:
    """The table and what there is to say about it, to be printed with empty lines between.

    ``rows`` are numbers of rows of the board, and ``names`` the columns, as for ``formats.table``.
    ``columns`` is the width of the terminal. ``page`` and ``store`` are named where the rest can be
    seen. Rows of ``marked`` models have a sign, unless all have.
    """
    chosen, cells = formats.filled(board, names)
    shown = [board.rows[number] for number in rows]
    of_model = [_model(row) for row in shown]
    run_here = [row["result"] != "published" for row in shown]
    own = [here and row["model"] in marked for here, row in zip(run_here, shown, strict=True)]
    signed = any(own) and own != run_here
    if signed:
        of_model = [("> " if one else "  ") + m for one, m in zip(own, of_model, strict=True)]
    table: dict[str, tuple[str, list[str]]] = {}
    notes: dict[str, list[int]] = {}
    for at, column in enumerate(chosen):
        texts = [cells[number][at] for number in rows]
        if column.name in BELOW:
            for number, (row, text) in enumerate(zip(shown, texts, strict=True)):
                short = str(row["reproduced"] or "") if column.name == "reproduced" else ""
                if text != short:
                    notes.setdefault(text, []).append(number)
                texts[number] = short
        if column.name == "model":
            texts = of_model
        if column.name != "result":
            table[column.name] = column.heading, texts
    headings = [heading for heading, _ in table.values()]
    fitted = terminal.fit(
        headings,
        list(zip(*(texts for _, texts in table.values()), strict=True)),
        columns,
        order=[table[name][0] for name in _order(list(table))],
    )
    found = [fitted.text]
    if notes:
        found.append("\n".join(_notes(notes, shown, columns)))
    if signed:
        found.append("> marks the models that this run was asked for.")
    found += _not_shown(board, rows, store)
    if fitted.left_out:
        left = [name for name in table if table[name][0] in fitted.left_out]
        example = shlex.quote(",".join(left[:NAMED]))
        them = "them" if len(left) <= NAMED else f"the first {NAMED}"
        found.append(
            f"Columns not shown, as the terminal has {columns}: {'; '.join(fitted.left_out)}. "
            f"`--columns {example}` prints {them}; piped to `less -S`, all are printed."
        )
    about = formats.about(board, brief=True)
    if page.is_file():
        about.append(f"What the columns mean, and where the data are from: {page}")
    return [found[0], *(terminal.wrapped(text, columns) for text in [*found[1:], *about])]


def _model(row: Row) -> str:
    """The name of a model, and what the row is if it was not measured."""
    name = str(row["model"])
    return name if row["result"] == "measured" else f"{name} ({row['result']})"


def _order(names: Sequence[str]) -> list[str]:
    """The columns of a table from the one that is left out first on."""
    others = [name for name in reversed(names) if name not in (*EARLY, *LATE, *FIRST)]
    ordered = (*EARLY, *others, *LATE, *reversed(FIRST))
    return [name for name in ordered if name in names]


def _notes(notes: dict[str, list[int]], rows: Sequence[Row], columns: int | None) -> Iterator[str]:
    """A line for each set of rows that have the same texts."""
    texts: dict[tuple[int, ...], list[str]] = {}
    for text, numbers in notes.items():
        texts.setdefault(tuple(numbers), []).append(visible(text))
    measured = tuple(n for n, row in enumerate(rows) if row["result"] == "measured")
    for having, same in texts.items():
        names = ", ".join(dict.fromkeys(_model(rows[number]) for number in having))
        if having == measured and len(measured) > 2:
            names = "all measured models"
        yield terminal.paragraph(f"{names}: {'; '.join(same)}", columns, "  ")


def _not_shown(board: Board, rows: Sequence[int], store: Path) -> list[str]:
    """How many rows of the page are not printed, and how to see them."""
    counts: dict[str, int] = {}
    for number, row in enumerate(board.rows):
        if number not in rows:
            counts[row["result"]] = counts.get(row["result"], 0) + 1
    if not counts:
        return []
    said = " and ".join(f"{count} {result}" for result, count in counts.items())
    command = f"harness leaderboard{stored.where(store)} --model '*'"
    return [f"Rows not shown: {said}. `{command}` prints them."]

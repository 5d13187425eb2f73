"""Tables and paragraphs that fit the terminal.

Cells with long texts are wrapped between words. Where that is not enough, the least important
columns are left out, and the caller names them. Nothing is wrapped or left out where the output
goes to a file or a pipe: programs, ``grep`` and ``less -S`` take lines of any length.
"""

from __future__ import annotations

import math
import re
import shutil
import textwrap
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from harness.text.markup import visible

GAP = "  "
"""Between two columns."""
SHORT = 24
"""Characters of a cell that is never wrapped: a number with its interval, a name."""
LINES = 5
"""Into which the longest cell of a column is wrapped at most."""
HELD = "\ue000"
"""Stands for a space at which a line does not end."""
NARROWEST = 40
"""Columns of a terminal that are made use of in any case."""
PARAGRAPH = 100
"""Columns of a paragraph, however wide the terminal."""


def width() -> int | None:
    """Columns of the terminal, or ``$COLUMNS``; None where the output goes elsewhere."""
    columns = shutil.get_terminal_size((0, 0)).columns
    return max(columns, NARROWEST) if columns else None


@dataclass(frozen=True)
class Fitted:
    """A table as text, and the headings of the columns for which there was no room."""

    text: str
    left_out: tuple[str, ...] = ()


def fit(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    columns: int | None,
    *,
    details: Sequence[str] = (),
    order: Sequence[str] = (),
) -> Fitted:
    """A table of at most so many ``columns``, or of any width.

    Columns that are empty in every row are left out. ``details`` are left out before the cells of
    others are wrapped. Where wrapping is not enough, those in ``order`` are left out first, then
    the last ones; the first column stays. The text is wider than ``columns`` only where the words
    of the first column are.
    """
    headings = [visible(heading) for heading in headings]
    rows = [[visible(cell) for cell in row] for row in rows]
    kept = [
        number
        for number in range(len(headings))
        if number == 0 or not rows or any(row[number] for row in rows)
    ]
    cells = {number: [row[number] for row in rows] for number in kept}
    least = {number: _least(headings[number], cells[number]) for number in kept}
    most = {number: max(map(_columns, [headings[number], *cells[number]])) for number in kept}
    left_out: list[int] = []

    def leave_out(number: int) -> None:
        kept.remove(number)
        left_out.append(number)

    def first_of(names: Sequence[str]) -> list[int]:
        return [number for name in names for number in kept[1:] if headings[number] == name]

    if columns is not None:
        unwrapped = {n: max(least[n], *map(_columns, cells[n]), 0) for n in kept}
        while _total([unwrapped[n] for n in kept]) > columns and (spare := first_of(details)):
            leave_out(spare[0])
        while _total([least[n] for n in kept]) > columns and kept[1:]:
            leave_out([*first_of(order), kept[-1]][0])
        if _total([least[n] for n in kept]) > columns:
            least[0] = max(_longest_word(text) for text in [headings[0], *cells[0]])
    widths = _widths({n: least[n] for n in kept}, {n: most[n] for n in kept}, columns)
    lines = _lines([headings[number] for number in kept], widths, bottom=True)
    lines.append(GAP.join("-" * one for one in widths))
    for row in rows:
        lines += _lines([row[number] for number in kept], widths)
    names = tuple(headings[number] for number in sorted(left_out))
    return Fitted("\n".join(lines), names)


def _least(heading: str, cells: Sequence[str]) -> int:
    """The narrowest that a column can be without breaking words or making columns of words."""
    found = _longest_word(heading)
    for cell in cells:
        wide = _columns(cell)
        if wide > SHORT:
            wide = min(wide, max(_longest_word(cell), SHORT, math.ceil(1.1 * wide / LINES)))
        found = max(found, wide)
    return found


def _longest_word(text: str) -> int:
    return max(map(_columns, text.split()), default=0)


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _widths(least: dict[int, int], most: dict[int, int], columns: int | None) -> list[int]:
    """Widths of columns: as wide as their cells, if there is room."""
    if columns is None:
        return list(most.values())
    widths = dict(least)
    room = columns - _total(list(widths.values()))
    while room > 0 and (narrow := [n for n in widths if widths[n] < most[n]]):
        for number in narrow[:room]:
            widths[number] += 1
        room -= len(narrow)
    return list(widths.values())


def _lines(cells: Sequence[str], widths: Sequence[int], bottom: bool = False) -> list[str]:
    """A row, of as many lines as its longest cell needs."""
    wrapped = [
        # A cell that fits is left as it is, with all its spaces.
        [cell] if _columns(cell) <= wide else _wrap(cell, wide)
        for cell, wide in zip(cells, widths, strict=True)
    ]
    height = max(map(len, wrapped), default=1)
    padded = [
        [""] * (height - len(parts)) + parts if bottom else parts + [""] * (height - len(parts))
        for parts in wrapped
    ]
    return [
        GAP.join(
            part + " " * (wide - _columns(part)) for part, wide in zip(line, widths, strict=True)
        ).rstrip()
        for line in zip(*padded, strict=True)
    ]


def _wrap(text: str, columns: int) -> list[str]:
    return textwrap.wrap(text, columns, break_long_words=False, break_on_hyphens=False) or [""]


def _columns(text: str) -> int:
    """Columns of a terminal that a text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0
        if unicodedata.combining(character)
        else 2
        if unicodedata.east_asian_width(character) in "WF"
        else 1
        for character in text
    )


def paragraph(text: str, columns: int | None, indent: str = "") -> str:
    """A text wrapped between words, though not within code in backticks that fits in a line.

    Lines after the first begin with ``indent``.
    """
    if columns is None:
        return text
    most = min(columns, PARAGRAPH)

    def held(code: re.Match[str]) -> str:
        return code[0].replace(" ", HELD) if len(code[0]) <= most - len(indent) else code[0]

    return textwrap.fill(
        re.sub(r"`[^`\n]+`", held, text),
        most,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    ).replace(HELD, " ")


def wrapped(text: str, columns: int | None, indent: str = "  ") -> str:
    """A paragraph, or lines each of which is wrapped where it is too long."""
    if columns is None or "\n" not in text:
        return paragraph(text, columns)
    return "\n".join(
        line if _columns(line) <= columns else paragraph(line, columns, indent)
        for line in text.split("\n")
    )

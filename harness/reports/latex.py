"""The leaderboard as a table of a paper."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.analysis.leaderboard import Board
from harness.analysis.rows import Row
from harness.reports import columns
from harness.text import markup
from harness.text.markup import visible

LEFT_OUT = ("published_accuracy", "reproduced", "selected_on", "initial_weights", "notes")
"""Columns of prose, and what without it would seem comparable: not there unless they are named."""
NUMBER = re.compile(r"([+-]?[\d,]+(?:\.(\d+))?)(?: \((.*)\))?")
"""A number, its decimals, and what stands in parentheses behind it."""
MINUS = re.compile(r"(?<![\w.])-(?=\d)")
SAID = re.compile(r" \(95 % interval.*\)")
"""What the caption says of a column, and its heading need not."""
RANDOM = "started from random weights"
"""The block of models whose pretrained weights could not be obtained."""
LONGEST = 34
"""Letters of a cell of text above which it is broken."""
WIDEST = 14
"""Letters of a line of a heading that is broken."""


@dataclass(frozen=True)
class _Column:
    """A column as LaTeX: one of text, one of numbers, or two of numbers and their intervals."""

    alignment: str
    width: int
    """Columns of ``tabular``."""
    heading: str
    cells: list[str]


def table(board: Board, names: Sequence[str] | None, caption: str) -> str:
    """A float with a caption and a label, for the package booktabs.

    It has the rows of ``board.chosen``. ``names`` are those of ``--columns``; by default, those of
    the board. Numbers are aligned at their decimal points.
    """
    rows = [board.rows[number] for number in board.chosen.of(board)]
    wanted = board.columns if names is None else names
    shown = [
        column
        for column in columns.of_board(board, wanted)
        if column.name != "result"
        and (column.name not in LEFT_OUT or tuple(wanted) != ("default",))
    ]
    filled = [(column, [column.cell(row) for row in rows]) for column in shown]
    made = [_column(column.heading, cells) for column, cells in filled if any(cells)]
    width = sum(column.width for column in made)
    lines = []
    for title, numbers in _blocks(board, rows):
        lines.append("\\midrule")
        if title:
            lines.append(f"\\multicolumn{{{width}}}{{l}}{{\\itshape {markup.latex(title)}}} \\\\")
        lines += [" & ".join(column.cells[at] for column in made) + " \\\\" for at in numbers]
    label = re.sub(r"[^A-Za-z0-9.:-]+", "-", str(board.dataset["name"]))
    text = "\n".join(
        [
            "\\begin{table}",
            "\\centering",
            "\\setlength{\\belowcaptionskip}{4pt}",
            f"\\caption{{{markup.latex(caption)}}}",
            f"\\label{{tab:{label}}}",
            "\\small",
            "\\setlength{\\tabcolsep}{4pt}",
            f"\\begin{{tabular}}{{{''.join(column.alignment for column in made)}}}",
            "\\toprule",
            " & ".join(column.heading for column in made) + " \\\\",
            *lines,
            "\\bottomrule",
            "\\end{tabular}",
            "\\end{table}",
        ]
    )
    needs = markup.needed_by_latex(text)
    return f"% {visible(board.dataset['name'])}; needs \\usepackage{{booktabs}}\n{needs}{text}\n"


def _blocks(board: Board, rows: Sequence[Row]) -> Iterator[tuple[str, list[int]]]:
    """What stands above some rows, and their numbers.

    Published ones never stand with measured ones as if they were of the same test patches. Last
    are models that fell back to random weights, as their accuracies say little of them.
    """
    clean = [r for r in board.published if r.perturbation == "clean"]
    apart = {(r.name, r.trained_on) for r in clean if board.other_test_data(r)}

    def block(row: Row) -> str:
        if row["result"] == "failed":
            return "failed"
        if row["initial_weights_fallback"]:
            return RANDOM
        if row["result"] != "published":
            return ""
        elsewhere = (row["model"], row["trained_on"]) in apart
        return "published, on other test patches" if elsewhere else "published"

    titles = [block(row) for row in rows]
    for title in sorted(dict.fromkeys(titles), key=lambda title: title == RANDOM):
        yield title.capitalize(), [at for at, own in enumerate(titles) if own == title]


def _column(heading: str, cells: Sequence[str]) -> _Column:
    matches = [NUMBER.fullmatch(cell) for cell in cells]
    if not all(match for match, cell in zip(matches, cells, strict=True) if cell):
        long = max(map(len, cells)) > LONGEST
        alignment = f"p{{{LONGEST * 0.17:.1f}cm}}" if long else "l"
        return _Column(alignment, 1, _heading(heading, "l"), [markup.latex(c) for c in cells])
    decimals = max(len(match[2] or "") for match in matches if match)
    values, behind = [], []
    for match in matches:
        value, own, interval = match.groups() if match else ("", None, None)
        lacking = decimals - len(own or "")
        room = "0" * lacking if own else f".{'0' * lacking}"
        pad = f"\\phantom{{{room}}}" if value and lacking else ""
        values.append(_signed(value) + pad)
        behind.append(f"({_signed(interval)})" if interval else "")
    if not any(behind):
        return _Column("r", 1, _heading(heading, "r"), values)
    above = f"\\multicolumn{{2}}{{c}}{{{_heading(heading, 'c')}}}"
    both = [f"{value} & {interval}" for value, interval in zip(values, behind, strict=True)]
    return _Column("r@{ }r", 2, above, both)


def _signed(text: str) -> str:
    """Numbers with a minus where they have a hyphen."""
    return markup.latex(MINUS.sub("−", text))


def _heading(text: str, alignment: str) -> str:
    """A heading, broken where it is long."""
    lines: list[str] = []
    for word in SAID.sub("", text).split():
        if lines and len(f"{lines[-1]} {word}") <= WIDEST:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    escaped = [markup.latex(line) for line in lines]
    if len(escaped) == 1:
        return escaped[0]
    broken = " \\\\ ".join(escaped)
    return f"\\begin{{tabular}}[b]{{@{{}}{alignment}@{{}}}}{broken}\\end{{tabular}}"

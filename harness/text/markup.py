"""Text in tables and on pages: names of classes, files and models stay what they are.

Each format reads some characters as instructions. Cells are escaped in ``table`` alone, and names
in the text of a Markdown page with ``inline``.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

MARKDOWN = re.compile(
    r"""
      [\\`*|<\[\]~$]                        # special wherever they stand
    | (?<![A-Za-z0-9])_ | _(?![A-Za-z0-9])  # emphasis, unless inside a word
    | &(?=\#?\w+;)                          # an entity
    | ^> | ^[#+=-](?!\d)                    # a quote, a heading, a list
    | \#$                                   # the end of a heading
    """,
    re.VERBOSE,
)
LATEX = {
    **{"–": "--", "—": "---", "−": "$-$", "Δ": "$\\Delta$", "±": "$\\pm$", "×": "$\\times$"},
    **{"“": "``", "”": "''", "‘": "`", "’": "'", "…": "\\dots{}", "→": "$\\to$"},
    **{"≤": "$\\le$", "≥": "$\\ge$", "∞": "$\\infty$", "µ": "$\\mu$", "μ": "$\\mu$"},
}
"""What tabulate leaves as it is, and pdflatex with its fonts does not know."""
JOINERS = "\u200c\u200d"


def visible(text: str) -> str:
    """A text in one line: line breaks and what steers a terminal are written as escapes."""
    return "".join(
        character
        if character.isprintable() or character in JOINERS or _is_space(character)
        else character.encode("unicode_escape").decode()
        for character in text
    )


def _is_space(character: str) -> bool:
    return unicodedata.category(character) == "Zs"


def inline(text: str) -> str:
    """A text inside a paragraph, a heading or a cell of Markdown (GitHub's), shown as it is."""
    escaped = MARKDOWN.sub(r"\\\g<0>", visible(text).strip())
    return re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", escaped)  # a numbered list


def code(text: str) -> str:
    """A text as code in a paragraph of Markdown."""
    longest = max((len(ticks) for ticks in re.findall("`+", text)), default=0)
    ticks = "`" * (longest + 1)
    room = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{room}{visible(text)}{room}{ticks}"


def fenced(text: str) -> str:
    """Lines of Markdown shown as they are, in a fence longer than any in them."""
    longest = max((len(ticks) for ticks in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], style: str) -> str:
    """A table in a format of ``tabulate``, such as "github", "simple" or "latex_booktabs"."""
    from tabulate import tabulate

    def escaped(text: str) -> str:
        return inline(text) if style == "github" else visible(text)

    made = str(
        tabulate(
            [[escaped(cell) for cell in row] for row in rows],
            [escaped(heading) for heading in headings],
            tablefmt=style,
            disable_numparse=True,
        )
    )
    return _latex(made) if style.startswith("latex") else made


def csv_table(fields: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """Some fields of rows as CSV, with lines that end in a line feed."""
    text = io.StringIO()
    # A carriage return, which would end a line too, is not quoted by itself.
    returns = any("\r" in str(row[field]) for row in rows for field in fields)
    writer = csv.DictWriter(
        text,
        fields,
        extrasaction="ignore",
        lineterminator="\n",
        quoting=csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL,
    )
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def latex(text: str) -> str:
    """A text as LaTeX, for pdflatex as far as it goes (``needed_by_latex``)."""
    from tabulate import LATEX_ESCAPE_RULES

    return _translated("".join(LATEX_ESCAPE_RULES.get(sign, sign) for sign in visible(text)))


def needed_by_latex(text: str) -> str:
    """A comment that says what else than pdflatex is needed for LaTeX; "" if nothing is."""
    strange = sorted({character for character in text if ord(character) > 0x17F})
    if not strange:
        return ""
    return f"% needs XeLaTeX or LuaLaTeX, and a font that has {' '.join(strange[:20])}\n"


def _latex(text: str) -> str:
    """LaTeX from tabulate, which has escaped what is ASCII."""
    text = _translated(text)
    return needed_by_latex(text) + text


def _translated(text: str) -> str:
    for character, command in LATEX.items():
        text = text.replace(character, command)
    return text

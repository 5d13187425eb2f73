"""Names in Markdown, LaTeX, CSV and the terminal stay what they are."""

import csv
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.reports.report import render
from harness.text import markup
from harness.types.findings import Table

NAMES = st.text(
    st.one_of(
        st.sampled_from("ab1 |\\`*_<>[]()!~$&#+-=.;:\n\r\t{}^%\"'/"),
        st.characters(codec="utf-8"),
    ),
    max_size=20,
)
WILD = [
    *("A|B", "a\\|b", "a\\", "two\nlines", "`code`", "<b>bold</b>", "*x*", "_x_", "a_b", "# x"),
    *(
        "&amp;",
        "$x$",
        "[a](b)",
        "~~x~~",
        "50 %",
        "{x}^2",
        "1. x",
        "- x",
        "\x1b[31mred",
        "肿瘤|上皮",
    ),
    *("\u202eevil", "x" * 300, "a\rb", "\udc80"),
]


def cells_of(line):
    """The cells of a row of a Markdown table, as a reader of the page sees them."""
    inside = re.match(r"\|(.*)\|$", line)[1]
    # A backslash and what it escapes are one; a bar by itself ends a cell.
    parts = re.findall(r"(?:\\.|[^|\\])*(?:\||$)", inside, re.DOTALL)
    cells = [part.removesuffix("|") for part in parts]
    return [
        re.sub(r"\\(.)", r"\1", cell).strip() for cell in (cells[:-1] if cells[-1] == "" else cells)
    ]


@pytest.mark.parametrize("name", WILD)
def test_a_markdown_table_keeps_its_columns_whatever_is_in_its_cells(name):
    table = Table(
        name="t", title="", headings=("a", name, "n"), rows=((name, "x", 1), ("y", name, 2))
    )
    lines = render(table).splitlines()
    assert len(lines) == 4
    shown = " ".join(markup.visible(name).split())
    expected = [["a", shown, "n"], [shown, "x", "1"], ["y", shown, "2"]]
    found = [cells_of(line) for line in (lines[0], *lines[2:])]
    assert [[" ".join(cell.split()) for cell in row] for row in found] == expected


@given(NAMES)
def test_any_name_in_markdown_is_one_line_without_anything_special(name):
    text = markup.inline(name)
    assert "\n" not in text
    assert "\r" not in text
    bare = re.sub(r"\\(?:[^\w\s]|_)", "", text)
    assert not re.search(r"[`*|<\[\]~$\\]", bare)
    assert not re.search(r"&#?\w+;", bare)
    assert not re.match(r"[#>+=-](?!\d)|\d+[.)]\s", text)
    undone = re.sub(r"\\((?:[^\w\s]|_))", r"\1", text)
    assert undone == markup.visible(name).strip()


@pytest.mark.parametrize("name", WILD)
def test_a_terminal_gets_no_control_characters(name):
    shown = render(Table(name="t", title="", headings=("x",), rows=((name,), ("y",))), "simple")
    assert len(shown.splitlines()) == 4
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e]", shown)


@pytest.mark.parametrize("name", WILD)
def test_latex_has_one_row_a_row_and_escapes_what_it_would_read(name):
    text = markup.table(["rank", "class"], [["1", name]], "latex_booktabs")
    (row,) = [line for line in text.splitlines() if line.lstrip().startswith("1 ")]
    assert row.rstrip().endswith("\\\\")
    cell = row.rstrip().removesuffix("\\\\").partition(" & ")[2]
    for command in ("\\textbackslash{}", "\\textasciitilde{}", "\\^{}", "\\ensuremath{"):
        cell = cell.replace(command, "")
    assert not re.search(r"(?<!\\)[&%$#_~^]", cell)
    assert ("needs XeLaTeX" in text) == any(ord(c) > 0x17F for c in markup.visible(name))


def test_latex_knows_the_signs_of_our_own_tables():
    text = markup.table(["Δ", "± seeds"], [["−1–2", "≥ 5 × “x”"]], "latex_booktabs")
    assert text.isascii()
    assert "XeLaTeX" not in text


@given(st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=4))
def test_csv_reads_back_as_it_was(rows):
    text = markup.csv_table(["a", "b"], [{"a": a, "b": b, "more": 1} for a, b in rows])
    read = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [(row["a"], row["b"]) for row in read] == rows


@pytest.mark.parametrize("text", ["plain", "a ` b", "```\n# x", "`", "x``"])
def test_code_and_fences_are_longer_than_what_they_hold(text):
    fenced = markup.fenced(text).splitlines()
    assert fenced[0] == fenced[-1]
    assert set(fenced[0]) == {"`"}
    assert fenced[0] not in text
    inline = markup.code(text)
    ticks = re.match("`+", inline)[0]
    assert inline.endswith(ticks)
    assert ticks not in inline[len(ticks) : -len(ticks)].strip() or len(ticks) == 1

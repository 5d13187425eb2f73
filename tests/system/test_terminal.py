"""Tables that fit a terminal: which cells are wrapped, and which columns are left out."""

from hypothesis import given
from hypothesis import strategies as st

from harness.system import terminal

HEADINGS = ["model", "accuracy % (95 % interval)", "source", "empty", "notes"]
ROWS = [
    ["color-histogram", "75.68 (67.08–82.61)", "a paper of many words, Table 2", "", "n"],
    ["rgb-means", "54.05 (45.94–61.96)", "arXiv:2409.11546", "", "m"],
]


def test_without_a_width_everything_but_empty_columns_is_there():
    fitted = terminal.fit(HEADINGS, ROWS, None)
    heading, rule, first, second = fitted.text.splitlines()
    assert heading.split("  ")[0] == "model"
    assert "empty" not in heading
    assert set(rule) == {"-", " "}
    assert first.endswith("a paper of many words, Table 2  n")
    assert second.index("54.05") == first.index("75.68") == heading.index("accuracy")
    assert fitted.left_out == ()


def test_headings_and_long_cells_are_wrapped_between_words_first():
    fitted = terminal.fit(HEADINGS, ROWS, 71)
    assert fitted.left_out == ()
    assert max(map(len, fitted.text.splitlines())) <= 71
    assert "75.68 (67.08–82.61)" in fitted.text, "a number stays with its interval"
    assert "a paper of many words," in fitted.text
    assert "Table 2" in fitted.text


def test_details_are_left_out_before_anything_is_wrapped_and_others_in_order():
    fitted = terminal.fit(HEADINGS, ROWS, 71, details=["source"])
    assert fitted.left_out == ("source",)
    assert len(fitted.text.splitlines()) == 2 + len(ROWS)
    fitted = terminal.fit(HEADINGS, ROWS, 45, order=["notes", "accuracy % (95 % interval)"])
    assert fitted.left_out == ("accuracy % (95 % interval)", "notes"), "as they stand in the table"
    assert "color-histogram" in terminal.fit(HEADINGS, ROWS, 1).text, "the first column stays"


def test_a_table_without_rows_has_its_headings():
    assert terminal.fit(["one", "two"], [], 40).text.splitlines() == ["one  two", "---  ---"]


def test_wide_characters_take_two_columns():
    fitted = terminal.fit(["class", "n"], [["青い", "1"], ["e\u0301", "2"]], None)
    assert fitted.text.splitlines()[2:] == ["青い   1", "e\u0301      2"]


def test_what_steers_a_terminal_is_shown_as_an_escape():
    assert "\\x1b[31m" in terminal.fit(["a"], [["\x1b[31m"]], None).text


WORDS = st.lists(st.text("abc%", min_size=1, max_size=9), max_size=30).map(" ".join)


@given(st.lists(st.lists(WORDS, min_size=4, max_size=4), min_size=1, max_size=4), st.integers(20))
def test_no_table_is_too_wide_and_no_word_is_broken(rows, columns):
    headings = ["first", "second one", "third", "last"]
    fitted = terminal.fit(headings, rows, columns, details=["third"])
    assert all(len(line) <= columns for line in fitted.text.splitlines())
    shown = fitted.text.split()
    filled = [n for n in range(4) if n == 0 or any(row[n] for row in rows)]
    kept = [n for n in filled if headings[n] not in fitted.left_out]
    assert kept[0] == 0
    for number in kept:
        assert set(headings[number].split()) <= set(shown)
        for row in rows:
            for word in set(row[number].split()):
                assert shown.count(word) >= row[number].split().count(word)


def test_the_width_is_that_of_the_environment_or_there_is_none(monkeypatch):
    monkeypatch.setenv("COLUMNS", "77")
    assert terminal.width() == 77
    monkeypatch.setenv("COLUMNS", "7")
    assert terminal.width() == terminal.NARROWEST
    monkeypatch.delenv("COLUMNS")
    monkeypatch.setattr("sys.__stdout__", None)  # as where the output goes to a file
    assert terminal.width() is None


def test_paragraphs_are_wrapped_and_lines_that_fit_are_not():
    text = "word " * 30
    assert terminal.paragraph(text, None) == text
    assert max(map(len, terminal.paragraph(text, 50).splitlines())) <= 50
    assert max(map(len, terminal.paragraph(text, 500).splitlines())) <= terminal.PARAGRAPH
    code = "to see the rest, say `harness list models` or nothing"
    assert "`harness list models`" in terminal.paragraph(code, 40).splitlines()[1]
    table = "a  b\n-  -\n" + "x " * 40
    first, second, *others = terminal.wrapped(table, 30).splitlines()
    assert (first, second) == ("a  b", "-  -")
    assert all(line.startswith("  ") for line in others[1:])

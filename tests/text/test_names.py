"""Names that a person takes for the same."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.text.names import alike, folded, nearest, quoted, suggest

SAME = {
    "case": ("Debris", "debris"),
    "composed or not": ("Tumör", unicodedata.normalize("NFD", "Tumör")),
    "full-width": ("TUM", "ＴＵＭ"),
    "another space": ("tumor stroma", "tumor\N{NO-BREAK SPACE}stroma"),
    "a space at the end": ("TUM", "TUM "),
    "a character that is not visible": ("TUM", "TUM\N{ZERO WIDTH SPACE}"),
    "letters of another alphabet": ("TUM", "TU\N{CYRILLIC CAPITAL LETTER EM}"),
    "underscore": ("tumor stroma", "tumor_stroma"),
    "hyphen": ("tumor-stroma", "tumor stroma"),
    "dash": ("tumor-stroma", "tumor\N{EN DASH}stroma"),
    "none of these": ("TumorStroma", "tumor_stroma"),
    "a zero in front": ("1", "01"),
    "with decimals": ("1", "1.0"),
    "an exponent": ("1", "1e0"),
    "decimals and an exponent": ("-10", "-1.0E+01"),
    "as numpy writes text": ("1", "1.000000000000000000e+00"),
    "decimal comma": ("1", "1,0"),
    "decimals and a comma": ("0.5", ",50"),
    "decimals in a name": ("class_1", "class_1.0"),
    "a number in a name": ("01_TUMOR", "1_tumor"),
    "sharp s": ("Größe", "GRÖSSE"),
    "minus sign": ("-1", "\N{MINUS SIGN}1"),
}
OTHER = [
    *(("1", "-1"), ("1", "10"), ("1.0", "1.1"), ("1-2", "12"), ("grade 1 2", "grade 12")),
    *(("CD3+", "CD3-"), ("ADI", "AD"), ("tumor", "tumour"), ("<5", ">5"), ("a", "ä"), ("", "0")),
    *(("1", "1e1"), ("1", "1,000"), ("1", "1,1"), ("v1.0.2", "v1.2"), ("v1.2", "v1.2.0.1")),
    *(("class 1.05", "class 1"), ("class 10", "class 1.0"), ("-1", "-1e1"), ("1e", "1")),
    (f"{10**40}", f"{10**40 + 1}"),
]


@pytest.mark.parametrize(("one", "other"), SAME.values(), ids=SAME)
def test_names_that_are_the_same(one, other):
    assert folded(one) == folded(other)
    assert alike(one, ["x", other]) == [other]


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_names_that_are_not(one, other):
    assert folded(one) != folded(other)


@given(st.text(max_size=30))
def test_any_text_has_one_folded_form_however_it_is_composed(text):
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert folded(unicodedata.normalize(form, text)) == folded(text)


@given(st.integers(-(10**6), 10**6), st.integers(0, 3), st.integers(0, 3))
def test_a_number_is_the_same_however_it_is_written(number, zeros, decimals):
    sign, digits = ("-", str(-number)) if number < 0 else ("", str(number))
    written = f"{sign}{'0' * zeros}{digits}" + (f".{'0' * decimals}" if decimals else "")
    assert folded(written) == str(number)
    assert folded(f"{number:.17e}") == str(number)
    assert folded(written.replace(".", ",")) == str(number) or decimals == 3
    assert folded(f"class {written}") == folded(f"class {number}")


def test_a_long_number_costs_nothing():
    assert folded("1e999999999") == "1e999999999"
    assert len(folded("-1e99")) == 101


def test_what_may_have_been_meant():
    assert nearest("debris", ["Debris", "Debriss", "ADI"]) == ["Debris"]
    assert nearest("debri", ["ADI", "debris"]) == ["debris"]
    assert nearest("debris", ["debris"]) == []
    assert suggest("CRC VAL", ["crc-val", "other"]) == "did you mean crc-val?"


def test_names_that_look_the_same_are_shown_with_what_differs():
    composed, apart = "Tumör", unicodedata.normalize("NFD", "Tumör")
    assert quoted(composed, [apart]) == "'Tum\\xf6r'"
    assert quoted(apart, [composed]) == "'Tumo\\u0308r'"
    assert quoted("debris", ["Debris"]) == "'debris'"

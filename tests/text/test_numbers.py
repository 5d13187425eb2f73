"""Numbers as text: rounded, but never to something that they are not."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.text import numbers

MEASURED = st.floats(-1e6, 1e6, allow_subnormal=False)


@settings(max_examples=300)
@given(st.lists(MEASURED, min_size=1, max_size=12))
def test_values_of_a_column_that_differ_are_shown_as_different(values):
    texts = numbers.column(values)
    shown = {}
    for value, text in zip(values, texts, strict=True):
        shown.setdefault(f"{value + 0.0:.6g}", set()).add(text)
    firsts = [min(group) for group in shown.values()]
    assert len(set(firsts)) == len(shown)
    for value, text in zip(values, texts, strict=True):
        assert (float(text.replace(",", "")) == 0) == (value == 0)
        assert not (text.startswith("-") and value >= 0)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.05, 0.1, 0.15, 10], ["0.05", "0.1", "0.15", "10"]),
        ([1, 20.0, 7180], ["1", "20", "7,180"]),
        ([1.0, 0.9764], ["1.000", "0.976"]),
        ([12.345, 3.0], ["12.3", "3.0"]),
        ([12.345, 12.346, 3.0], ["12.345", "12.346", "3.000"]),
        ([0.12345, 1.2e-5], ["0.123", "1.2e-05"]),
        ([-0.0, 1.0], ["0", "1"]),
        ([-0.0, 0.12345], ["0.000", "0.123"]),
        ([math.nan, 0.5, math.inf, -math.inf], ["not defined", "0.5", "inf", "-inf"]),
        ([math.nan], ["not defined"]),
        ([1e300], ["1e+300"]),
        ([], []),
    ],
)
def test_columns(values, expected):
    assert numbers.column(values) == expected


@given(st.lists(st.floats(0.0001, 300).map(lambda value: float(f"{value:.7g}")), min_size=1))
def test_levels_are_shown_as_they_were_given(values):
    assert [float(text) for text in numbers.column(values, chosen=True)] == values


@pytest.mark.parametrize("n", [111, 7_180, 100_000, 1_000_000])
def test_one_error_is_not_a_hundred_percent_and_one_hit_not_none(n):
    assert numbers.percent(1) == "100.00"
    assert numbers.percent(0) == "0.00"
    assert float(numbers.percent((n - 1) / n)) < 100
    assert float(numbers.percent(1 / n)) > 0
    assert float(numbers.points(1 / n)) > 0
    assert float(numbers.points(-1 / n)) < 0
    assert numbers.points(0) == numbers.points(-0.0) == numbers.points(-1e-15) == "+0.00"


@given(st.floats(0, 1))
def test_a_p_value_is_never_zero_and_keeps_its_side_of_the_limit(p):
    text = numbers.p_value(p)
    if text == "< 0.001":
        assert p < 0.001
    else:
        assert float(text) == pytest.approx(p, abs=5.01e-4)
        assert p == pytest.approx(0.05, abs=1e-6) or (float(text) < 0.05) == (p < 0.05)
    assert numbers.equals_p(p) in (f"p = {text}", f"p {text}")

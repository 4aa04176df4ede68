"""Numbers in sentences: rounded by their error, with a true minus sign, never minus zero."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shiftlab.report.wording import decimals, fixed, interval, joined, percent, shift_label, with_error


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (1.2345, 0.0123, "+1.234 ± 0.012"),
        (-0.5, 0.21, "−0.50 ± 0.21"),
        (1234.0, 56.0, "+1234 ± 56"),
        (0.1, 2.0, "+0.1 ± 2.0"),
    ],
)
def test_value_and_error_have_two_figures_of_the_error(value: float, error: float, text: str) -> None:
    assert with_error(value, error) == text


def test_unknown_numbers_are_dashes() -> None:
    nan = float("nan")
    assert with_error(nan, 1.0) == interval(nan, 0.0, 1.0) == fixed(nan, 2) == percent(nan) == "–"
    assert interval(0.5, nan, nan) == "0.50"


@given(st.floats(-1e6, 1e6), st.integers(0, 6))
def test_text_is_the_rounded_number(value: float, places: int) -> None:
    text = fixed(value, places, sign=True).replace("−", "-")
    assert math.isclose(float(text), round(value, places), abs_tol=1e-12)
    assert float(text) != 0 or text[0] == "+"


@given(st.floats(1e-4, 1e4))
def test_decimals_show_two_figures(error: float) -> None:
    places = decimals(error)
    shown = round(error, places)
    assert places == 0 or abs(shown - error) <= 0.051 * error


def test_words_are_joined_and_shifts_named() -> None:
    assert joined(["a"]) == "a"
    assert joined(["a", "b", "c"]) == "a, b and c"
    assert shift_label("gain_spread", -1, -1.0, 2) == "gain_spread −1σ (throw 2)"

from decimal import Decimal
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kernel.money import MAX_NUSD, format_usd, parse_usd, round_up


@given(st.integers(min_value=0, max_value=MAX_NUSD))
def test_what_is_written_is_read_back(nusd):
    assert parse_usd(format_usd(nusd)) == nusd


@given(st.integers(min_value=-MAX_NUSD, max_value=MAX_NUSD))
def test_an_amount_is_written_exactly(nusd):
    assert Decimal(format_usd(nusd)) * 10**9 == nusd


@given(
    whole=st.integers(min_value=0, max_value=8_999_999),
    places=st.text("0123456789", min_size=1, max_size=9),
)
def test_any_plain_decimal_is_read_exactly(whole, places):
    assert parse_usd(f"{whole}.{places}") == Decimal(f"{whole}.{places}") * 10**9


@pytest.mark.parametrize(
    ("text", "nusd"), [("0", 0), ("1", 10**9), ("0.15", 150_000_000), ("007.5", 7_500_000_000), ("9000000", MAX_NUSD)]
)
def test_amounts_that_are_read(text, nusd):
    assert parse_usd(text) == nusd


@pytest.mark.parametrize(
    "text",
    [
        "", " 1", "1 ", "1\n", "+1", "-1", "-0", "1_0", "1e2", "1E2", "1e999999999", "0x1", ".5", "1.", "1.0000000000",
        "NaN", "Infinity", "inf", "1,5", "1.2.3", "٣", "\uff11", "9000000.000000001", "9000001", "9" * 5_000, "0" * 17,
        "1\x00", None, 1, 0.1, True, [], {}, b"1", Decimal(1),
    ],
)  # fmt: skip
def test_anything_else_is_no_amount(text):
    with pytest.raises(ValueError, match="amount"):
        parse_usd(text)


@given(st.text(max_size=20))
def test_no_text_is_read_as_something_that_is_not_written(text):
    try:
        nusd = parse_usd(text)
    except ValueError:
        return
    assert text.isascii()
    assert text.replace(".", "", 1).isdigit()
    assert Decimal(text) * 10**9 == nusd


@given(st.lists(st.tuples(st.integers(0, 10**8), st.integers(0, 10**12)), max_size=6))
def test_a_cost_is_rounded_up_once(terms):
    total = sum(tokens * price for tokens, price in terms)
    assert round_up(total) == ceil(Fraction(total, 1_000_000))


def test_parts_that_are_less_than_a_nano_dollar_are_not_each_rounded_up():
    assert round_up(1 + 1 + 1) == 1
    assert round_up(0) == 0

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avalist.domain.errors import BadInput, UnknownCurrency
from avalist.domain.money import EXPONENT, Money, convert_minor, exponent_of, minor_from_text


@pytest.mark.parametrize(("currency", "exponent"), [("JPY", 0), ("EUR", 2), ("KWD", 3), ("CLF", 4)])
def test_exponents(currency: str, exponent: int) -> None:
    assert exponent_of(currency) == exponent


@pytest.mark.parametrize("code", ["", "eur", "XXX", "BTC", "EURO", "EU"])
def test_what_is_no_currency_is_named(code: str) -> None:
    with pytest.raises(UnknownCurrency) as refused:
        exponent_of(code)
    assert (refused.value.field, refused.value.got) == ("$.currency", code)


@given(st.integers(0, 10**12), st.sampled_from(sorted(EXPONENT)))
def test_an_amount_survives_its_text(minor: int, currency: str) -> None:
    text = str(Money(minor, currency)).removesuffix(f" {currency}")
    assert minor_from_text(text, currency) == minor


@pytest.mark.parametrize(
    ("text", "minor"), [("0.125", 12), ("0.135", 14), ("-1", -100), ("1e2", 10_000), ("12.50", 1250), (" 7 ", 700)]
)
def test_amounts_are_rounded_half_to_even(text: str, minor: int) -> None:
    assert minor_from_text(text, "EUR") == minor


@pytest.mark.parametrize("text", ["", "ten", "NaN", "sNaN", "Infinity", "-inf", "1e999", "1,5", "None", "12 EUR"])
def test_what_is_no_amount_is_bad_input(text: str) -> None:
    with pytest.raises(BadInput, match="not an amount") as refused:
        minor_from_text(text, "EUR")
    assert refused.value.got == text


@pytest.mark.parametrize(
    ("minor", "currency", "base", "rate", "converted"),
    [
        (1000, "JPY", "EUR", 0.006, 600),
        (100, "EUR", "JPY", 160.0, 160),
        (1234, "KWD", "EUR", 3.0, 370),
        (0, "JPY", "EUR", 1.0, 0),
    ],
)
def test_conversion_minds_both_exponents(minor: int, currency: str, base: str, rate: float, converted: int) -> None:
    assert convert_minor(minor, currency, base, {currency: rate}) == converted


def test_the_base_currency_needs_no_rate() -> None:
    assert convert_minor(7, "EUR", "EUR", {"EUR": 2.0}) == 7


def test_a_missing_rate_says_which_there_are() -> None:
    with pytest.raises(UnknownCurrency) as refused:
        convert_minor(7, "USD", "EUR", {"JPY": 0.006})
    assert (refused.value.expected, refused.value.got) == ("EUR or JPY", "USD")

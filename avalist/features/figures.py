"""Numbers as people read them: amounts, shares, and the values of features in their units."""

from __future__ import annotations

import math
from typing import Final

from avalist.domain.money import EXPONENT

NOTHING: Final = "–"
_SECONDS: Final = ((86_400.0, "days"), (3600.0, "hours"), (60.0, "minutes"))


def money(minor: float, currency: str) -> str:
    """Return an amount in a currency; large ones without decimals.

    >>> money(1234, "EUR"), money(123456789, "EUR"), money(-1234567, "JPY")
    ('12.34 EUR', '1,234,568 EUR', '-1,234,567 JPY')
    """
    if math.isnan(minor):
        return NOTHING
    exponent = EXPONENT.get(currency, 2)
    major = minor / 10**exponent
    decimals = exponent if abs(major) < 1000 else 0
    return f"{major:,.{decimals}f} {currency}"


def percent(share: float) -> str:
    """Return a share with two or three digits that tell.

    >>> percent(0.5), percent(0.0123), percent(0.00042), percent(1.0), percent(0.957), percent(0.9975)
    ('50 %', '1.2 %', '0.042 %', '100 %', '95.7 %', '99.75 %')
    """
    if math.isnan(share):
        return NOTHING
    near = min(abs(share), abs(1.0 - share)) if abs(share) > 0.9 else abs(share)
    digits = 0 if near == 0.0 else max(0, min(2 if share > 0.5 else 4, 1 - math.floor(math.log10(near * 100.0) + 1e-9)))
    text = f"{share * 100:.{digits}f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} %"


def number(value: float) -> str:
    """Return a number with three digits that tell.

    >>> number(0.12345), number(12.0), number(123456.0)
    ('0.123', '12', '123,456')
    """
    if math.isnan(value):
        return NOTHING
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def measured(value: float | None, unit: str, currency: str) -> str:
    """Return a feature's value in its unit; None is unknown.

    >>> measured(7200.0, "seconds", "EUR"), measured(2.0, "known", "EUR"), measured(None, "", "EUR")
    ('2 hours', 'seen before', 'unknown')
    """
    if value is None:
        return "unknown"
    if unit == "money":
        return money(value, currency)
    if unit == "share":
        return percent(value)
    if unit == "hours":
        return f"{int(value):02d}:{int(value % 1 * 60):02d}"
    if unit == "known":
        return {0: "missing", 1: "new", 2: "seen before"}.get(int(value), number(value))
    if unit == "seconds":
        size, name = next(((s, n) for s, n in _SECONDS if value >= 2 * s), (1.0, "seconds"))
        return f"{value / size:.0f} {name}"
    return number(value)

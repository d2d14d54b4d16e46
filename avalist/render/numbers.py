"""Numbers as people read them."""

from __future__ import annotations

import math

from avalist.domain.events import from_ms
from avalist.features.figures import NOTHING as NOTHING
from avalist.features.figures import measured as measured
from avalist.features.figures import money as money
from avalist.features.figures import number as number
from avalist.features.figures import percent as percent
from avalist.models.metrics import Interval
from avalist.render.blocks import Format


def count(value: float) -> str:
    """Return a whole number with thousands apart.

    >>> count(1234567.4)
    '1,234,567'
    """
    return NOTHING if math.isnan(value) else f"{value:,.0f}"


def day(ms: float) -> str:
    """Return a date in UTC.

    >>> day(0)
    '1970-01-01'
    """
    return from_ms(int(ms)).strftime("%Y-%m-%d")


def at(ms: int) -> str:
    """Return a time in UTC, to the minute.

    >>> at(0)
    '1970-01-01 00:00'
    """
    return f"{from_ms(ms):%Y-%m-%d %H:%M}"


def between(interval: Interval, format: Format = "percent", currency: str = "") -> str:
    """Return an interval's ends.

    >>> between(Interval(0.5, 0.4, 0.62))
    '40 % to 62 %'
    """
    return f"{shown(interval.low, format, currency)} to {shown(interval.high, format, currency)}"


def shown(value: float, format: Format, currency: str = "") -> str:
    """Return a value in a format."""
    if math.isnan(value):
        return NOTHING
    if format == "money":
        return money(value, currency)
    return {"percent": percent, "date": day, "number": number}[format](value)

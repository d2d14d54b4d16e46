"""What the cells of a column look like, from a sample of a file: kinds of value, formats of time, decimal marks."""

from __future__ import annotations

import functools
import re
from itertools import product
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from avalist.domain.money import EXPONENT
from avalist.history.columns import ISO, NO, YES, in_english, instants, missing, numbers, share, text, with_card_number
from avalist.history.rejects import masked, shown
from avalist.history.table import Batch, Table

SAMPLE_ROWS = 40_000
SCANNED_ROWS = 2_000_000
_FIRST_ROWS = 4000
_TRIED = 300
_MOST = 0.98
_EARLIEST_US, _LATEST_US = 315_532_800 * 10**6, 4_102_444_800 * 10**6  # 1980 to 2100

_EMAIL = r"^[^@\s]+@[^@\s]+\.[A-Za-z]{2,}$"
_IP = r"^(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{0,4}){2,7})$"
_TOKEN = r"^(?:[0-9a-fA-F\-]{16,}|[A-Za-z0-9_\-+/=]*\d[A-Za-z0-9_\-+/=]*)$"
_AGENT = r"(?:Mozilla/|Opera/|AppleWebKit|okhttp|Dalvik)"
_CLOCK = r"^\d{1,2}[:hH]\d{2}(?::\d{2}(?:\.\d+)?)?(?: ?[AaPp]\.?[Mm]\.?)?$"
_COMMA = r"^[^0-9,.]{0,5}\d{1,3}(?:[.\s'’]?\d{3})*,(?:\d{1,2}|\d{4,})[^0-9,.]{0,5}$"
_DOT = r"^[^0-9,.]{0,5}\d{1,3}(?:[,\s'’]?\d{3})*\.(?:\d{1,2}|\d{4,})[^0-9,.]{0,5}$"
_GROUPED = r"^[^0-9,.]{0,5}[1-9]\d{0,2}(?:\.\d{3})+[^0-9,.]{0,5}$"
_OF_THREE = [code for code, decimals in EXPONENT.items() if decimals == 3]
_TIMELIKE = re.compile(r"^(?=.*\d)(?:\d{8}|\d{12}|\d{14}|\d\d[A-Za-z]{3}\d\d(?:\d\d)?|.*\d[-/.:, ]+[\dA-Za-z].*)$")
SYMBOLS = {
    "€": "EUR", "$": "USD", "£": "GBP", "¥": "JPY", "₹": "INR", "zł": "PLN", "₽": "RUB", "₺": "TRY", "₩": "KRW",
    "R$": "BRL", "US$": "USD", "C$": "CAD", "CA$": "CAD", "A$": "AUD", "AU$": "AUD", "NZ$": "NZD", "HK$": "HKD",
    "S$": "SGD", "MX$": "MXN", "NT$": "TWD", "Kč": "CZK", "Ft": "HUF", "Rs": "INR", "₱": "PHP", "฿": "THB", "₴": "UAH",
    "₦": "NGN", "₫": "VND", "₪": "ILS",
}  # fmt: skip

_DATES = {
    "dmy": ("%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y", "%d/%m/%y", "%d.%m.%y", "%d-%m-%y"),
    "mdy": ("%m/%d/%Y", "%m.%d.%Y", "%m-%d-%Y", "%m/%d/%y", "%m.%d.%y", "%m-%d-%y"),
    "": (
        "%Y/%m/%d",
        "%Y.%m.%d",
        "%Y%m%d",
        "%d %b %Y",
        "%d-%b-%Y",
        "%d-%b-%y",
        "%b %d, %Y",
        "%d %B %Y",
        "%B %d, %Y",
        "%G-W%V-%u",
        "%d%b%Y",
        "%d%b%y",
    ),
}
_CLOCKS = ("%H:%M:%S%.f", "%H:%M", "%I:%M:%S %p", "%I:%M %p", "%H%M%S", "%H.%M.%S", "%H.%M", "%Hh%M")
_WHOLE = (
    "%a %b %d %H:%M:%S %Y",
    "%a, %d %b %Y %H:%M:%S %z",
    "%d/%b/%Y:%H:%M:%S %z",
    "%Y%m%d%H%M%S",
    "%Y%m%dT%H%M%S%#z",
)


class Profile(msgspec.Struct, kw_only=True):
    """What one column looks like. Shares are of the filled cells of the sample, from 0 to 1.

    `odd` is a cell that would be an amount but for a sign that is no known currency's. `time` is the format of a column
    of times and `times` how it was told; `orders` holds the readings, ``dmy`` and ``mdy``, that fit all cells where
    nothing decides between them.
    """

    name: str
    words: tuple[str, ...] = ()
    rows: int = 0
    filled: float = 0.0
    distinct: int = 0
    repeats: float = 0.0
    numeric: float = 0.0
    whole: bool = False
    low: float = 0.0
    high: float = 0.0
    decimals: int = 0
    negative: float = 0.0
    currencies: tuple[str, ...] = ()
    odd: str = ""
    time: str = ""
    times: str = ""
    has_clock: bool = False
    orders: tuple[str, ...] = ()
    clock: bool = False
    email: float = 0.0
    ip: float = 0.0
    card: float = 0.0
    agent: float = 0.0
    token: float = 0.0
    flag: float = 0.0
    currency: float = 0.0
    country: float = 0.0
    length: float = 0.0
    longest: int = 0
    spaces: float = 0.0
    is_index: bool = False
    rising: bool = False
    top: tuple[str, ...] = ()
    samples: tuple[str, ...] = ()


class Sample(NamedTuple):
    """Rows drawn evenly from a file, in its order, with their lines; `rows` counts those that were looked through."""

    frame: pl.DataFrame
    lines: npt.NDArray[np.int64]
    rows: int
    whole: bool


def draw(table: Table) -> Sample:
    """Return a sample: the first rows, and then evenly more, from at most SCANNED_ROWS."""
    parts: list[Batch] = []
    rows, whole = 0, True
    for batch in table.batches():
        first = min(max(_FIRST_ROWS - rows, 0), len(batch.frame))  # a batch may be small
        take = np.concatenate([np.arange(first), np.arange(first, len(batch.frame), 32 if rows else 8)])
        parts.append(Batch(batch.frame[take], batch.lines[take]))
        rows += len(batch.frame)
        if rows >= SCANNED_ROWS:
            whole = False
            break
    if not rows:
        return Sample(pl.DataFrame({name: [] for name in table.names}), np.array([], dtype=np.int64), 0, True)
    return Sample(pl.concat([p.frame for p in parts]), np.concatenate([p.lines for p in parts]), rows, whole)


def decimal_mark_of(frame: pl.DataFrame) -> str:
    """Return the decimal mark of a file's columns of text: the one that more columns show.

    A column of nothing but such as 4.523 has thousands, unless dots stand before decimals elsewhere or a currency of
    three decimals is named.
    """
    commas = dots = grouped = 0
    for column in frame.iter_columns():
        if column.dtype == pl.String:
            cells = column.drop_nulls().head(2000).str.strip_chars()
            commas += share(cells.str.contains(_COMMA)) > 0.5
            dots += share(cells.str.contains(_DOT)) > 0.5
            grouped += len(cells) > 0 and share(cells.str.contains(_GROUPED)) == 1
            if cells.is_in(_OF_THREE).any():
                return "."
    return "," if commas > dots or (grouped and not dots) else "."


def profile(column: pl.Series, lines: npt.NDArray[np.int64], decimal_mark: str) -> Profile:
    """Return what a column of a sample looks like."""
    cells = text(column)
    filled = cells.drop_nulls()
    found = Profile(name=column.name, words=words_of(column.name), rows=len(column))
    if filled.is_empty():
        return found
    counts = filled.value_counts(sort=True)
    values = counts.to_series(0)
    found.filled, found.distinct = len(filled) / len(cells), len(values)
    found.repeats = len(filled) / len(values)
    found.top = tuple(values.head(30).to_list())
    _numbers(found, column, filled, lines, decimal_mark)
    _shapes(found, filled)
    if column.dtype.is_temporal() and column.dtype != pl.Duration:
        _native_time(found, column)
    elif found.flag < _MOST:
        times = text(missing(column)).drop_nulls()
        _time(found, times, times.value_counts(sort=True).to_series(0))
        if found.time:
            found.filled = len(times) / len(cells)
    found.samples = tuple(masked(v) if _is_personal(found, v) else shown(v) for v in _spread(values))
    return found


def _is_personal(found: Profile, cell: str) -> bool:
    """Tell whether a cell is an e-mail or IP address; a time of day looks like one of the latter."""
    return bool(re.match(_EMAIL, cell) or (re.match(_IP, cell) and not found.clock))


def words_of(name: str) -> tuple[str, ...]:
    """Return the words of a column's name, in lower case.

    >>> words_of("isFraud"), words_of("TX_DATETIME"), words_of("Card No.")
    (('is', 'fraud'), ('tx', 'datetime'), ('card', 'no'))
    """
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return tuple(re.findall(r"[^\W_]+", spaced.lower()))


def _spread(values: pl.Series) -> list[str]:
    picked = [values[0], values[len(values) // 2], values[-1]]
    return list(dict.fromkeys(str(value) for value in picked))


def _numbers(found: Profile, column: pl.Series, filled: pl.Series, lines: npt.NDArray[np.int64], mark: str) -> None:
    if column.dtype == pl.Boolean or column.dtype.is_temporal():
        return
    if column.dtype == pl.String:
        plain = filled.str.contains(r"^[^0-9]{0,6}[0-9][0-9.,'’\s]*[^0-9]{0,6}$")
        if share(plain) < _MOST:
            return
        letters = filled.filter(plain).str.extract(r"([^0-9.,'’\s+\-−()]+)").drop_nulls().unique()
        signs = {s.strip() for s in letters}
        strange = [s for s in signs if s not in SYMBOLS and s.upper() not in EXPONENT and s != "%"]
        if strange:
            found.odd = shown(str(filled.filter(filled.str.contains(max(strange), literal=True))[0]))
            return
        found.currencies = tuple(sorted({SYMBOLS.get(s, s.upper()) for s in signs if s != "%"}))
    parsed = numbers(column, mark)
    known = parsed.drop_nulls().drop_nans()
    if known.is_empty():
        return
    found.numeric = len(known) / len(filled)
    values = known.to_numpy()
    found.low, found.high = float(values.min()), float(values.max())
    found.whole = bool((known == known.floor()).all())
    found.negative = share(known < 0)
    found.decimals = next(
        (d for d in range(6) if np.allclose(np.round(values, d), values, rtol=0, atol=10.0 ** (-d - 6))), 6
    )
    found.rising = share(known.diff().drop_nulls() >= 0) > 0.999
    if found.whole and len(known) == len(column) > 2 and found.distinct == len(column):
        steps = values - lines
        found.is_index = bool((steps == steps[0]).all())


def _shapes(found: Profile, filled: pl.Series) -> None:
    def like(pattern: str) -> float:
        return share(filled.str.contains(pattern))

    lower = filled.str.to_lowercase()
    found.email, found.ip, found.agent, found.token = like(_EMAIL), like(_IP), like(_AGENT), like(_TOKEN)
    found.clock = like(_CLOCK) >= _MOST
    found.ip = 0.0 if found.clock else found.ip
    found.card = share(with_card_number(filled))
    found.flag = share(lower.is_in([*YES, *NO])) if found.distinct <= 6 else 0.0
    found.currency = share(filled.str.to_uppercase().is_in(list(EXPONENT)))
    found.country = like(r"^[A-Z]{2}$")
    lengths = filled.str.len_chars().to_numpy()
    found.length, found.longest = float(lengths.mean()), int(lengths.max())
    found.spaces = like(r"\s")


# --- times ----------------------------------------------------------------------------------------------------------


def _native_time(found: Profile, column: pl.Series) -> None:
    if column.dtype == pl.Time:
        found.clock = True
        return
    found.time, found.times = ISO, "the file says that it is a time"
    at = instants(column).drop_nulls()
    found.has_clock = bool((at % (86_400 * 10**6) != 0).any())
    found.rising = _rising(at)


def _rising(at: pl.Series) -> bool:
    """Tell whether times (nearly) never go back in the order of the file."""
    return len(at) > 2 and share(at.diff().drop_nulls() >= 0) > 0.98


def _time(found: Profile, filled: pl.Series, values: pl.Series) -> None:
    tried = in_english(values.head(_TRIED))
    if tried.is_empty() or found.clock or found.ip > _MOST or not _TIMELIKE.match(str(tried[0])):
        return
    if found.numeric and found.decimals and "," not in str(tried[0]):
        return
    fitting = {ISO: ""} if _fits(tried, ISO) else {p: o for o, p in _patterns(str(tried[0])) if _fits(tried, p)}
    fitting = {p: o for p, o in fitting.items() if _fits(filled, p)}
    if not fitting:
        return
    orders = {order: pattern for pattern, order in reversed(fitting.items())}
    order = _order_of(orders, filled, found)
    found.time = orders[order]
    at = instants(filled, found.time).drop_nulls()
    found.has_clock = bool((at % (86_400 * 10**6) != 0).any())
    found.rising = _rising(at)


_PARTS = {
    "%Y": r"\d{4}", "%y": r"\d\d", "%m": r"\d\d?", "%d": r"\d\d?", "%H": r"\d\d?", "%I": r"\d\d?", "%M": r"\d\d",
    "%S%.f": r"\d\d(?:\.\d+)?", "%S": r"\d\d", "%p": "[AaPp][Mm]", "%#z": r"(?:[+-]\d\d:?\d*|Z|UTC|GMT)",
    "%G": r"\d{4}", "%V": r"\d\d", "%u": "[1-7]",
    "%z": r"[+-]\d\d:?\d\d", "%b": r"[^\W\d_]{3}", "%B": r"[^\W\d_]+", "%a": r"[^\W\d_]{3}",
}  # fmt: skip


def _patterns(cell: str) -> list[tuple[str, str]]:
    """Return every (order of day and month, pattern) that one cell has the shape of."""
    return [(order, pattern) for order, pattern, shape in _all_patterns() if shape.fullmatch(cell)]


@functools.cache
def _all_patterns() -> list[tuple[str, str, re.Pattern[str]]]:
    some = [("", pattern) for pattern in _WHOLE]
    for order, dates in _DATES.items():
        some += [(order, date) for date in dates]
        joined = product(dates, (" ", "T", ", ", ":"), _CLOCKS, ("", "%#z", " %#z"))
        some += [(order, "".join(parts)) for parts in joined]
    return [(order, pattern, _shape(pattern)) for order, pattern in some]


def _shape(pattern: str) -> re.Pattern[str]:
    shape = re.escape(pattern).replace("\\ ", " ")
    for part, form in _PARTS.items():
        shape = shape.replace(re.escape(part), form)
    return re.compile(shape)


def _fits(cells: pl.Series, pattern: str) -> bool:
    if len(cells) > 20 and not _fits(cells.head(5), pattern):
        return False
    at = instants(cells, pattern)
    if at.null_count() > (1 - _MOST) * len(cells):
        return False
    return share(at.is_between(_EARLIEST_US, _LATEST_US)) > 0.9


def _order_of(orders: dict[str, str], filled: pl.Series, found: Profile) -> str:
    """Decide between day first and month first by all cells of the column."""
    if len(orders) == 1:
        (order,) = orders
        names = {"dmy": "day first: some first numbers exceed 12", "mdy": "month first: some second numbers exceed 12"}
        found.times = names.get(order, "every cell is read so")
        return order
    if not {"dmy", "mdy"} <= orders.keys():
        found.times = "every cell is read so"
        return next(iter(orders))
    rising = [order for order in ("dmy", "mdy") if _rising(instants(filled, orders[order]).drop_nulls())]
    if len(rising) == 1:
        name = {"dmy": "day first", "mdy": "month first"}[rising[0]]
        found.times = f"{name}: only then do the rows stand in order of time"
        return rising[0]
    if "." in orders["dmy"][:4]:
        found.times = "day first, as dates with dots are written"
        return "dmy"
    found.orders = ("dmy", "mdy")
    found.times = "day and month may be either way round"
    return "dmy"

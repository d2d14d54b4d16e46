"""Columns of cells become columns of values: times, numbers, flags, text. A cell that is no such value becomes null.

Each function takes a column of any kind, of a text file or of Parquet, and works on all of it at once.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Sequence

import polars as pl

from avalist.domain.cards import holds_card_number
from avalist.domain.errors import BadInput
from avalist.domain.events import is_ip

ISO = "iso"
LATEST_US = 4_102_444_800 * 10**6
"""The end of the times that a file may hold: the year 2100."""
UNITS_US = {
    "ns": 0.001, "us": 1, "ms": 1000, "s": 10**6, "min": 60 * 10**6, "h": 3600 * 10**6, "d": 86_400 * 10**6,
    "w": 7 * 86_400 * 10**6, "month": 30 * 86_400 * 10**6,
}  # fmt: skip
_SINCE = re.compile(r"(ns|us|ms|s|min|h|d|w|month) since (\d{4}-\d{2}-\d{2})")
_ISO_FORMATS = tuple(
    f"%Y-%m-%d{rest}{zone}" for rest in (" %H:%M:%S%.f", " %H:%M", "") for zone in ("%#z", "") if rest or not zone
)
_ISO_DATE = r"^(\d{4})[-/](\d\d?)[-/](\d\d?)[T ]"
_IPV4 = r"^(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(?:\.|$)){4}$"
_ZULU = r"\s*(?:Z|UTC|GMT)$"
_NAMED_TOO = r"([+-]\d\d:?\d\d)\s*(?:[A-Z]{3,4}|\[[A-Za-z_/+\-0-9]+\])$"
_CARD_SHAPED = r"\p{Nd}(?:[^\p{Nd}\p{L}]{0,3}\p{Nd}){12}"
_NOTHING = (
    "null",
    "NULL",
    "Null",
    "nan",
    "NaN",
    "NAN",
    "none",
    "None",
    "NONE",
    "\\N",
    "n/a",
    "N/A",
    "#N/A",
    "<NA>",
    "NaT",
)
_NO_NUMBER = (*_NOTHING, "na", "NA", "-", "--", "?", ".", "0000-00-00", "0000-00-00 00:00:00")
_NOISE = r"\p{L}{1,4}\.?$|[\s'’\p{Sc}]"
_NOISE_BEFORE = r"^([-+(]*)\p{L}{1,4}\.?"
_GAP_US = 3600 * 10**6
_MONTHS = {
    word: month
    for month, words in {
        "Jan": "januar jänner janvier janv enero ene gennaio gen janeiro januari stycznia",
        "Feb": "februar feber février févr fév febrero febbraio fevereiro fev februari lutego",
        "Mar": "märz mär mrz mars marzo março maart mrt marca",
        "Apr": "avril avr abril abr aprile kwietnia",
        "May": "mai mayo maggio mag maio mei maja",
        "Jun": "juni juin junio giugno giu junho czerwca",
        "Jul": "juli juillet juil julio luglio lug julho lipca",
        "Aug": "août agosto ago augustus sierpnia",
        "Sep": "sept septembre septiembre settembre set setembro września",
        "Oct": "oktober okt octobre octubre ottobre ott outubro out października",
        "Nov": "novembre noviembre novembro listopada",
        "Dec": "dezember dez décembre déc diciembre dic dicembre dezembro grudnia",
    }.items()
    for word in words.split()
}
"""Names of months that are not English, as dates hold them."""
YES = (
    "1", "1.0", "true", "yes", "y", "t", "ja", "j", "oui", "si", "sí", "sì", "sim", "tak", "wahr", "vrai", "vero",
    "verdadero", "verdadeiro", "prawda", "waar",
)  # fmt: skip
NO = (
    "0", "0.0", "false", "no", "n", "f", "nein", "nee", "non", "não", "nao", "nie", "falsch", "faux", "falso", "fałsz",
    "onwaar",
)  # fmt: skip
"""Words in the languages that shops keep their books in, as their spreadsheets write them."""


def text(column: pl.Series) -> pl.Series:
    """Return cells as text, stripped; empty ones, and words such as ``null``, are null. A whole float loses its ``.0``.

    >>> text(pl.Series([1.0, 2.5, None])).to_list()
    ['1', '2.5', None]
    """
    if column.dtype.is_float():
        whole = column.is_finite() & (column == column.floor()) & (column.abs() < 2**53)
        column = column.is_finite().fill_null(False).replace_strict({False: None, True: 1.0}) * column
        whole_text = column.cast(pl.Int64, strict=False).cast(pl.String)
        return whole_text.zip_with(whole.fill_null(False), column.cast(pl.String))
    elif column.dtype != pl.String:
        return column.cast(pl.String, strict=False)
    stripped = column.str.strip_chars()
    return _without(stripped, _NOTHING)


def missing(column: pl.Series) -> pl.Series:
    """Return cells with null where there is no number or time: dashes, question marks, ``NA``."""
    return _without(column.str.strip_chars(), _NO_NUMBER) if column.dtype == pl.String else column


def _without(cells: pl.Series, words: Sequence[str]) -> pl.Series:
    nothing = cells.is_in(["", *words])
    return cells.set(nothing, None) if nothing.any() else cells


# --- times ----------------------------------------------------------------------------------------------------------


def instants(column: pl.Series, format: str = ISO, zone: str = "UTC") -> pl.Series:
    """Return times as microseconds since 1970 (Int64).

    Parameters
    ----------
    column
        Text, numbers, dates or times.
    format
        ``iso``; a pattern such as ``%d/%m/%Y %H:%M``; or a number's unit and origin, such as ``s since 1970-01-01``
        (units ns, us, ms, s, min, h, d, w, and month: 30 days).
    zone
        The zone of times that name none. A time that a clock skipped in spring is moved on by the hour; one that it
        showed twice in autumn is the first.

    Raises
    ------
    BadInput
        For a zone or format that is not known.
    """
    if column.dtype in (pl.Datetime, pl.Date):
        return _located(column.cast(pl.Datetime("us", getattr(column.dtype, "time_zone", None))), zone)
    since = _SINCE.fullmatch(format)
    if since:
        return _counted(column, since[1], since[2])
    cells = text(column)
    if format != ISO:
        return _patterned(cells, format, zone)
    cells = cells.str.replace(_ISO_DATE, "$1-$2-$3 ")
    found = _patterned(cells, _ISO_FORMATS[0], zone)
    for pattern in _ISO_FORMATS[1:]:
        if found.null_count() == cells.null_count():
            break
        found = found.zip_with(found.is_not_null(), _patterned(cells, pattern, zone))
    return found


def in_english(cells: pl.Series) -> pl.Series:
    """Return dates with the names of months in English.

    >>> in_english(pl.Series(["11. März 2025", "1 de marzo de 2025", "26-avr.-2025", "2 June 2025"])).to_list()
    ['11 Mar 2025', '1 Mar 2025', '26-Apr-2025', '2 June 2025']
    """
    words = cells.str.extract(r"(\p{L}{3,})").str.to_lowercase()
    months = words.replace_strict(_MONTHS, default=None, return_dtype=pl.String)
    if months.null_count() == len(cells):
        return cells
    plain = cells.str.replace(r"(?:\. | de | )(\p{L}{3,})", " $1").str.replace(r"(\p{L}{3,})(?:\.| de\b)", "$1")
    pair = pl.DataFrame({"cell": plain, "month": months})
    written = pair.select(pl.col("cell").str.replace(r"\p{L}{3,}", pl.col("month"))).to_series()
    return written.zip_with(months.is_not_null(), cells)


def _patterned(cells: pl.Series, pattern: str, zone: str) -> pl.Series:
    if "%b" in pattern or "%B" in pattern:
        cells = in_english(cells)
    if pattern.endswith("z"):
        cells = cells.str.replace(_NAMED_TOO, "$1").str.replace(_ZULU, "+0000")
    try:
        times = cells.str.to_datetime(pattern, time_unit="us", strict=False)
    except pl.exceptions.PolarsError:
        raise BadInput("not a format of times", field="formats", expected="such as %d/%m/%Y", got=pattern) from None
    return _located(times, zone)


def _located(times: pl.Series, zone: str) -> pl.Series:
    if times.dtype.time_zone is not None:  # type: ignore[attr-defined]
        return times.dt.convert_time_zone("UTC").dt.replace_time_zone(None).cast(pl.Int64)
    if zone == "UTC":
        return times.cast(pl.Int64)
    try:
        known = _in_zone(times, zone)
        if known.null_count() > times.null_count():
            known = known.zip_with(
                known.is_not_null(), _in_zone((times.cast(pl.Int64) - _GAP_US).cast(times.dtype), zone) + _GAP_US
            )
    except pl.exceptions.PolarsError:
        raise BadInput("no such time zone", field="timezone", expected="such as Europe/Paris", got=zone[:64]) from None
    return known


def _in_zone(times: pl.Series, zone: str) -> pl.Series:
    local = times.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return local.dt.convert_time_zone("UTC").dt.replace_time_zone(None).cast(pl.Int64)


def _counted(column: pl.Series, unit: str, origin: str) -> pl.Series:
    start = int(pl.Series([origin]).str.to_datetime("%Y-%m-%d", time_unit="us").cast(pl.Int64).to_numpy()[0])
    if column.dtype == pl.String:
        column = column.str.strip_chars().str.replace(",", ".", literal=True)
        whole = column.cast(pl.Int64, strict=False)
        column = whole if whole.null_count() == column.null_count() else column.cast(pl.Float64, strict=False)
    scale = UNITS_US[unit]
    if column.dtype.is_integer() and scale >= 1:
        return column.cast(pl.Int64) * int(scale) + start
    numbers = column.cast(pl.Float64, strict=False)
    numbers = numbers.set(~numbers.is_finite() | (numbers.abs() > 1e18 / max(scale, 1)), None)
    return (numbers * scale).round().cast(pl.Int64) + start


def date_only(column: pl.Series, format: str = ISO) -> pl.Series:
    """Tell which cells are days without a time."""
    if column.dtype == pl.String and format == ISO:
        return (text(column).str.len_chars() <= len("2026-01-01")).fill_null(False)
    days = (
        column.dtype == pl.Date
        or format.startswith("d since")
        or ("%d" in format and "%H" not in format and "%I" not in format)
    )
    return pl.repeat(days, len(column), dtype=pl.Boolean, eager=True)


# --- numbers, flags -------------------------------------------------------------------------------------------------


def numbers(column: pl.Series, decimal_mark: str = ".") -> pl.Series:
    """Return numbers (Float64) without currency signs and thousands marks; ``(5)`` and ``5-`` are negative.

    >>> numbers(pl.Series(["1.234,50 €", "(7)", "x"]), ",").to_list()
    [1234.5, -7.0, None]
    """
    if column.dtype != pl.String:
        return column.cast(pl.Float64, strict=False)
    plain = column.str.strip_chars()
    found = (
        plain.cast(pl.Float64, strict=False)
        if decimal_mark == "."
        else pl.Series([None] * len(plain), dtype=pl.Float64)
    )
    if found.null_count() == 0:
        return found
    bare = plain.str.replace("−", "-", literal=True).str.replace(_NOISE_BEFORE, "$1").str.replace_all(_NOISE, "")
    cleaned = _pointed(bare, decimal_mark)
    cleaned = cleaned.str.replace(r"^\((.*)\)$", "-$1").str.replace(r"^([0-9.]+)-$", "-$1")
    return found.zip_with(found.is_not_null(), cleaned.cast(pl.Float64, strict=False))


def _pointed(cells: pl.Series, decimal_mark: str) -> pl.Series:
    """Return cells with a decimal point and no thousands marks.

    A lone thousands mark that does not stand before three digits is a decimal mark after all.
    """
    mark, other = ("\\.", ",") if decimal_mark == "," else (",", ".")
    grouped = cells.str.contains(rf"^[-+(]*\d{{1,3}}(?:{mark}\d{{2,3}})*{mark}\d{{3}}(?:\D|$)")
    lone = cells.str.contains(rf"^[-+(]*\d*{mark}\d+[-)]*$") & ~grouped
    plain = cells.str.replace_all(mark, "").str.replace(other, ".", literal=True)
    return cells.str.replace(mark, ".").zip_with(lone.fill_null(False), plain)


def flags(column: pl.Series, yes: Collection[str] = ()) -> pl.Series:
    """Return flags (Boolean): the values of `yes` are true and others false; without it, words such as yes and no."""
    if column.dtype == pl.Boolean and not yes:
        return column
    if column.dtype.is_numeric() and not yes:
        known = column.is_in([0, 1])
        return (column == 1).set(~known, None)
    cells = text(column).str.to_lowercase()
    if yes:
        return cells.is_in([value.strip().lower() for value in yes])
    return cells.replace_strict(
        {**dict.fromkeys(YES, True), **dict.fromkeys(NO, False)}, default=None, return_dtype=pl.Boolean
    )


def share(flags: pl.Series) -> float:
    """Return the share of what is true among what is known; 0 where nothing is."""
    mean = flags.mean()
    return mean if isinstance(mean, float) else 0.0


# --- identifiers ----------------------------------------------------------------------------------------------------


def hashed(column: pl.Series, key: bytes) -> pl.Series:
    """Return keyed hashes of cells: equal cells have equal hashes, and without the key none can be undone."""
    cells = text(column)
    distinct = cells.unique().drop_nulls()
    hashes = ["h" + hashlib.blake2b(cell.encode(), digest_size=16, key=key).hexdigest() for cell in distinct]
    return cells.replace_strict(distinct, pl.Series(hashes, dtype=pl.String), default=None, return_dtype=pl.String)


def hashed_cards(column: pl.Series, key: bytes) -> pl.Series:
    """Return cells as text, with the keyed hash in place of those that hold a card number."""
    cells = text(column)
    cards = with_card_number(cells)
    return hashed(cells.set(~cards, None), key).zip_with(cards, cells) if cards.any() else cells


def ip_of_number(cells: pl.Series) -> pl.Series:
    """Return cells of text with dots where an IPv4 address is written as a number of 32 bits.

    >>> ip_of_number(pl.Series(["3232235521.4", "8.8.8.8"])).to_list()
    ['192.168.0.1', '8.8.8.8']
    """
    plain = cells.str.contains(r"^\d{1,10}(?:\.\d*)?$").fill_null(False)
    if not plain.any():
        return cells
    whole = cells.set(~plain, None).cast(pl.Float64).cast(pl.Int64)
    parts = [(whole // 256**n % 256).cast(pl.String) for n in (3, 2, 1, 0)]
    written = pl.select(pl.concat_str(parts, separator=".")).to_series()
    return written.zip_with(plain & (whole < 2**32).fill_null(False), cells)


def no_ip(cells: pl.Series) -> pl.Series:
    """Tell which cells of text are no IP address; empty ones are not told."""
    other = ~cells.str.contains(_IPV4).fill_null(True)
    if not other.any():
        return other
    return cells.is_in([cell for cell in cells.filter(other).unique() if not is_ip(cell)]).fill_null(False)


def with_card_number(cells: pl.Series) -> pl.Series:
    """Tell which cells of text hold a card number."""
    shaped = cells.str.contains(_CARD_SHAPED).fill_null(False)
    if not shaped.any():
        return shaped
    cards = [cell for cell in cells.filter(shaped).unique() if holds_card_number(cell)]
    return cells.is_in(cards).fill_null(False)

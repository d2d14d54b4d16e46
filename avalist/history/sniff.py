"""What a file is, told by its bytes: its kind, its encoding, its delimiter."""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, get_args

import msgspec

from avalist.domain.errors import BadInput
from avalist.domain.events import WireEvent
from avalist.history.packed import opened

Kind = Literal["csv", "parquet", "json", "events"]
_CHUNK_BYTES = 1 << 20
csv.field_size_limit(1 << 24)  # cells may be long; what is looked at is short
_DELIMITERS = ",;\t|~^"
_LOOKED_AT, _MOST_TITLE_LINES = 60, 20
_SEP = re.compile(r"\"?sep=([,;|\t])\"?\r?\n", re.IGNORECASE)
_PARQUET = b"PAR1"
_OTHERS = (
    (b"PK\x03\x04", "zip"), (b"\x1f\x8b", "gzip"), (b"\xfd7zXZ", "xz"), (b"7z\xbc\xaf", "7z"),
    (b"\xd0\xcf\x11\xe0", "a spreadsheet"),
)  # fmt: skip
"""What is told apart to say what to do with it."""
_EVENT_TYPES = frozenset(str(kind.__struct_config__.tag) for kind in get_args(WireEvent))


def kind_of(head: bytes, file: Path) -> Kind:
    """Tell what a file is by its first bytes. Raises ``BadInput`` for none of the known kinds."""
    if not head.strip():
        raise BadInput("the file is empty", field=file.name, expected="CSV, Parquet or JSON lines")
    if head.startswith(_PARQUET):
        return "parquet"
    what = next((what for magic, what in _OTHERS if head.startswith(magic)), "")
    if what:
        advice = "save the sheet as CSV (UTF-8)" if what == "a spreadsheet" else "unpack it first"
        expected = "CSV, Parquet or JSON lines, plain or packed with gzip, zstd, bzip2 or zip"
        raise BadInput(advice, field=file.name, expected=expected, got=what)
    start = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if start[:1] not in (b"{", b"["):
        return "csv"
    whole = [line for line in start.splitlines()[:-1] or [start] if line.strip()][:100]
    events = sum(_is_event(decoded(line)) for line in whole)
    return "events" if events >= 0.9 * len(whole) else "json"


def _is_event(whole: dict[str, Any] | None) -> bool:
    return whole is not None and whole.get("type") in _EVENT_TYPES and "event_id" in whole and "occurred_at" in whole


def encoding_of(file: Path, head: bytes) -> str:
    """Tell how the text of a file is encoded; all of it is read."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with opened(file) as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


class Dialect(NamedTuple):
    """How a CSV file is written. `above` counts lines that stand above the names: a title, or ``sep=;``."""

    delimiter: str
    quote: str
    above: int
    first: list[str]


def dialect_of(text: str) -> Dialect:
    """Tell how a CSV file is written, from its beginning."""
    text = text.removeprefix("\ufeff")
    said = _SEP.match(text)
    body = text[said.end() :] if said else text
    delimiter = said[1] if said else delimiter_of(body)
    lines = body.splitlines()[:_LOOKED_AT] or [""]
    quote = "'" if _quoted_by_apostrophes(lines, delimiter) else '"'
    rows = [*csv.reader(lines, delimiter=delimiter, quotechar=quote)]
    title = _title_lines(rows[:-1] if len(rows) > 2 else rows)
    return Dialect(delimiter, quote, title + bool(said), rows[title] if rows else [""])


def _title_lines(rows: list[list[str]]) -> int:
    """Return how many lines stand above the names: most of their cells are empty, and a full line follows."""
    filled = [sum(bool(cell.strip()) for cell in row) for row in rows]
    width = Counter(filled).most_common(1)[0][0] if filled else 0
    full = next((n for n, count in enumerate(filled) if count > width / 2), 0)
    if filled[full : full + 2] and filled[full] < width and _are_names(rows[full + 1 : full + 2], width):
        full += 1  # the line above names groups of columns
    return full if width > 2 and full <= _MOST_TITLE_LINES else 0


def _are_names(rows: list[list[str]], width: int) -> bool:
    """Tell whether a line is of names: all cells are filled, and none holds a digit, as every payment does."""
    return any(sum(bool(c.strip()) for c in row) == width and not re.search(r"\d", "".join(row)) for row in rows)


def _quoted_by_apostrophes(lines: list[str], delimiter: str) -> bool:
    """Tell whether a column is written ``'so'`` in every line but the first, and nothing in ``"``."""
    rows = [line.split(delimiter) for line in lines[1:-1]]
    if len(rows) < 2 or any('"' in line for line in lines) or len({len(row) for row in rows}) > 1:
        return False
    return any(all(len(c) > 1 and c[0] == c[-1] == "'" for c in column) for column in zip(*rows, strict=True))


def delimiter_of(text: str) -> str:
    """Return the delimiter that cuts the first lines into the most cells, equally many in each."""
    lines = text.splitlines()[:_LOOKED_AT]
    lines = lines[:-1] if len(lines) > 2 else lines

    def cells(delimiter: str) -> float:
        counts = Counter(len(row) for row in csv.reader(lines, delimiter=delimiter) if row)
        width, often = counts.most_common(1)[0]
        return (width - 1) * (often / counts.total()) ** 2

    return max(_DELIMITERS, key=cells)


def distinct(names: Sequence[str]) -> list[str]:
    """Return column names without gaps or repetition.

    >>> distinct(["a", "", "a"])
    ['a', 'column_2', 'a_3']
    """
    found: list[str] = []
    for n, name in enumerate(names, 1):
        name = name or f"column_{n}"
        found.append(name if name not in found else f"{name}_{n}")
    return found


def first_byte(stream: BinaryIO) -> bytes:
    """Return the first byte that is no space, and go back to the beginning."""
    start = stream.read(4096).removeprefix(codecs.BOM_UTF8).lstrip()[:1]
    stream.seek(0)
    return start


def decoded(line: bytes) -> dict[str, Any] | None:
    """Return the JSON object of a line; None if it is none."""
    try:
        whole = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return whole if isinstance(whole, dict) else None

"""Files of any merchant as batches of columns: CSV of any dialect, Parquet, JSON lines, plain or packed.

What a file is, is told by its bytes, not by its name. Cells of text files stay text; Parquet keeps its types. Nested
objects become columns with dotted names.
"""

from __future__ import annotations

import codecs
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from itertools import chain, compress, islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from avalist.domain.cards import holds_card_number
from avalist.domain.errors import BadInput
from avalist.history.elements import elements
from avalist.history.packed import is_packed, opened
from avalist.history.rejects import Reject
from avalist.history.sniff import (
    Kind,
    decoded,
    dialect_of,
    distinct,
    encoding_of,
    first_byte,
    kind_of,
)

BATCH_ROWS = 65_536
_HEAD_BYTES = 1 << 18
_BLOCK_BYTES = 8 << 20
_LINES_BYTES = 4 << 20
_NAMED_BY = 20_000
"""So many JSON objects name the columns: what only frauds have is rare."""
_NUMERIC = re.compile(r"[-+(]?[0-9][0-9.,:/ T-]*")


class Batch(NamedTuple):
    """Rows of a file with the line that each stands on (of Parquet: its number, from 1)."""

    frame: pl.DataFrame
    lines: npt.NDArray[np.int64]


class Lines(NamedTuple):
    """Lines of a text file that are not empty, with their numbers."""

    numbers: list[int]
    raws: list[bytes]


class Table:
    """A file of rows. `names` are its columns; `rejects` fills with rows that could not be told apart, while reading.

    Raises ``BadInput`` for a file that is none of the known kinds, or has a card number in a column's name, where it
    would be shown and written to the mapping.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.rejects: list[Reject] = []
        with opened(file) as stream:
            head = stream.read(_HEAD_BYTES)
        self.kind: Kind = kind_of(head, file)
        self.encoding = encoding_of(file, head) if self.kind == "csv" else "utf-8"
        self.delimiter, self.quote, self.above, self.has_header = ",", '"', 0, True
        self.names: list[str] = self._read_names(head)
        for place, name in enumerate(self.names, 1):
            if holds_card_number(name):
                raise BadInput(
                    "a card number stands in a column's name",
                    field=f"column {place}",
                    expected="a name",
                    got="(not shown)",
                )

    def batches(self, columns: Sequence[str] | None = None, rows: int = BATCH_ROWS) -> Iterator[Batch]:
        """Yield the rows in the order of the file; of every column, or of some."""
        self.rejects.clear()
        wanted = self.names if columns is None else list(columns)
        read = {"csv": self._csv, "parquet": self._parquet}.get(self.kind, self._json)
        yield from read(wanted, rows)

    def lines(self) -> Iterator[Lines]:
        """Yield the lines of a text file, or the elements of a JSON array, some thousands at a time."""
        with opened(self.file) as stream:
            seen = 0
            if first_byte(stream) == b"[":
                for some in elements(stream, self.file.name):
                    yield Lines([*range(seen + 1, seen + 1 + len(some))], [one.replace(b"\n", b" ") for one in some])
                    seen += len(some)
                return
            while block := stream.readlines(_LINES_BYTES):
                numbers = list(range(seen + 1, seen + len(block) + 1))
                lines = [line.removeprefix(codecs.BOM_UTF8) for line in map(bytes.strip, block)]
                seen += len(block)
                if not all(lines):
                    numbers, lines = list(compress(numbers, lines)), list(filter(None, lines))
                yield Lines(numbers, lines)

    # --- CSV --------------------------------------------------------------------------------------------------------

    def _read_names(self, head: bytes) -> list[str]:
        if self.kind == "parquet":
            return [field.name for field in _flat_schema(_parquet_file(self.file).schema_arrow)]
        if self.kind == "csv":
            text = head.decode(self.encoding, errors="ignore")
            self.delimiter, self.quote, self.above, first = dialect_of(text)
            self.has_header = not any(_NUMERIC.fullmatch(cell.strip()) for cell in first)
            cells = [cell.strip().removeprefix("\ufeff") for cell in first] if self.has_header else [""] * len(first)
            return distinct(cells)
        names: dict[str, None] = {}
        some = [*islice(chain.from_iterable(block.raws for block in self.lines()), _NAMED_BY)]
        for line in some:
            names.update(dict.fromkeys(_flat(decoded(line) or {})))
        if not names or (len(some) == 1 and _lists(decoded(some[0]) or {})):
            expected = (
                "one JSON object a line, or one array of them; if a list within it holds the rows, save that alone"
            )
            raise BadInput("one JSON object is one payment", field=self.file.name, expected=expected)
        return list(names)

    def _csv(self, wanted: list[str], rows: int) -> Iterator[Batch]:
        broken: list[int] = []

        def skip(row: Any) -> str:
            broken.append(row.number)
            reason = f"the line has {row.actual_columns} cells, not {row.expected_columns}"
            self.rejects.append(Reject(row.number, "", reason))
            return "skip"

        seen = 0
        first = 1 + self.above + self.has_header
        with opened(self.file) as stream:
            try:
                for part in self._csv_reader(stream, wanted, skip):
                    lines = _line_numbers(np.arange(seen, seen + part.num_rows) + first, broken)
                    seen += part.num_rows
                    frame = pl.DataFrame(pl.from_arrow(part))
                    for at in range(0, len(frame), rows):
                        yield _without_empty(Batch(frame[at : at + rows], lines[at : at + rows]))
            except pa.ArrowInvalid as error:
                raise BadInput("not a table", field=self.file.name, expected="CSV", got=str(error)[:100]) from None

    def _csv_reader(self, stream: BinaryIO, wanted: list[str], skip: Any) -> Any:
        text = pa.string()
        options = pyarrow.csv.ReadOptions(
            use_threads=False,
            block_size=_BLOCK_BYTES,
            encoding=self.encoding,
            column_names=self.names,
            skip_rows=self.above + self.has_header,
        )
        parse = pyarrow.csv.ParseOptions(
            delimiter=self.delimiter,
            quote_char=self.quote,
            newlines_in_values=True,
            ignore_empty_lines=False,
            invalid_row_handler=skip,
        )
        convert = pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(wanted, text), strings_can_be_null=False, include_columns=wanted
        )
        return pyarrow.csv.open_csv(
            pa.PythonFile(stream, "r"), read_options=options, parse_options=parse, convert_options=convert
        )

    # --- Parquet and JSON -------------------------------------------------------------------------------------------

    def _parquet(self, wanted: list[str], rows: int) -> Iterator[Batch]:
        source = _parquet_file(self.file)
        roots = sorted({name if name in source.schema_arrow.names else name.split(".")[0] for name in wanted})
        seen = 0
        for part in source.iter_batches(batch_size=rows, columns=roots, use_threads=False):
            flat = pa.Table.from_batches([part])
            while any(pa.types.is_struct(kind) for kind in flat.schema.types):
                flat = flat.flatten()
            frame = pl.DataFrame(pl.from_arrow(flat))
            lines = np.arange(seen + 1, seen + 1 + len(frame))
            seen += len(frame)
            yield Batch(frame.select(_plain(frame[name]) for name in wanted), lines)

    def _json(self, wanted: list[str], rows: int) -> Iterator[Batch]:
        for numbers, raws in self.lines():
            objects = [decoded(raw) for raw in raws]
            sound = [(n, _flat(one)) for n, one in zip(numbers, objects, strict=True) if one is not None]
            broken = [n for n, one in zip(numbers, objects, strict=True) if one is None]
            self.rejects += [Reject(n, "", "the line is not a JSON object") for n in broken]
            for at in range(0, len(sound), rows):
                yield _batch_of(sound[at : at + rows], wanted)


def _plain(column: pl.Series) -> pl.Series:
    """Return a column of numbers, times, flags or text: categories become text, and so do lists and bytes."""
    if column.dtype == pl.Binary:
        try:
            return column.cast(pl.String)
        except pl.exceptions.ComputeError:
            return column.bin.encode("hex")
    if column.dtype in (pl.Categorical, pl.Enum):
        return column.cast(pl.String)
    if isinstance(column.dtype, pl.Duration):
        return column.dt.total_microseconds() / 1e6
    if isinstance(column.dtype, pl.List | pl.Array):
        return column.cast(pl.List(pl.String), strict=False).list.join(" ")
    return column


def _line_numbers(numbers: npt.NDArray[np.int64], broken: list[int]) -> npt.NDArray[np.int64]:
    """Return the lines of sound rows: those before them that were broken are counted in."""
    before = np.sort(np.array(broken, dtype=np.int64)) - np.arange(len(broken))
    return numbers + np.searchsorted(before, numbers, side="right")


def _without_empty(batch: Batch) -> Batch:
    empty = batch.frame.select(pl.all_horizontal(pl.all() == "")).to_series()
    if not empty.any():
        return batch
    return Batch(batch.frame.filter(~empty), batch.lines[~empty.to_numpy()])


def _parquet_file(file: Path) -> Any:
    """Open a Parquet file. One that is packed is unpacked into a temporary file: it is read from its end on."""
    try:
        if not is_packed(file):
            return pyarrow.parquet.ParquetFile(file)
        with opened(file) as stream, tempfile.NamedTemporaryFile() as unpacked:
            shutil.copyfileobj(stream, unpacked, _BLOCK_BYTES)
            unpacked.flush()
            return pyarrow.parquet.ParquetFile(pa.OSFile(unpacked.name))  # it stays readable: nobody else finds it
    except pa.ArrowInvalid as error:
        raise BadInput("the Parquet file is damaged", field=file.name, got=str(error)[:100]) from None


def _flat_schema(schema: Any) -> Any:
    flat = schema.empty_table()
    while any(pa.types.is_struct(kind) for kind in flat.schema.types):
        flat = flat.flatten()
    return flat.schema


# --- JSON -----------------------------------------------------------------------------------------------------------


def _lists(whole: dict[str, Any]) -> bool:
    """Tell whether an object holds a list of many objects: then these are the rows, and not the object."""
    return any(isinstance(one, list) and len(one) > 20 and isinstance(one[0], dict) for one in whole.values())


def _flat(whole: dict[str, Any], prefix: str = "") -> dict[str, str | None]:
    """Return the leaves of nested objects as text under dotted names.

    >>> _flat({"a": {"b": 1, "c": [{"d": True}]}, "e": None, "f": ["x", "y"]})
    {'a.b': '1', 'a.c.0.d': 'true', 'e': None, 'f': 'x y'}
    """
    flat: dict[str, str | None] = {}
    for name, value in whole.items():
        path = prefix + name
        if value is None or isinstance(value, str):
            flat[path] = value
        elif isinstance(value, dict):
            flat.update(_flat(value, f"{path}."))
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            flat.update(_flat(value[0], f"{path}.0."))
        elif isinstance(value, list) and value and all(isinstance(one, str) for one in value):
            flat[path] = " ".join(value)
        else:
            flat[path] = msgspec.json.encode(value).decode()
    return flat


def _batch_of(numbered: list[tuple[int, dict[str, str | None]]], wanted: list[str]) -> Batch:
    columns = {name: pl.Series(name, [one.get(name) for _, one in numbered], dtype=pl.String) for name in wanted}
    return Batch(pl.DataFrame(columns), np.array([n for n, _ in numbered], dtype=np.int64))

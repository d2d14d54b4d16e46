"""Spreadsheets are read as the CSV that they would be saved as, where python-calamine is installed."""

from __future__ import annotations

import csv
import functools
import io
from pathlib import Path
from typing import Any

from avalist.domain.errors import BadInput


def opened_sheet(file: Path) -> io.BytesIO:
    """Open the one sheet of a workbook (xlsx, ods) that holds something, as CSV in UTF-8.

    Raises ``BadInput`` for several, for a damaged workbook, and where python-calamine is not installed.
    """
    stat = file.stat()
    return io.BytesIO(_as_csv(file, stat.st_mtime_ns, stat.st_size))


@functools.lru_cache(maxsize=1)  # a file is opened several times while it is understood
def _as_csv(file: Path, mtime_ns: int, size: int) -> bytes:
    rows = _rows(file)
    text = io.StringIO()
    csv.writer(text).writerows([map(_cell, row) for row in rows])
    return text.getvalue().encode()


def _rows(file: Path) -> list[list[Any]]:
    try:
        import python_calamine as calamine
    except ImportError:
        expected = "CSV, Parquet or JSON lines; with 'pip install avalist[sheets]' a workbook of one sheet too"
        raise BadInput(
            "save the sheet as CSV (UTF-8)", field=file.name, expected=expected, got="a spreadsheet"
        ) from None
    try:
        with file.open("rb") as content, calamine.CalamineWorkbook.from_filelike(content) as book:
            sheets = {name: book.get_sheet_by_name(name) for name in book.sheet_names}
            full = {name: rows for name, sheet in sheets.items() if (rows := sheet.to_python())}
    except calamine.CalamineError as error:
        raise BadInput("the workbook cannot be read", field=file.name, got=str(error)[:100]) from None
    if len(full) != 1:
        got = ", ".join(full) or "empty sheets"
        raise BadInput("save the sheet as CSV (UTF-8)", field=file.name, expected="one sheet of payments", got=got)
    return next(iter(full.values()))


def _cell(value: Any) -> object:
    """Return a cell as it stands in CSV: whole numbers have no ``.0``, as a card number has none."""
    return int(value) if isinstance(value, float) and value.is_integer() else value

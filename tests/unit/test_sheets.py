"""Spreadsheets: one sheet of payments is read as the CSV it would be saved as; else what to do is told."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest

from avalist.domain.errors import BadInput
from avalist.history.table import Table
from avalist.history.understanding.propose import propose

_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_SHEETS = "http://schemas.openxmlformats.org/spreadsheetml/2006"
ROWS: list[tuple[str | float, ...]] = [
    ("Order", "Date", "Total", "Fraud"),
    *[(f"o{n}", 45717 + n / 80, n + 0.5, n % 9 == 0) for n in range(90)],
]


def _cell(value: str | float) -> str:
    if isinstance(value, str):
        return f'<c t="inlineStr"><is><t>{value}</t></is></c>'
    return f'<c s="{int(value > 45_000)}"><v>{float(value)}</v></c>'


def workbook(path: Path, *sheets: list[tuple[str | float, ...]]) -> Path:
    """Write a workbook; numbers from 45,000 on are shown as times."""
    numbers = range(1, len(sheets) + 1)
    related = "".join(
        f'<Relationship Id="r{n}" Type="{_OFFICE}/worksheet" Target="worksheets/sheet{n}.xml"/>' for n in numbers
    )
    styles = '<Relationship Id="s" Type="' + _OFFICE + '/styles" Target="styles.xml"/>'
    listed = "".join(f'<sheet name="S{n}" sheetId="{n}" r:id="r{n}"/>' for n in numbers)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr("[Content_Types].xml", f'<Types xmlns="{_PACKAGE}/content-types"/>')
        root = f'<Relationship Id="b" Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/>'
        book.writestr("_rels/.rels", f'<Relationships xmlns="{_PACKAGE}/relationships">{root}</Relationships>')
        book.writestr(
            "xl/_rels/workbook.xml.rels",
            f'<Relationships xmlns="{_PACKAGE}/relationships">{related}{styles}</Relationships>',
        )
        book.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{_SHEETS}/main" xmlns:r="{_OFFICE}"><sheets>{listed}</sheets></workbook>',
        )
        book.writestr(
            "xl/styles.xml",
            f'<styleSheet xmlns="{_SHEETS}/main"><cellXfs><xf numFmtId="0"/><xf numFmtId="22"/></cellXfs></styleSheet>',
        )
        for n, rows in zip(numbers, sheets, strict=True):
            cells = "".join(f"<row>{''.join(map(_cell, row))}</row>" for row in rows)
            content = f'<worksheet xmlns="{_SHEETS}/main"><sheetData>{cells}</sheetData></worksheet>'
            book.writestr(f"xl/worksheets/sheet{n}.xml", content)
    return path


def test_the_one_full_sheet_is_read(tmp_path: Path) -> None:
    file = workbook(tmp_path / "f.xlsx", [], ROWS)
    mapping = propose(file).ready().mapping
    assert mapping is not None
    assert (mapping.payment_id, mapping.occurred_at, mapping.amount) == ("Order", "Date", "Total")
    (batch,) = Table(file).batches()
    assert batch.frame.row(1) == ("o1", "2025-03-01 00:18:00", "1.5", "0")


def test_of_several_sheets_one_is_to_be_saved(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="save the sheet as CSV") as error:
        propose(workbook(tmp_path / "f.xlsx", ROWS, ROWS))
    assert error.value.got == "S1, S2"


def test_without_the_library_the_sheet_is_to_be_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    with pytest.raises(BadInput, match="save the sheet as CSV") as error:
        propose(workbook(tmp_path / "f.xlsx", ROWS))
    assert "avalist[sheets]" in error.value.expected

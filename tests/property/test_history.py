"""Reading by columns and sorting on disk give what reading row by row gives, in known-time order."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avalist.domain.events import WireEvent
from avalist.history.mapping import Mapping, decode_mapping
from avalist.history.rejects import Rejects
from avalist.history.rowfile import RowHistory
from avalist.history.spill import Spill
from tests.rows import Row, one_by_one
from tests.unit.test_history import MAPPING, START

KEY = b"k" * 32
OUTCOMES = (
    'fraud = "bad"',
    'fraud = "bad"\nauth_approved = "ok"\ncaptured = "cap"',
    'early_warning_at = "efw"\nfraud_reported_at = "cb"',
)
times = st.integers(0, 40 * 24).map(lambda hours: START + dt.timedelta(hours=hours))
few = st.sampled_from(["", "a", "b", "c"])
row = st.fixed_dictionaries({
    "id": st.integers(0, 60).map(lambda n: f"p{n}"), "t": times, "amt": st.integers(0, 10**7).map(lambda n: n / 100),
    "user": few, "pan": few, "sku": few, "lat": st.none() | st.floats(-90, 90, width=32), "bad": st.booleans(),
    "ok": st.none() | st.booleans(), "cap": st.booleans(), "efw": st.none() | times, "cb": st.none() | times,
})  # fmt: skip


def by_columns(rows: list[Row], mapping: Mapping, folder: Path, run_rows: int) -> list[WireEvent]:
    (folder / "f").write_bytes(b"\n".join(map(msgspec.json.encode, rows)))
    history = RowHistory(folder / "f", mapping, mapping.merchant_schema(), KEY, folder / "runs", run_rows=run_rows)
    with Rejects(folder / "r.csv") as rejects:
        history.survey(rejects)
    return [event for batch in history.events() for event in batch]


@settings(max_examples=60)
@given(
    rows=st.lists(row, min_size=1, max_size=40),
    outcomes=st.sampled_from(OUTCOMES),
    capture=st.sampled_from(["assumed", "explicit"]),
    run_rows=st.sampled_from([1, 7, 100]),
)
def test_by_columns_is_row_by_row(rows: list[Row], outcomes: str, capture: str, run_rows: int) -> None:
    mapping = decode_mapping((MAPPING % (outcomes, capture)).replace("[7, 7]", "[25.0, 90.0]"))
    with TemporaryDirectory() as folder:
        found = by_columns(rows, mapping, Path(folder), run_rows)
    assert found == one_by_one(rows, mapping, mapping.merchant_schema(), KEY)
    known = [event.received_at for event in found]
    assert all(a is not None and b is not None and a <= b for a, b in pairwise(known))
    for event in found:
        assert msgspec.json.decode(msgspec.json.encode(event), type=WireEvent) == event


@pytest.mark.parametrize("run_rows", [300, 5000])
def test_many_runs_and_ranges_give_every_row_once_in_order(tmp_path: Path, run_rows: int) -> None:
    draw = pl.int_range(20_000, eager=True).shuffle(seed=1)
    frame = pl.DataFrame({"at": draw % 7919, "row": draw})
    spill = Spill(tmp_path / "s", "at", run_rows)
    for part in frame.iter_slices(700):
        spill.add(part)
    ranges = list(spill.ranges(spill.bounds(1024)))
    assert len(ranges) > 10
    found = pl.concat([range.sort("at", "row") for range in ranges if len(range)])
    assert found.equals(frame.sort("at", "row"))


def test_more_rows_take_no_more_memory_at_once(tmp_path: Path) -> None:
    spill = Spill(tmp_path / "s", "at", 1000)
    for n in range(0, 50_000, 500):
        spill.add(pl.DataFrame({"at": range(n, n + 500)}))
    longest = max(len(range) for range in spill.ranges(spill.bounds(1024)))
    assert longest <= 2048

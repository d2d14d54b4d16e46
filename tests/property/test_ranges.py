"""Ranges: the binary search finds what a look through all of them finds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from avalist.enrich.ranges import Ranges, Width, pack

Row = tuple[int, int, int]


def rows_within(top: int) -> st.SearchStrategy[list[Row]]:
    ends = st.tuples(st.integers(0, top), st.integers(0, top), st.integers(1, 70_000))
    return st.lists(ends.map(lambda row: (min(row[:2]), max(row[:2]), row[2])), max_size=12)


def looked_through(rows: list[Row], number: int) -> int:
    return next((value for first, last, value in sorted(rows) if first <= number <= last), 0)


def agree(rows: list[Row], width: Width, numbers: list[int]) -> None:
    ranges = Ranges(pack(rows, width))
    assert [ranges.value(n) for n in numbers] == [looked_through(rows, n) for n in numbers]


@given(rows_within(60))
def test_close_and_overlapping_ranges(rows: list[Row]) -> None:
    agree(rows, 4, list(range(62)))


@given(rows_within(2**32 - 1), st.lists(st.integers(0, 2**32 - 1)))
def test_ranges_of_ipv4(rows: list[Row], numbers: list[int]) -> None:
    edges = [min(max(end + d, 0), 2**32 - 1) for row in rows for end in row[:2] for d in (-1, 0, 1)]
    agree(rows, 4, [*numbers, *edges, 0, 2**32 - 1])


@given(rows_within(2**64 - 1))
def test_ranges_of_ipv6(rows: list[Row]) -> None:
    edges = [min(max(end + d, 0), 2**64 - 1) for row in rows for end in row[:2] for d in (-1, 0, 1)]
    agree(rows, 8, [*edges, 0, 2**64 - 1])

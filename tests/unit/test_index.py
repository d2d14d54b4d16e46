"""Indexes from ids to positions, and how they forget."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avalist.app.index import Generations, IdIndex


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 2**62)), max_size=2000))
def test_an_index_is_a_dict(puts: list[tuple[int, int]]) -> None:
    index, model = IdIndex(), dict[str, int]()
    for n, value in puts:
        index.put(str(n), value)
        model[str(n)] = value
    assert [index.get(str(n)) for n in range(301)] == [model.get(str(n), -1) for n in range(301)]
    assert len(index) == len(model)


def test_an_index_grows_and_keeps_all() -> None:
    index = IdIndex()
    for n in range(50_000):
        index.put(f"id-{n}", n)
    assert all(index.get(f"id-{n}") == n for n in range(0, 50_000, 7))
    assert index.get("id-50000") == -1


@pytest.mark.parametrize("id", ["", "\x00", "é", "x" * 10_000])
def test_any_text_is_an_id(id: str) -> None:
    index = IdIndex()
    index.put(id, 0)
    assert (index.get(id), index.get(id + "x")) == (0, -1)


@pytest.mark.parametrize(("age", "held"), [(0, 7), (99, 7), (100, 7), (199, 7), (200, -1), (10_000, -1)])
def test_an_entry_is_kept_for_one_period_and_gone_after_two(age: int, held: int) -> None:
    index = Generations(100)
    index.put("a", 7, 1000)
    index.put("b", 8, 1000 + age)
    assert (index.get("a"), index.get("b")) == (held, 8)


def test_an_entry_of_the_end_of_a_period_outlives_its_start() -> None:
    index = Generations(100)
    for id, at_ms in (("first", 0), ("last", 99), ("next", 150), ("later", 250)):
        index.put(id, 1, at_ms)
    assert [index.get(id) for id in ("first", "last", "next", "later")] == [-1, -1, 1, 1]


def test_a_new_value_replaces_the_old_ones() -> None:
    index = Generations(100)
    index.put("a", 1, 0)
    index.put("a", 2, 100)
    assert index.get("a") == 2


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 60)), max_size=60))
def test_nothing_is_forgotten_within_a_period(steps: list[tuple[str, int]]) -> None:
    index, now, last = Generations(100), 0, dict[str, tuple[int, int]]()
    for value, (id, later) in enumerate(steps):
        now += later
        index.put(id, value, now)
        last[id] = (value, now)
    for id, (value, at_ms) in last.items():
        assert index.get(id) in ((value,) if now - at_ms < 100 else (value, -1))
        assert now - at_ms < 400 or index.get(id) == -1  # generations begin with an entry, so gaps stretch them

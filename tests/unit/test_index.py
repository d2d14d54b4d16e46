"""Indexes from ids to positions, and how they forget."""

from __future__ import annotations

from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avalist.app.index import Generations, IdIndex, hash_ids


def put(index: Generations, id: str, value: int, at_ms: int) -> None:
    index.put(hash_ids([id]), [value], [at_ms])


def get(index: Generations, *ids: str) -> list[int]:
    return index.get(hash_ids(ids)).tolist()  # type: ignore[no-any-return]


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 2**62)), max_size=2000))
def test_an_index_is_a_dict(puts: list[tuple[int, int]]) -> None:
    index, model = IdIndex(), dict[int, int]()
    for n, value in puts:
        index.put(hash_ids([str(n)]), [value])
        model[n] = value
    assert index.get(hash_ids(map(str, range(301)))).tolist() == [model.get(n, -1) for n in range(301)]
    assert len(index) == len(model)


def test_an_index_grows_and_keeps_all() -> None:
    index, ids = IdIndex(), hash_ids(f"id-{n}" for n in range(50_001))
    index.put(ids[:50_000], range(50_000))
    assert index.get(ids).tolist() == [*range(50_000), -1]
    assert len(index) == 50_000


@pytest.mark.parametrize("id", ["", "\x00", "é", "x" * 10_000])
def test_any_text_is_an_id(id: str) -> None:
    index = IdIndex()
    index.put(hash_ids([id]), [0])
    assert index.get(hash_ids([id, id + "x"])).tolist() == [0, -1]


@pytest.mark.parametrize(("age", "held"), [(0, 7), (99, 7), (100, 7), (199, 7), (200, -1), (10_000, -1)])
def test_an_entry_is_kept_for_one_period_and_gone_after_two(age: int, held: int) -> None:
    index = Generations(100)
    put(index, "a", 7, 1000)
    put(index, "b", 8, 1000 + age)
    assert get(index, "a", "b") == [held, 8]


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 90)), max_size=40))
def test_a_batch_is_put_as_one_by_one(steps: list[tuple[str, int]]) -> None:
    together, alone = Generations(100), Generations(100)
    ids, at_ms = [id for id, _ in steps], [*accumulate(later for _, later in steps)]
    together.put(hash_ids(ids), range(len(ids)), at_ms)
    for value, (id, at) in enumerate(zip(ids, at_ms, strict=True)):
        put(alone, id, value, at)
    assert get(together, *"abcdef") == get(alone, *"abcdef")


def test_an_entry_of_the_end_of_a_period_outlives_its_start() -> None:
    index = Generations(100)
    for id, at_ms in (("first", 0), ("last", 99), ("next", 150), ("later", 250)):
        put(index, id, 1, at_ms)
    assert get(index, "first", "last", "next", "later") == [-1, -1, 1, 1]


def test_a_new_value_replaces_the_old_ones() -> None:
    index = Generations(100)
    put(index, "a", 1, 0)
    put(index, "a", 2, 100)
    assert get(index, "a") == [2]


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 60)), max_size=60))
def test_nothing_is_forgotten_within_a_period(steps: list[tuple[str, int]]) -> None:
    index, now, last = Generations(100), 0, dict[str, tuple[int, int]]()
    for value, (id, later) in enumerate(steps):
        now += later
        put(index, id, value, now)
        last[id] = (value, now)
    for id, (value, at_ms) in last.items():
        assert get(index, id)[0] in ((value,) if now - at_ms < 100 else (value, -1))
        assert now - at_ms < 400 or get(index, id) == [-1]  # generations begin with an entry, so gaps stretch them


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.integers(0, 90), st.integers(-256, 255), st.integers(0, 255)),
        max_size=40,
    )
)
def test_values_are_changed_together_as_one_by_one(steps: list[tuple[str, int, int, int]]) -> None:
    together, alone = Generations(100), Generations(100)
    at_ms = [*accumulate(later for _, later, _, _ in steps)]
    changes = [
        (id, 1000 + n, keep, add, at) for n, ((id, _, keep, add), at) in enumerate(zip(steps, at_ms, strict=True))
    ]
    for one in changes:
        merge(alone, [one])
    while changes:
        most = together.together([at for *_, at in changes])
        merge(together, changes[:most])
        changes = changes[most:]
    assert get(together, *"abcdef") == get(alone, *"abcdef")


def merge(index: Generations, changes: list[tuple[str, int, int, int, int]]) -> None:
    ids, *numbers = zip(*changes, strict=True)
    values, keep, add, at_ms = (np.array(column, dtype=np.int64) for column in numbers)
    held = [value if value >= 0 else new for value, new in zip(get(index, *ids), values.tolist(), strict=True)]
    index.merge(hash_ids(ids), values, keep, add, at_ms)
    if len(changes) == 1:
        assert values.tolist() == get(index, *ids) == [held[0] & numbers[1][0] | numbers[2][0]]

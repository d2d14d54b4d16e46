"""Blocks that go key by key say what events one by one say: at any size, wherever the arena or a table is full."""

from collections.abc import Iterator
from contextlib import contextmanager

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from avalist.domain.row import AT, KIND, T
from avalist.domain.schema import DAY_MS
from avalist.features import state as state_module
from avalist.features.arena import BUMP, LARGEST
from avalist.features.locate import SEEN, UNSEEN, stepped
from avalist.features.plan import compile_plan
from avalist.features.state import F32, Row, State

from .test_kernel import (
    FEATURES,
    MANY_PLAN,
    PLAN,
    QUIET,
    SCHEMA,
    START_MS,
    STEP_MS,
    assert_same,
    brute_force,
    column,
    examples,
    histories,
    rows_of_keys,
)


@contextmanager
def key_by_key(block: int) -> Iterator[None]:
    """Let every block of at most so many events go key by key, even one of a single event."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state_module, "SHORT", 0)
        patch.setattr(state_module, "BLOCK", block)
        yield


def some_rows(seed: int, n: int, keys: int = 6) -> Row:
    draw = np.random.default_rng(seed)
    rows = np.zeros((n, PLAN.width), dtype=np.int64)
    rows[:, KIND] = draw.choice([0, 0, 0, *range(11)], n)
    rows[:, AT] = START_MS + np.cumsum(draw.choice([0, 0, 1, 9, 5664], n)) * STEP_MS
    rows[:, T] = rows[:, AT] - draw.choice([0, 0, 1, 4, 96], n) * STEP_MS
    rows[:, 3:5] = draw.integers(-1, 2, (n, 2))
    rows[:, 6:8] = draw.integers(0, 500, (n, 2))
    rows[:, 8:] = draw.integers(0, keys, (n, PLAN.width - 8))
    return rows


@given(histories(), QUIET, st.sampled_from([1, 3, 8, 64]))
@examples(200)
def test_columns_equal_brute_force(rows: Row, quiet_events: int, block: int) -> None:
    with key_by_key(block):
        assert_same(State(PLAN, quiet_events).run(rows), brute_force(SCHEMA, FEATURES, rows))


@given(histories(), QUIET, st.integers(1, 30), st.data())
@examples(100)
def test_reads_and_digest_are_those_of_events_one_by_one(
    rows: Row, quiet_events: int, block: int, data: st.DataObject
) -> None:
    reads = np.array(data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows))), dtype=np.bool_)
    one, other = State(PLAN, quiet_events), State(PLAN, quiet_events)
    with key_by_key(block):
        columns = one.run(rows, reads)
    assert_same(columns, other.run(rows)[reads])
    assert one.digest() == other.digest()


@pytest.mark.parametrize("sizes", [[700], [65] * 11, [1, 64, 65, 300, 2, 400], [64] * 11])
def test_blocks_of_any_size_are_one(sizes: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Some go event by event and others key by key, in one history."""
    monkeypatch.setattr(state_module, "SHORT", 64)
    rows = some_rows(7, 700)
    steps, parts = State(PLAN), State(PLAN)
    wanted = np.concatenate([steps.run(row[None]) for row in rows])
    got = np.concatenate([parts.run(part) for part in np.split(rows, np.cumsum(sizes)) if len(part)])
    assert_same(got, wanted)
    assert parts.digest() == steps.digest()


def test_a_full_arena_stops_a_block_and_lets_it_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, wide, fills = some_rows(8, 3000, keys=300), State(PLAN), []
    wanted, grow = wide.run(rows), State._grow

    def noted(state: State, words: int) -> None:
        fills.append(int(state.meta[BUMP]))
        grow(state, words)

    monkeypatch.setattr(state_module, "SHORT", 0)
    monkeypatch.setattr(state_module, "_GROWTH_WORDS", 40_000)
    monkeypatch.setattr(State, "_room", lambda state: 0)
    monkeypatch.setattr(State, "_grow", noted)
    narrow = State(PLAN)
    assert_same(narrow.run(rows), wanted)
    assert len(set(fills)) > 2
    assert narrow.digest() == wide.digest()


def test_a_table_that_grows_forgets_no_key_that_an_earlier_event_sees() -> None:
    """The keys of the later events come first: those of another entity."""
    old = np.zeros((6000, 6), dtype=np.int64)
    old[:, 5] = np.arange(6000) + 1
    new = np.zeros((9000, 6), dtype=np.int64)
    new[:, 0] = np.arange(9000) + 10_000
    last_ms = START_MS + MANY_PLAN.memory_ms
    rows = np.concatenate([rows_of_keys(old, last_ms), rows_of_keys(new, last_ms + DAY_MS)])
    blocks, steps = State(MANY_PLAN), State(MANY_PLAN)
    blocks.run(rows_of_keys(old, START_MS))
    steps.run(rows_of_keys(old, START_MS))
    before = blocks.meta[LARGEST]
    columns = blocks.run(rows)
    assert blocks.meta[LARGEST] > before
    assert (columns[:6000, MANY_PLAN.columns.index("e5_known")] == SEEN).all()
    assert (columns[6000:, MANY_PLAN.columns.index("e0_known")] == UNSEEN).all()
    assert_same(columns, in_parts(steps, rows, 50), MANY_PLAN.columns)
    assert blocks.digest() == steps.digest()


def in_parts(state: State, rows: Row, size: int) -> F32:
    return np.concatenate([state.run(rows[first : first + size]) for first in range(0, len(rows), size)])


def test_an_event_for_which_there_is_no_memory_is_not_half_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(state: State, words: int) -> None:
        raise MemoryError

    monkeypatch.setattr(state_module, "_GROWTH_WORDS", 40_000)
    rows, state = some_rows(9, 3), State(PLAN)
    with monkeypatch.context() as patch:
        patch.setattr(State, "_grow", refuse)
        with pytest.raises(MemoryError):
            state.run(rows[:1])
    fresh = State(PLAN)
    assert_same(state.run(rows[1:]), fresh.run(rows[1:]))
    assert state.digest() == fresh.digest()


@pytest.mark.parametrize("block", [1, 2, 64])
def test_a_plan_that_reads_rows_alone_needs_no_key(block: int) -> None:
    features = [column("value"), column("hour"), column("weekday")]
    rows = some_rows(10, 20)
    plain, plan = brute_force(SCHEMA, features, rows), compile_plan(SCHEMA, features)
    assert_same(State(plan).run(rows), plain, plan.columns)
    with key_by_key(block):
        assert_same(State(plan).run(rows), plain, plan.columns)


@given(st.integers(-(2**50), 2**50), st.integers(1, 2**40), st.sampled_from([-1, 0, 1]))
def test_steps_are_whole_quotients(t: int, step: int, beside: int) -> None:
    at_edge = t // step * step + beside
    assert stepped(t, step) == t // step
    assert stepped(at_edge, step) == at_edge // step

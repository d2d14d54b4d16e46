"""The kernel against brute force, and against itself run otherwise."""

import os
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from avalist.domain.records import FoldKind
from avalist.domain.row import AT, KIND, LARGEST_NUMBER, MISSING, T
from avalist.domain.schema import DAY_MS, CategoryDecl, EntityDecl, NumberDecl, Schema
from avalist.features import state as state_module
from avalist.features.arena import LARGEST
from avalist.features.declare import ACTIVITY, Aggregate, Feature, ratio
from avalist.features.layout import MAX_TILES
from avalist.features.plan import compile_plan
from avalist.features.state import F32, QUIET_EVENTS, Row, State

from .oracle import evaluate

NIGHTLY = os.environ.get("AVALIST_HYPOTHESIS") == "nightly"
START_MS = 20_000 * DAY_MS
STEP_MS = 15_000
SHORT = {"window_ms": 4 * STEP_MS, "step_ms": STEP_MS}
LONG = {"window_ms": DAY_MS, "step_ms": DAY_MS // 60}
LAGGED = {"window_ms": 4 * STEP_MS, "step_ms": STEP_MS, "lag_ms": 4 * STEP_MS}
NARROW = {"window_ms": STEP_MS, "step_ms": STEP_MS}
"""Shares the streams of the windows of its step."""
OWN = {"include_current": True}
JUDGED: tuple[Aggregate, ...] = ("captured", "frauds", "fraud_mean", "since_fraud", "since_first_fraud", "clean")
SPENT: tuple[Aggregate, ...] = ("count", "sum", "mean", "max")
SPREAD: tuple[Aggregate, ...] = ("min", "variance")
LATEST: tuple[Aggregate, ...] = ("last", "since_kth", "mean_last")
LARGE, SMALL = {"from_minor": 250}, {"below_minor": 250}
DECLINED = {"kinds": 1 << FoldKind.AUTH_DECLINED}
SCHEMA = Schema(
    base_currency="EUR",
    entities=(EntityDecl("card", "card"), EntityDecl("device", "device")),
    numbers=(NumberDecl("items", "items", decimals=1),),
    categories=(CategoryDecl("kind", "kind"),),
    memory_d=1,
)


def examples(count: int) -> settings:
    return settings(max_examples=10_000 if NIGHTLY else count, deadline=None, derandomize=not NIGHTLY)


def column(aggregate: Aggregate, entity: str = "", **more: Any) -> Feature:
    name = "_".join([entity, aggregate, *(f"{k}{v}" for k, v in more.items())])
    return Feature(name=name, aggregate=aggregate, entity=entity, **more)


def columns_of(entity: str) -> list[Feature]:
    active, items = {"kinds": ACTIVITY}, {"field": "items"}
    share = column("count", entity, **SHORT), column("sum", entity, **LONG, **items, **active)
    prior = "" if entity == "merchant" else column("rate", "merchant", **LAGGED, strength=2.5).name
    return [
        column("known", entity), column("since_last", entity), column("since_first", entity), *share,
        column("sum", entity, **SHORT), column("max", entity, **SHORT), column("count", entity, **SHORT, **DECLINED),
        column("max", entity, **LONG, **items, **active), column("mean", entity, **SHORT, **items, **active),
        column("count", entity, **LONG, kinds=(1 << 10) - 1), column("count", entity, **LAGGED),
        column("distinct", entity, **SHORT, of="device", **active),
        column("distinct", entity, **LONG, of="card+device"),
        column("distinct", entity, **LONG, of="device", **active),
        *(column(aggregate, entity, **window) for aggregate in JUDGED for window in (SHORT, LONG, LAGGED, NARROW)),
        *(column(aggregate, entity, **window, **OWN) for aggregate in SPENT for window in (SHORT, LONG, NARROW)),
        *(column(aggregate, entity, **SHORT, **items, **active, **OWN) for aggregate in SPENT),
        column("count", entity, **SHORT, **DECLINED, **OWN), column("mean", entity, **NARROW),
        column("rate", entity, **LAGGED, strength=2.5, **({"prior": prior} if prior else {})),
        ratio(f"{entity}_share", share[0].name, share[1].name),
    ]  # fmt: skip


def more_columns_of(entity: str) -> list[Feature]:
    active, items = {"kinds": ACTIVITY}, {"field": "items"}
    return [
        *(column(aggregate, entity, **window, **more) for aggregate in SPREAD for window in (SHORT, NARROW)
          for more in ({}, OWN, LARGE, {**items, **active})),
        *(column(aggregate, entity, **SHORT, **limits, **more) for aggregate in SPENT for limits in (LARGE, SMALL)
          for more in ({}, OWN)),
        column("count", entity, **LONG, **active, from_minor=1, below_minor=251),
        column("share", entity, **SHORT, **LARGE), column("share", entity, **LONG, of="merchant"),
        column("share", entity, **SHORT, **DECLINED, among=ACTIVITY | DECLINED["kinds"]),
        *(column(aggregate, entity, **window, latest=k) for aggregate in LATEST for k in (1, 3)
          for window in (SHORT, LONG)),
        *(column(aggregate, entity, **SHORT, **items, **active, latest=2) for aggregate in LATEST),
        column("last", entity, **LONG, **LARGE, latest=2), column("since_kth", entity, **SHORT, **DECLINED, latest=2),
        column("speed", entity, **SHORT, place=("items", "items")),
        column("speed", entity, **LONG, **active, place=("items", "items")),
        column("distinct", entity, **LONG, of="card+device+kind", **active),
    ]  # fmt: skip


FEATURES = [
    column("value"), column("value", field="items"), column("hour"), column("weekday"),
    *(f for entity in ("merchant", "card", "card+device", "kind") for f in columns_of(entity)),
    *(f for entity in ("card", "card+kind+device") for f in more_columns_of(entity)),
]  # fmt: skip
PLAN = compile_plan(SCHEMA, FEATURES)
UNORDERED = compile_plan(SCHEMA, [f for f in FEATURES if not (f.latest or f.place)])
"""What does not depend on the order of events of one time."""
MEMORY_STEPS = PLAN.memory_ms // STEP_MS
KEY = st.integers(0, 2)
EVENT = st.fixed_dictionaries({
    "kind": st.sampled_from([0, 0, 0, *range(11)]),
    "gap": st.sampled_from([0, 0, 0, 0, 1, 2, 3, 4, 5, 8, 9, 96, 5664, MEMORY_STEPS, MEMORY_STEPS + 1]),
    "late": st.sampled_from([0, 0, 0, 0, 1, 3, 4, 5, 8, 9, 96, MEMORY_STEPS, MEMORY_STEPS + 1]),
    "jitter": st.tuples(st.integers(-1, 1), st.integers(-1, 1)),
    "deltas": st.tuples(st.integers(0, 1), st.integers(-1, 1)),
    "values": st.tuples(
        st.sampled_from([0, 1, 250, 10**12]), st.sampled_from([MISSING, -LARGEST_NUMBER, -7, 0, 3, LARGEST_NUMBER])
    ),
    "keys": st.tuples(KEY, KEY, KEY),
})  # fmt: skip

QUIET = st.sampled_from([0, 2, QUIET_EVENTS, 255])
"""Events after which a key turns to tiles."""


@st.composite
def histories(draw: st.DrawFn, most: int = 30) -> Row:
    """Rows whose times lie on a step's edge or 1 ms beside it, arrivals never decreasing."""
    rows, edge, at = [], START_MS, 0
    for event in draw(st.lists(EVENT, min_size=1, max_size=most)):
        edge += event["gap"] * STEP_MS
        at = max(at, edge + event["jitter"][0])
        t = min(at, edge - event["late"] * STEP_MS + event["jitter"][1])
        rows.append([event["kind"], at, t, *event["deltas"], t + 7_777_777, *event["values"], *event["keys"]])
    return np.array(rows, dtype=np.int64)


def assert_same(got: F32, wanted: F32, names: tuple[str, ...] = PLAN.columns) -> None:
    """Bit for bit, any NaN being as good as another."""
    same = (got.view(np.uint32) == wanted.view(np.uint32)) | (np.isnan(got) & np.isnan(wanted))
    assert not [(int(d), names[c], got[d, c], wanted[d, c]) for d, c in np.argwhere(~same)]


def brute_force(schema: Schema, features: list[Feature], rows: Row) -> F32:
    plain = rows.tolist()
    return np.array([evaluate(schema, features, plain, d) for d in range(len(plain))], dtype=np.float32)


@given(histories(), QUIET)
@examples(400)
def test_columns_equal_brute_force(rows: Row, quiet_events: int) -> None:
    assert_same(State(PLAN, quiet_events).run(rows), brute_force(SCHEMA, FEATURES, rows))


@given(histories(), st.integers(0, 30))
@examples(100)
def test_storage_and_snapshots_change_nothing(rows: Row, cut: int) -> None:
    """Tiles from the first event, after some, or hardly ever; and a state restored from its two arrays at any point."""
    wanted = State(PLAN)
    columns = wanted.run(rows)
    for quiet_events in (0, 1, 4, 255):
        before = State(PLAN, quiet_events)
        first = before.run(rows[:cut])
        after = State(PLAN)
        after.mem, after.meta = before.mem.copy(), before.meta.copy()
        assert_same(np.concatenate([first, after.run(rows[cut:])]), columns)
        assert after.digest() == wanted.digest()


@given(histories(), st.lists(st.integers(0, 30)))
@examples(60)
def test_chunks_steps_and_one_run_are_one(rows: Row, cuts: list[int]) -> None:
    whole, stepped, chunked = State(PLAN), State(PLAN), State(PLAN)
    wanted = whole.run(rows)
    assert_same(np.array([stepped.run(row[None])[0] for row in rows]), wanted)
    assert_same(np.concatenate([chunked.run(part) for part in np.split(rows, sorted(cuts))]), wanted)
    assert whole.digest() == stepped.digest() == chunked.digest()


@given(histories(), st.data())
@examples(60)
def test_reading_changes_nothing(rows: Row, data: st.DataObject) -> None:
    reads = np.array(data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows))), dtype=np.bool_)
    some, every = State(PLAN), State(PLAN)
    assert_same(some.run(rows, reads), every.run(rows)[reads])
    before = some.digest()
    some.run(np.array([[FoldKind.READ_ONLY, *rows[-1, 1:]]]))
    assert before == some.digest() == every.digest()


@given(histories(), histories())
@examples(100)
def test_forgotten_is_never_seen(before: Row, after: Row) -> None:
    after[:, [AT, T]] += before[-1, AT] - after[0, AT] + PLAN.memory_ms + 1
    both, fresh = State(PLAN), State(PLAN)
    both.run(before)
    assert_same(both.run(after), fresh.run(after))
    assert both.digest() == fresh.digest()


@given(histories(most=12), st.randoms(use_true_random=False))
@examples(60)
def test_events_of_one_arrival_commute(rows: Row, random: Any) -> None:
    rows = rows[(rows[:, KIND] <= FoldKind.SESSION) & (rows[:, AT] - rows[:, T] < PLAN.memory_ms // 2)]
    rows[:, AT] = rows[:, AT].max(initial=START_MS)
    rows = rows[rows[:, AT] - rows[:, T] <= PLAN.memory_ms]
    one, other = State(UNORDERED), State(UNORDERED)
    one.run(rows)
    other.run(rows[random.sample(range(len(rows)), len(rows))])
    assert one.digest() == other.digest()


BUSY_SCHEMA = Schema(
    base_currency="EUR", entities=(EntityDecl("card", "card"), EntityDecl("device", "device")), memory_d=1
)
FULL = {"window_ms": (MAX_TILES - 2) * 1000, "step_ms": 1000}
BUSY = [column("sum", "card", **FULL), column("max", "card", **FULL), column("count", "card", **FULL, **DECLINED),
        column("clean", "card", window_ms=20_000, lag_ms=31_000, step_ms=1000),
        column("mean", "card", **{**FULL, "window_ms": 5000}, **OWN),
        column("frauds", "card", window_ms=31_000, lag_ms=31_000, step_ms=1000),
        column("variance", "card", **FULL, **SMALL), column("min", "card", **FULL),
        column("last", "card", **FULL, latest=5),
        column("distinct", "card", **FULL, of="device")]  # fmt: skip
BUSY_PLAN = compile_plan(BUSY_SCHEMA, BUSY)


@given(st.integers(0, 2**32), st.sampled_from([300, 1000, 3000]), QUIET)
@examples(16)
def test_full_lists_of_tiles_equal_brute_force(seed: int, pace_ms: int, quiet_events: int) -> None:
    draw, n = np.random.default_rng(seed), 200
    rows = np.zeros((n, BUSY_PLAN.width), dtype=np.int64)
    rows[:, KIND] = draw.choice([0, 0, 0, int(FoldKind.AUTH_DECLINED)], n)
    rows[:, AT] = START_MS + np.cumsum(draw.integers(0, 2, n) * pace_ms)
    late = draw.choice([0, 0, 1, 999, 1000, 30_000, 61_000, 62_000, 63_000], n)
    rows[:, T] = rows[:, AT] - late + draw.integers(-1, 1, n)
    rows[:, 4:7] = draw.integers(-1, 2, (n, 3))
    rows[:, 7:] = np.stack([np.ones(n), draw.integers(1, 50, n)], axis=1)
    some, other = State(BUSY_PLAN, quiet_events), State(BUSY_PLAN)
    assert_same(some.run(rows), brute_force(BUSY_SCHEMA, BUSY, rows), BUSY_PLAN.columns)
    other.run(rows)
    assert some.digest() == other.digest()


@given(st.integers(0, 2**32), st.sampled_from([1, 30, 300]), st.sampled_from([0, 2, QUIET_EVENTS]))
@examples(16)
def test_windows_read_seldom_are_windows_read_often(seed: int, pace_ms: int, quiet_events: int) -> None:
    """Running windows and counts catch up: with rings that are full, late events, and sets that become sketches."""
    draw, n = np.random.default_rng(seed), 600
    rows = np.zeros((n, BUSY_PLAN.width), dtype=np.int64)
    rows[:, KIND] = draw.choice([0, 0, 0, int(FoldKind.AUTH_DECLINED)], n)
    rows[:, AT] = START_MS + np.cumsum(draw.integers(0, 4, n) * pace_ms)
    rows[:, T] = rows[:, AT] - draw.choice([0, 0, 1, 999, 1000, 30_000], n)
    rows[:, 4:7] = draw.integers(-1, 2, (n, 3))
    rows[:, 7:] = np.stack([draw.integers(1, 3, n), draw.integers(1, 200, n)], axis=1)
    reads = draw.random(n) < draw.choice([0.02, 0.5])
    seldom, often = State(BUSY_PLAN, quiet_events), State(BUSY_PLAN)
    assert_same(seldom.run(rows, reads), often.run(rows)[reads], BUSY_PLAN.columns)
    assert seldom.digest() == often.digest()


MANY_SCHEMA = Schema(base_currency="EUR", entities=tuple(EntityDecl(f"e{i}", "x") for i in range(6)), memory_d=1)
MANY = [f for e in MANY_SCHEMA.entities for f in (column("known", e.name), column("sum", e.name, **SHORT),
        column("distinct", e.name, **SHORT, of="e0"))]  # fmt: skip
MANY_PLAN = compile_plan(MANY_SCHEMA, MANY)


def rows_of_keys(keys: Row, at_ms: int) -> Row:
    rows = np.zeros((len(keys), MANY_PLAN.width), dtype=np.int64)
    rows[:, [AT, T]] = at_ms
    rows[:, 6] = np.arange(len(keys)) + 1
    rows[:, 7:] = keys
    return rows


def test_tables_grow_under_many_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    wide, narrow = State(MANY_PLAN), State(MANY_PLAN)
    keys = np.arange(1, 90_001, dtype=np.int64).reshape(15_000, 6)
    rows = np.concatenate([rows_of_keys(keys, START_MS), rows_of_keys(keys, START_MS)])
    out = wide.run(rows)
    assert wide.live_keys == 90_000
    assert wide.meta[LARGEST] >= 512
    assert (out[:15_000, 0::3] == 1).all()
    assert_same(out[15_000:, 1::3], np.repeat(rows[:15_000, 6:7], 6, axis=1).astype(np.float32))
    assert (out[15_000:, 2::3] == 1).all()
    monkeypatch.setattr(state_module, "_GROWTH_WORDS", 40_000)
    narrow = State(MANY_PLAN)
    assert_same(narrow.run(rows), out)
    assert len(narrow.mem) < len(wide.mem)
    assert narrow.digest() == wide.digest()


@pytest.mark.parametrize("rebirths", [10, 4000])
def test_forgotten_is_never_seen_whether_or_not_freed(rebirths: int) -> None:
    """New keys make tables grow and drop the forgotten ones, some of which are reborn by the same event."""
    both, fresh = State(MANY_PLAN), State(MANY_PLAN)
    old = np.arange(1, 36_001, dtype=np.int64).reshape(6000, 6)
    both.run(rows_of_keys(old, START_MS))
    new = old[:rebirths].copy()
    new[:, :3] += 1_000_000
    rows = rows_of_keys(np.repeat(new, 2, axis=0), START_MS + MANY_PLAN.memory_ms + 1)
    assert_same(both.run(rows), fresh.run(rows), MANY_PLAN.columns)
    assert both.digest() == fresh.digest()
    assert (both.live_keys < 36_000) == (rebirths == 4000)

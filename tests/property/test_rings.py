"""Rings against brute force, and against themselves run otherwise."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from avalist.domain.records import FoldKind
from avalist.domain.row import AT, KIND, MISSING, T
from avalist.domain.schema import DAY_MS, CategoryDecl, EntityDecl, Schema
from avalist.features.declare import Feature
from avalist.features.plan import compile_plan
from avalist.features.rings import BLOCKED_LINKS, LARGEST_RING, PERIOD_MS, Rings
from avalist.features.state import F32, Row, State

from .test_kernel import assert_same, examples

SCHEMA = Schema(
    base_currency="EUR",
    entities=(EntityDecl("account", "a"), EntityDecl("card", "c"), EntityDecl("device", "d")),
    categories=(CategoryDecl("kind", "kind"),),
)
LINKS = ("account", "card", "device")
FEATURES = [
    *(Feature(name=f"{e}_ring", aggregate="ring", entity=e, links=LINKS) for e in LINKS),
    Feature(name="of_two", aggregate="ring", entity="card", links=("card", "account")),
    Feature(name="card_count", aggregate="count", entity="card", window_ms=DAY_MS, step_ms=DAY_MS // 60),
]
PLAN = compile_plan(SCHEMA, FEATURES)
KEYS_AT = PLAN.keys_at
START_MS = 230 * PERIOD_MS - 3 * DAY_MS
KEY = st.integers(0, 12)
EVENT = st.tuples(
    st.sampled_from([0, 0, 0, FoldKind.SIGN_UP, FoldKind.OUTCOME, FoldKind.READ_ONLY]),
    st.sampled_from([0, 0, 0, 0, DAY_MS, 40 * DAY_MS, PERIOD_MS, 3 * PERIOD_MS]),
    KEY, KEY, KEY,
)  # fmt: skip


@st.composite
def histories(draw: st.DrawFn) -> Row:
    at, rows = START_MS, []
    for kind, gap, *keys in draw(st.lists(EVENT, min_size=1, max_size=60)):
        at += gap
        rows.append([kind, at, at, 0, 0, at, 100, *keys, 1])
    return np.array(rows, dtype=np.int64)


def components(rows: list[list[int]], links: list[int], largest: int, blocked: int) -> list[set[tuple[int, int]]]:
    """Return which keys hang together, each as (which link, key)."""
    found: list[set[tuple[int, int]]] = []
    joined: dict[tuple[int, int], int] = {}
    for row in rows:
        nodes = [(n, row[at]) for n, at in enumerate(links) if row[at]]
        found += [{node} for node in nodes if not any(node in one for one in found)]
        free = [node for node in nodes if joined.get(node, 0) < blocked]
        for a, b in pairwise(free):
            (one,), (other,) = ([c for c in found if node in c] for node in (a, b))
            if one is not other and len(one) + len(other) <= largest:
                found.remove(other)
                one |= other
                joined[a], joined[b] = joined.get(a, 0) + 1, joined.get(b, 0) + 1
    return found


def size(rows: list[list[int]], n: int, feature: Feature) -> float:
    """Return how many keys hang together with the n-th event's own, by the older of the two generations."""
    places, which = [KEYS_AT + LINKS.index(name) for name in feature.links], feature.links.index(feature.entity)
    begin = (rows[n][AT] // PERIOD_MS - 1) * PERIOD_MS
    linking = [r for r in rows[:n] if r[AT] >= begin and r[KIND] <= FoldKind.SESSION]
    mine, found = (which, rows[n][places[which]]), components(linking, places, LARGEST_RING, BLOCKED_LINKS)
    return next((float(len(one)) for one in found if mine in one), np.nan)


def brute_force(rows: Row, events: Iterable[int]) -> F32:
    plain = rows.tolist()
    return np.array([[size(plain, n, f) for f in FEATURES if f.links] for n in events], dtype=np.float32)


@given(histories())
@examples(150)
def test_sizes_equal_brute_force(rows: Row) -> None:
    assert_same(State(PLAN).run(rows)[:, :4], brute_force(rows, range(len(rows))), PLAN.columns)


def grouped(draw: np.random.Generator, events: int, keys: int) -> Row:
    """Return payments of one day whose keys are drawn at random."""
    rows = np.zeros((events, PLAN.width), dtype=np.int64)
    rows[:, [AT, T]] = START_MS + np.arange(events)[:, None] * (DAY_MS // events)
    rows[:, KEYS_AT:] = draw.integers(1, keys, (events, 4))
    return rows


def test_where_many_meet_links_no_more_and_no_ring_outgrows_the_cap() -> None:
    """One account with 200 cards, and then as many links between strangers as make one component of all."""
    rows = grouped(np.random.default_rng(1), 1500, 800)
    rows[:201, KEYS_AT] = 7
    got = State(PLAN).run(rows)
    assert_same(got[[200, 1499], :4], brute_force(rows, [200, 1499]), PLAN.columns)
    assert BLOCKED_LINKS < got[200, 0] < 200
    assert LARGEST_RING - 50 < np.nanmax(got[:, :3]) <= LARGEST_RING


@given(histories(), st.lists(st.integers(0, 60)))
@examples(60)
def test_chunks_and_a_restored_state_are_one_run(rows: Row, cuts: list[int]) -> None:
    whole, chunked = State(PLAN), State(PLAN)
    wanted, got = whole.run(rows), []
    for part in np.split(rows, sorted(cuts)):
        again = State(PLAN)
        again.mem, again.meta = chunked.mem.copy(), chunked.meta.copy()
        again.rings.generations = [one.copy() for one in chunked.rings.generations]
        got.append(again.run(part))
        chunked = again
    assert_same(np.concatenate(got), wanted, PLAN.columns)
    assert whole.digest() == chunked.digest()


def test_tables_grow_under_many_keys() -> None:
    """Each account has a card and a device of its own: rings of three, whatever the tables' size."""
    n = 40_000
    rows = np.zeros((2 * n, PLAN.width), dtype=np.int64)
    rows[:, [AT, T]] = START_MS
    rows[:, KEYS_AT : KEYS_AT + 3] = np.tile(np.arange(1, n + 1), 2)[:, None]
    state = State(PLAN)
    got = state.run(rows)
    assert np.isnan(got[:n, :3]).all()
    assert (got[n:, :3] == 3).all()
    assert [len(nodes) for nodes in state.rings.canonical()] == [3 * n, 3 * n, 2 * n, 2 * n]


@pytest.mark.parametrize("plan", [PLAN, compile_plan(SCHEMA, FEATURES[-1:])])
def test_a_plan_without_rings_keeps_none(plan: Any) -> None:
    assert len(Rings(plan.rings).generations) == (4 if plan is PLAN else 0)


def test_what_names_no_key_is_told_nothing() -> None:
    row = np.array([[0, START_MS, START_MS, 0, 0, 0, MISSING, 0, 0, 0, 0]], dtype=np.int64)
    assert np.isnan(State(PLAN).run(np.repeat(row, 2, axis=0))).all()

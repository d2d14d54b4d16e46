"""Single calls of the kernel: how long they take, how flat they stay, how much a key weighs."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from avalist.domain.row import AT, CAPTURED_DELTA, KIND, OCCURRED, VALUES, T
from avalist.domain.schema import DAY_MS, DIGITAL_GOODS, EntityDecl, Schema
from avalist.features.declare import Feature
from avalist.features.derive import derive
from avalist.features.layout import BASE, E_FORM
from avalist.features.plan import Plan, compile_plan
from avalist.features.state import State

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
START_MS: Final = 20_000 * DAY_MS
ROUNDS, CALLS, PART = 10, 12_000, 20_000
WIDE: Final = Schema(
    base_currency="EUR",
    entities=(
        EntityDecl("customer", "customer.id"),
        EntityDecl("terminal", "custom.terminal"),
        EntityDecl("area", "custom.area"),
    ),
    label_delay_d=7.0,
    report_delay_d=(7.0, 7.0),
)
"""The Handbook's schema with a third entity, a hundred terminals each: 100 columns and more."""
EIGHT: Final = msgspec.structs.replace(DIGITAL_GOODS, entities=DIGITAL_GOODS.entities[:8], categories=())
TWO_PAIRS: Final = msgspec.structs.replace(EIGHT, pairs=(("account", "card"), ("account", "device")))


def payments_of(plan: Plan, keys: I64, at_ms: I64, rng: np.random.Generator) -> I64:
    """Return captured payments int64 [n, width] with `keys` [n, entities] at `at_ms` [n]."""
    rows = np.zeros((len(keys), plan.width), dtype=np.int64)
    rows[:, [AT, T, OCCURRED]] = at_ms[:, None]
    rows[:, CAPTURED_DELTA] = 1
    rows[:, VALUES : plan.keys_at] = rng.integers(100, 20_000, (len(keys), plan.keys_at - VALUES))
    rows[:, plan.keys_at :] = keys
    return rows


def every_second(features: Sequence[Feature]) -> list[Feature]:
    """Return every second feature, and those that they read."""
    by_name, asked, kept = {feature.name: feature for feature in features}, list(features[::2]), set[str]()
    while asked:
        feature = asked.pop()
        kept.add(feature.name)
        asked += [by_name[name] for name in (*(feature.over or ()), feature.prior) if name in by_name]
    return [feature for feature in features if feature.name in kept]


def live(keys: int) -> dict[str, object]:
    """Time single calls with half of the default columns, some 160 of all kinds, and with all of them."""
    half = calls(compile_plan(TWO_PAIRS, every_second(derive(TWO_PAIRS))), keys)
    whole = calls(compile_plan(EIGHT, derive(EIGHT)), keys)
    alike = {name.replace("live_", "live_default_"): value for name, value in whole.items()}
    return alike | {name: value for name, value in half.items() if name.startswith("live_")}


def calls(plan: Plan, keys: int) -> dict[str, object]:
    """Time single calls on a state where each of eight entities has `keys` keys, and weigh them."""
    rng = np.random.default_rng(1)
    before = resident_bytes()
    state, entities = State(plan), len(EIGHT.entities)
    orders = np.stack([rng.permutation(keys) + 1 for _ in range(entities)], axis=1)
    at_ms = START_MS + np.arange(2 * keys) * 30 * DAY_MS // (2 * keys)
    quiet = np.zeros(PART, dtype=np.bool_)
    for first in range(0, 2 * keys, PART):
        part = slice(first, min(first + PART, 2 * keys))
        known = orders[part] if first < keys else drawn(rng, keys, PART, entities)[: part.stop - first]
        rows = payments_of(plan, known, at_ms[part], rng)
        state.run(rows, quiet[: len(rows)])
    resident, sizes = resident_bytes() - before, state.key_bytes()
    single = np.flatnonzero(plan.entities[:, E_FORM] == BASE)
    of_entities = sizes[np.isin(sizes[:, 0], single), 1]
    rounds = []
    for n in range(ROUNDS):
        rows = payments_of(plan, drawn(rng, keys, CALLS, entities), at_ms[-1] + np.arange(CALLS) + n * CALLS, rng)
        rounds.append(np.percentile(calls_us(state, rows), [50, 99, 99.9]))
    p50, p99, p999 = np.median(rounds, axis=0)
    return {
        "live_features": len(plan.columns),
        "live_keys": state.live_keys,
        "live_p50_us": round(p50, 2),
        "live_p99_us": round(p99, 2),
        "live_p999_us": round(p999, 2),
        "live_p50_us_best_round": round(float(np.min(rounds, axis=0)[0]), 2),
        "bytes_per_entity_p50": int(np.median(of_entities)),
        "bytes_per_entity_p99": int(np.percentile(of_entities, 99)),
        "bytes_per_key_p50_pairs_too": int(np.median(sizes[:, 1])),
        "rss_mb_per_million_entities": round(resident / state.live_keys, 1),
        "gb_for_10m_entities": round(resident / state.live_keys * 1e7 / 1e9, 2),
    }


def drawn(rng: np.random.Generator, keys: int, count: int, entities: int) -> I64:
    """Draw keys, half of them evenly and half with a long tail."""
    even, tail = rng.integers(1, keys + 1, (count, entities)), rng.zipf(1.2, (count, entities)) % keys + 1
    return np.where(rng.random((count, entities)) < 0.5, even, tail)


def calls_us(state: State, rows: I64) -> F64:
    """Return the wall time of each call with one event, in µs."""
    taken = np.empty(len(rows))
    for n in range(len(rows)):
        row = rows[n : n + 1]
        start = time.perf_counter_ns()
        state.run(row)
        taken[n] = (time.perf_counter_ns() - start) / 1e3
    return taken


def resident_bytes() -> int:
    """Return the process's resident memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def flatness() -> dict[str, object]:
    """Compare a key of a million past events with one of a thousand, asked in turn."""
    schema = msgspec.structs.replace(WIDE, entities=WIDE.entities[:1], pairs=(), distinct=())
    plan = compile_plan(schema, derive(schema))
    rng, state, many = np.random.default_rng(2), State(plan), 1_001_000
    keys = np.ones((many, 1), dtype=np.int64)
    keys[:: many // 1000] = 2
    at_ms = START_MS + np.arange(many) * 60 * DAY_MS // many
    rows = payments_of(plan, keys, at_ms, rng)
    state.run(rows, np.zeros(many, dtype=np.bool_))
    ratios = []
    for n in range(ROUNDS):
        turns = payments_of(plan, np.arange(CALLS)[:, None] % 2 + 1, at_ms[-1] + np.arange(CALLS) + n * CALLS, rng)
        turns[:, KIND] = 10  # read only: a key's history stays what it is
        taken = calls_us(state, turns)
        ratios.append(np.percentile(taken[0::2], [50, 99]) / np.percentile(taken[1::2], [50, 99]))
    p50, p99 = np.median(ratios, axis=0)
    return {"flatness_p50": round(p50, 3), "flatness_p99": round(p99, 3)}

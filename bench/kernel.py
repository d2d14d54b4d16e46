"""Time the feature kernel: replay beside polars and DuckDB on the Handbook, live calls, flatness, memory, cost.

``python -m bench.kernel [--data FILE] [--keys N] [--core N]``; samples and the cost curve's plot in ``bench/out``, the
last line is one JSON object. One core, no I/O and no compiling counted. Replay is timed in processor time, per part of
65,536 events, and the median is given: *cold* is the first 131,072 events into an empty state, *warm* the last half of
the history. Live calls are timed by wall clock in ten rounds; each percentile is the median of the rounds', for the
machine may be shared; they compute half of the default columns, some 160 of all kinds (``live_default_``: all of them).
Columns of peers are per entity and window: count, sum, mean, max.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from avalist.domain.row import KIND
from avalist.domain.schema import DAY_MS, EntityDecl, Schema
from avalist.features.declare import Aggregate, Feature, windowed
from avalist.features.derive import derive
from avalist.features.plan import Plan, compile_plan
from avalist.features.state import State
from avalist.render.blocks import Chart, Page, Series
from avalist.render.html import page
from bench import recovery
from bench._live import START_MS, WIDE, flatness, live, payments_of
from bench._protocol import Payments, load
from bench._raw import OUT, keep
from bench.handbook import DATA, events_of

AGGREGATES: Final[tuple[Aggregate, ...]] = ("count", "sum", "mean", "max")

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
_BEFORE, _TAIL = 50_000, 1_000_000
HOUR_MS: Final = 3_600_000
WINDOWS_MS: Final = (600_000, HOUR_MS, DAY_MS, 7 * DAY_MS, 30 * DAY_MS)
DISTINCT_MS: Final = (DAY_MS, 30 * DAY_MS)
PART, COLD, PEER_EVENTS, SAMPLE = 65_536, 2, 400_000, 400


def timed_parts(plan: Plan, rows: I64, asked: npt.NDArray[np.bool_]) -> F64:
    """Return the processor time of each part of `rows`, folded in order into an empty state, in ns per event."""
    State(plan).run(rows[:PART], asked[:PART])  # compiled
    state, taken = State(plan), []
    for first in range(0, len(rows) - PART + 1, PART):
        part = slice(first, first + PART)
        start = time.process_time_ns()
        state.run(rows[part], asked[part])
        taken.append((time.process_time_ns() - start) / PART)
    return np.array(taken)


def replay(payments: Payments) -> dict[str, object]:
    """Time the default plan over the whole history, reports included."""
    plan = compile_plan(WIDE, derive(WIDE))
    rows = events_of(payments, WIDE, (payments.customer, payments.terminal, payments.terminal // 100))
    taken = timed_parts(plan, rows, rows[:, KIND] == 0)
    keep("kernel-replay", taken.tolist())
    warm, cold = float(np.median(taken[len(taken) // 2 :])), float(np.median(taken[:COLD]))
    return {
        "replay_events": len(rows),
        "replay_features": len(plan.columns),
        "events_per_s_core": round(1e9 / warm),
        "events_per_s_core_cold": round(1e9 / cold),
        "events_per_s_core_best_part": round(1e9 / float(taken.min())),
        "ns_per_feature": round(warm / len(plan.columns), 2),
        "ns_per_feature_cold": round(cold / len(plan.columns), 2),
    }


def beside_peers(payments: Payments) -> dict[str, object]:
    """Time the same columns in kernel, polars and DuckDB, and check a sample of each by brute force."""
    schema = msgspec.structs.replace(WIDE, entities=WIDE.entities[:2])
    entities = ("customer", "terminal")
    few = Payments._make(column[:PEER_EVENTS] for column in payments)
    rows = events_of(few, schema, (few.customer, few.terminal))
    rows = rows[rows[:, KIND] == 0]
    features = [windowed(e, a, w) for e in entities for w in WINDOWS_MS for a in AGGREGATES]
    distinct = [windowed(per, "distinct", w, of=of) for per, of in (entities, entities[::-1]) for w in DISTINCT_MS]
    plan, apart = compile_plan(schema, features), compile_plan(schema, distinct)
    asked = np.ones(len(rows), dtype=np.bool_)
    ours_ns = float(np.median(timed_parts(plan, rows, asked))) / len(features)
    ours_distinct_ns = float(np.median(timed_parts(apart, rows, asked))) / len(distinct)
    sample = np.sort(np.random.default_rng(0).choice(len(rows), SAMPLE, replace=False))
    ns, answers = ask_peers(few, sample)
    values = State(plan).run(rows)[sample].astype(np.float64)
    agreement = compare(values, answers, few, sample)
    best = min(ns["polars_ns"], ns["duckdb_ns"])
    return {
        "peer_events": len(rows),
        "peer_columns": len(features),
        "kernel_ns": round(ours_ns, 2),
        **{name: round(value, 1) for name, value in ns.items()},
        "kernel_distinct_ns": round(ours_distinct_ns, 2),
        "ratio_to_best_peer": round(best / ours_ns, 2),
        "ratio_to_best_peer_distinct": round(
            min(ns["polars_distinct_ns"], ns["duckdb_distinct_ns"]) / ours_distinct_ns, 2
        ),
        **agreement,
    }


def ask_peers(payments: Payments, sample: I64) -> tuple[dict[str, float], dict[str, F64]]:
    """Run the peers in a process of their own on this core; return ns per column and event, and sampled values."""
    with tempfile.TemporaryDirectory() as folder:
        given, got = Path(folder) / "given.npz", Path(folder) / "got.npz"
        np.savez(
            given, windows_ms=WINDOWS_MS, distinct_ms=DISTINCT_MS, rounds=3, sample=sample,
            place=np.arange(len(payments.t_ms)), t=payments.t_ms, customer=payments.customer,
            terminal=payments.terminal, amount=payments.amount_minor,
        )  # fmt: skip
        single = {**os.environ, "POLARS_MAX_THREADS": "1"}
        command = [sys.executable, "-m", "bench._peers", str(given), str(got)]
        done = subprocess.run(command, env=single, check=True, capture_output=True, text=True)
        return json.loads(done.stdout), dict(np.load(got))


def compare(values: F64, answers: dict[str, F64], payments: Payments, sample: I64) -> dict[str, object]:
    """Check every sampled value by its own definition of a window; say how many are equal in spite of the two.

    Raises
    ------
    AssertionError
        Where kernel, polars or DuckDB differ from brute force.
    """
    wide = len(AGGREGATES)
    equal = 0
    for e, keys in enumerate((payments.customer, payments.terminal)):
        name = ("customer", "terminal")[e]
        for n, window in enumerate(WINDOWS_MS):
            step = window // 60
            first = (e * len(WINDOWS_MS) + n) * wide
            for row, place in enumerate(sample):
                before = np.flatnonzero(keys[:place] == keys[place])
                t, past = int(payments.t_ms[place]), payments.t_ms[before]
                stepped = past >= (t - window) // step * step
                exact = (past >= t - window) & (past < t)
                ours = values[row, first : first + wide]
                _check("kernel", ours, payments.amount_minor[before[stepped]])
                for peer in (
                    answers[f"polars_{name}_{n}"][row],
                    answers[f"duckdb_{name}"][row, n * wide : (n + 1) * wide],
                ):
                    _check("peer", peer, payments.amount_minor[before[exact]])
                equal += int(np.array_equal(exact, stepped))
    return {
        "windows_compared": 2 * len(WINDOWS_MS) * len(sample),
        "windows_equal": round(equal / (2 * len(WINDOWS_MS) * len(sample)), 4),
    }


def _check(who: str, got: F64, amounts: I64) -> None:
    """Compare count, sum, mean and max; empty windows read 0 or unknown."""
    if len(amounts) == 0:
        assert not np.nan_to_num(got).any(), (who, got)
        return
    wanted = [len(amounts), amounts.sum(), amounts.mean(), amounts.max()]
    assert np.allclose(got, wanted, rtol=1e-6), (who, got, wanted)


def cost_curve() -> dict[str, object]:
    """Time replay over the number of windows, of entities and of features; write the points and their plot."""
    rng = np.random.default_rng(3)
    points: dict[str, list[tuple[int, float]]] = {"windows": [], "entities": [], "features": []}
    for windows in (1, 2, 4, 6, 8):
        points["windows"].append((windows, _cost(rng, 4, windows, AGGREGATES)))
    for entities in (1, 2, 4, 8, 12):
        points["entities"].append((entities, _cost(rng, entities, 4, AGGREGATES)))
    for aggregates in range(1, 5):
        points["features"].append((16 * aggregates, _cost(rng, 4, 4, AGGREGATES[:aggregates])))
    keep("kernel-cost", points)
    charts = []
    for name, values in points.items():
        x, y = zip(*values, strict=True)
        series = Series(name="one core", x=tuple(map(float, x)), y=y, style="points")
        charts.append(Chart(title=f"Cost of an event by {name}", x_label=name, y_label="ns", series=(series,)))
    (OUT / "kernel-cost.html").write_text(page(Page("Cost of an event", "ns of processor time", tuple(charts))))
    return {f"cost_{name}": {str(n): round(ns) for n, ns in values} for name, values in points.items()}


def _cost(rng: np.random.Generator, entities: int, windows: int, aggregates: tuple[Aggregate, ...]) -> float:
    """Return ns per event of 10,000 keys an entity, 200,000 events over 60 days."""
    names = [f"e{n}" for n in range(entities)]
    schema = Schema(base_currency="EUR", entities=tuple(EntityDecl(n, "x") for n in names), memory_d=400)
    lengths = [600_000 * 2**n for n in range(windows)]
    features: list[Feature] = [windowed(e, a, w) for e in names for w in lengths for a in aggregates]
    plan, events = compile_plan(schema, features), 200_000
    keys = rng.integers(1, 10_001, (events, entities))
    rows = payments_of(plan, keys, START_MS + np.arange(events) * 60 * DAY_MS // events, rng)
    return float(np.median(timed_parts(plan, rows, np.ones(events, dtype=np.bool_))[-3:]))


def recovered() -> dict[str, object]:
    """Return how long a start from a snapshot and a million events takes."""
    with tempfile.TemporaryDirectory() as folder:
        found = recovery.measure(Path(folder), _BEFORE, _TAIL, ["tail"])
    return {name: found[name] for name in ("recovery_s", "recovery_cpu_s", "events_in_tail", "events_before")}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.kernel", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="the Handbook's table (Parquet)")
    parser.add_argument("--keys", type=int, default=1_000_000, help="keys of each entity in the live part")
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)), help="the core to run on")
    parser.add_argument("--parts", default="replay,peers,live,flatness,cost,recovery", help="what to run")
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core})
    parts: dict[str, Callable[[], dict[str, object]]] = {"live": lambda: live(options.keys), "flatness": flatness}
    if options.data.exists():
        payments = load(options.data)
        parts |= {"replay": lambda: replay(payments), "peers": lambda: beside_peers(payments)}
    parts |= {"cost": cost_curve, "recovery": recovered}
    result: dict[str, object] = {"bench": "kernel"}
    for name in options.parts.split(","):
        found = parts[name]() if name in parts else {f"{name}_skipped": f"no data at {options.data}"}
        print(name, json.dumps(found), flush=True)
        result |= found
    print(json.dumps(result))


if __name__ == "__main__":
    main()

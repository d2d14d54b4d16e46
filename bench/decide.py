"""Decisions per second and their latency on one pinned core, every decision durable before its answer, beside an echo.

``python -m bench.decide [--seconds S]``; raw latencies in ``bench/out/decide-*.npy``, the last line printed is one JSON
object. The service is started as an operator starts it (``avalist up``) and pinned to core 0; the load and the
follower have core 1. The model has 300 trees of 63 leaves. The main figures are of a merchant that declares its three
first entities (more than 100 features); ``default_plan_*`` are of the whole default schema for digital goods, patterns
and waves included. ``--full`` measures that schema with enrichment, too (``full_*``): reference tables in force, their
facts among the entities, categories and numbers, sessions told in detail. ``--tables FOLDER`` holds the archives of the
packages that are not shipped; without it they are fetched.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from avalist.app.administer import ActivateModel, CreateMerchant, IssueKey
from avalist.app.dataset import collect
from avalist.bootstrap import build, keep_model, open_blobs, open_tables
from avalist.config import settings_from
from avalist.domain.events import decode_payment
from avalist.domain.schema import DIGITAL_GOODS, CategoryDecl, EntityDecl, NumberDecl, Schema
from avalist.enrich.tables import Contents
from avalist.models.train import TrainingSet, TrainParams, train
from bench._load import Load, Sample, Target
from bench._payments import bodies
from bench.enrich import contents

OUT = Path(__file__).parent / "out"
SERVER_CORE, LOAD_CORE = 0, 1
HISTORY = 20_000
TURNS = 3
TREES = TrainParams(
    trees=300,
    leaves=63,
    early_stopping=False,
    test_share=0.0,
    min_data_in_leaf=20,
    half_life_d=None,
    learning_rate=0.05,
)
ENTITIES = 1_000_000


LEAN: Final = msgspec.structs.replace(
    DIGITAL_GOODS, entities=DIGITAL_GOODS.entities[:3], categories=DIGITAL_GOODS.categories[:1]
)


FULL: Final = msgspec.structs.replace(
    DIGITAL_GOODS,
    entities=(
        *DIGITAL_GOODS.entities,
        EntityDecl("asn", "asn"),
        EntityDecl("country_shape", "country_shape"),
        EntityDecl("behaviour_pattern", "pattern.behaviour"),
    ),
    numbers=(
        *DIGITAL_GOODS.numbers,
        *(NumberDecl(name, name) for name in ("countries", "ip_billing_km", "ip_issuer_km", "ip_timezone_km")),
        NumberDecl("key_hold_ms", "session.typing.hold_ms"),
        NumberDecl("key_flight_ms", "session.typing.flight_ms"),
        NumberDecl("session_tells", "session_tells"),
    ),
    categories=(
        *DIGITAL_GOODS.categories,
        *(CategoryDecl(name, name) for name in ("ip_class", "email_class", "card_brand", "agent_class", "os")),
    ),
)
"""Everything that makes facts or columns is on."""


def prepare(folder: Path, schema: Schema, tables: Contents | None = None) -> tuple[str, int]:
    """Make a merchant with history and a model of 300 trees; return its key and how many features it has.

    Reference tables are in force from its first event on where they are given.
    """
    settings = settings_from({}, data=folder)
    if tables is not None:
        open_tables(open_blobs(settings)).put(tables)
    with build(settings) as here:
        office = here.administration
        office.carry_out(CreateMerchant("shop", schema, prior=False), 0)
        start_ms = 1_767_225_600_000
        for n, body in enumerate(bodies(10_000_000, HISTORY)):
            event = decode_payment(body)
            here.writer.record("shop", event, start_ms + n * 60_000)
        here.log.sync()
        data = collect(here.log.read, "shop")
        rng = np.random.default_rng(0)
        logit = np.nan_to_num(data.x[:, :60], posinf=0.0, neginf=0.0) @ rng.normal(size=60)
        y = (logit + rng.normal(size=len(logit)) * logit.std() > np.quantile(logit, 0.97)).astype(np.int64)
        rows = TrainingSet(data.x, data.plan.columns, data.plan.hash, y, data.t_ms, data.amount_minor)
        artefact = train(rows, TREES).artefact
        keep_model(here.blobs, "shop", artefact)
        office.carry_out(ActivateModel("shop", artefact.version, artefact.plan_hash), start_ms)
        key = str(office.carry_out(IssueKey("shop", "live"), 0)["key"])
        here.log.sync()
        assert len(artefact.trees.roots) == TREES.trees
        return key, len(artefact.columns)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Run before the follower, which shares the load's core: where allowed, for its slices would count as latency."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -15)
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, before)


@contextmanager
def serving(data: Path) -> Iterator[tuple[int, float]]:
    """Serve a data folder; give the port and the cold start in seconds."""
    port = free_port()
    command = [sys.executable, "-m", "avalist", "up", "--data", str(data), "--port", str(port)]
    with running(command, port, "/readyz") as (_, cold_start_s):
        yield port, cold_start_s


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: list[str], port: int, path: str) -> Iterator[tuple[int, float]]:
    """Run a server pinned to its core, its children to the other; give its process id and its cold start in seconds."""
    start = time.perf_counter()
    process = subprocess.Popen(command, preexec_fn=lambda: os.sched_setaffinity(0, {SERVER_CORE}))
    try:
        while not _answers(port, path):
            if process.poll() is not None or time.perf_counter() - start > 120.0:
                raise RuntimeError(f"{command} does not answer")
            time.sleep(0.02)
        cold_start_s = time.perf_counter() - start
        serving = process.pid
        for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            if b"\0follow\0" in Path(f"/proc/{child}/cmdline").read_bytes():
                os.sched_setaffinity(int(child), {LOAD_CORE})
            else:
                serving = int(child)
        yield serving, cold_start_s
    finally:
        process.terminate()
        process.wait(30)


def _answers(port: int, path: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=1) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def closed(target: Target, connections: int, first: int, seconds: float, *, detailed: bool = False) -> Sample:
    """Run one closed loop on made-up payments."""
    ready = list(bodies(first, int(seconds * 12_000), detailed=detailed))
    load = Load(target, connections)
    try:
        return load.closed(iter(ready), seconds)
    finally:
        load.close()


class Turns(NamedTuple):
    """Medians over the turns: decisions and echoes a second, and their ratio turn by turn."""

    per_s: float
    echo_per_s: float
    ratio: float


def rounds(echo: Target, target: Target, seconds: float, samples: dict[str, Sample], name: str) -> Turns:
    """Let echo and service take turns under 64 connections; keep their samples under `name` and ``echo``."""
    pairs = []
    for turn in range(TURNS):
        beside = closed(echo, 64, 0, seconds / 2)
        ours = closed(target, 64, (2 + turn) * 100_000_000, seconds, detailed=name == "full")
        _say(f"echo {turn}", beside)
        _say(f"{name} {turn}", ours)
        pairs.append((ours, beside))
    samples[name], samples["echo"] = (_joined([pair[side] for pair in pairs]) for side in (0, 1))
    rates = np.array([(ours.per_s, beside.per_s, ours.per_s / beside.per_s) for ours, beside in pairs])
    return Turns(*np.median(rates, axis=0).tolist())


def open_loop(echo: Target, target: Target, seconds: float, open_seconds: float, turn: int) -> tuple[Sample, Sample]:
    """Load the service at 60 % of what it decides at this very moment, for the machine's speed changes by the minute;
    then the echo at the same rate, whose latency is the machine's own and the sender's. Return both.
    """
    per_s = 0.6 * closed(target, 64, (11 + turn) * 100_000_000, seconds / 2).per_s
    ready = list(bodies((21 + turn) * 100_000_000, int(per_s * open_seconds) + 1))
    found = []
    for name, asked, share in (("open_60pct", target, 1.0), ("echo_open", echo, 0.3)):
        load = Load(asked, 64)
        with undisturbed():
            found.append(load.open(iter(ready), per_s, open_seconds * share))
        load.close()
        _say(f"{name} {turn}", found[-1])
    return found[0], found[1]


def _joined(parts: list[Sample]) -> Sample:
    latency_ms = np.concatenate([part.latency_ms for part in parts])
    seconds, bad, degraded = (sum(getattr(part, name) for part in parts) for name in ("seconds", "bad", "degraded"))
    return Sample(latency_ms, seconds, bad, degraded)


def measure(folder: Path, seconds: float, open_seconds: float, tables: Contents | None) -> dict[str, object]:
    """Measure the service beside the echo: both run, and take turns, for other work on the machine comes and goes.

    With `tables`, that of the full schema, too.
    """
    parts: list[tuple[str, str, int]] = []
    if tables is not None:
        parts.append(("full", *prepare(folder / "full", FULL, tables)))
    key, features = prepare(folder / "lean", LEAN)
    parts.append(("default_plan", *prepare(folder / "default_plan", DIGITAL_GOODS)))
    found: dict[str, object] = {}
    samples: dict[str, Sample] = {}
    port = free_port()
    with running([sys.executable, "-m", "bench._echo", str(port)], port, "/"):
        echo = Target(port, "/")
        closed(echo, 64, 0, 2.0)
        for name, with_key, columns in parts:
            with serving(folder / name) as (port, _):
                target = Target(port, "/v1/decisions", with_key)
                closed(target, 16, 5_000_000, 3.0)
                turns = rounds(echo, target, seconds, samples, name)
            found[f"{name}_features"], found[f"{name}_per_s"] = columns, round(turns.per_s)
            found[f"{name}_ratio_to_echo"] = round(turns.ratio, 3)
        with serving(folder / "lean") as (port, cold_start_s):
            target = Target(port, "/v1/decisions", key)
            closed(target, 16, 5_000_000, 3.0)
            for place, connections in enumerate((1, 16)):
                samples[f"closed_{connections}"] = closed(target, connections, place * 1_000_000, seconds)
                _say(f"closed_{connections}", samples[f"closed_{connections}"])
            lean = rounds(echo, target, seconds, samples, "closed_64")
            opened = [open_loop(echo, target, seconds, open_seconds / TURNS, turn) for turn in range(TURNS)]
            samples["open_60pct"], samples["echo_open"] = (_joined([turn[side] for turn in opened]) for side in (0, 1))
    fsync_ms = fsyncs(folder)
    _keep({**{name: s.latency_ms for name, s in samples.items()}, "fsync": fsync_ms})
    p50, p99, p999 = (median([ours.quantile_ms(q) for ours, _ in opened]) for q in (0.5, 0.99, 0.999))
    return {
        "bench": "decide",
        "ratio_to_echo": round(lean.ratio, 3),
        "decisions_per_s": round(lean.per_s),
        "echo_per_s": round(lean.echo_per_s),
        "p50_ms": round(p50, 3),
        "p99_ms_at_60pct": round(p99, 3),
        "p999_ms_at_60pct": round(p999, 3),
        "p99_ms_at_60pct_by_turn": [round(ours.quantile_ms(0.99), 3) for ours, _ in opened],
        "p99_ms_at_60pct_of_all": round(samples["open_60pct"].quantile_ms(0.99), 3),
        "echo_p99_ms_at_same_rate": round(samples["echo_open"].quantile_ms(0.99), 3),
        "fsync_p99_ms": round(float(np.quantile(fsync_ms, 0.99)), 3),
        "features": features,
        **found,
        "trees": TREES.trees,
        "cold_start_s": round(cold_start_s, 2),
        **{f"closed_{n}_per_s": round(samples[f"closed_{n}"].per_s) for n in (1, 16)},
        "closed_64_per_s": round(lean.per_s),
        **{f"closed_{n}_p99_ms": round(samples[f"closed_{n}"].quantile_ms(0.99), 3) for n in (1, 16, 64)},
        "degraded": sum(s.degraded for s in samples.values()),
        "not_200": sum(s.bad for s in samples.values()),
    }


def fsyncs(folder: Path, count: int = 2000) -> npt.NDArray[np.float64]:
    """Return how long an fdatasync of 16 KB appended to an allocated file takes here, in ms [count]."""
    path, block = folder / "fsync", b"x" * 16_384
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    os.posix_fallocate(fd, 0, count * len(block))
    times = []
    for _ in range(count):
        os.write(fd, block)
        start = time.perf_counter()
        os.fdatasync(fd)
        times.append(time.perf_counter() - start)
    os.close(fd)
    path.unlink()
    return np.array(times) * 1e3


def memory_mb() -> float:
    """Return the resident memory of a process whose state holds a million entities, in MB."""
    code = (
        "import numpy as np, resource\n"
        "from avalist.domain.schema import DIGITAL_GOODS\n"
        "from avalist.features.derive import derive\n"
        "from avalist.features.plan import compile_plan\n"
        "from avalist.features.state import State\n"
        "plan = compile_plan(DIGITAL_GOODS, derive(DIGITAL_GOODS)); state = State(plan); n = 0\n"
        f"while state.live_keys < {ENTITIES}:\n"
        "    rows = np.zeros((2000, plan.width), dtype=np.int64)\n"
        "    rows[:, 1] = rows[:, 2] = 10**12 + np.arange(n, n + 2000)\n"
        "    rows[:, 6] = 1000; rows[:, 3] = 1\n"
        "    rows[:, plan.keys_at:] = np.arange(n, n + 2000)[:, None] + 1\n"
        "    state.run(rows, np.zeros(2000, dtype=np.bool_)); n += 2000\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def _say(name: str, sample: Sample) -> None:
    p50, p99, p999 = (sample.quantile_ms(q) for q in (0.5, 0.99, 0.999))
    print(
        f"{name:14} {sample.per_s:8.0f}/s  p50 {p50:7.3f} ms  p99 {p99:7.3f} ms  p99.9 {p999:7.3f} ms"
        f"  not 200: {sample.bad}  degraded: {sample.degraded}",
        flush=True,
    )


def _keep(samples: dict[str, npt.NDArray[np.float64]]) -> None:
    OUT.mkdir(exist_ok=True)
    for name, values in samples.items():
        np.save(OUT / f"decide-{name}.npy", values.astype(np.float32))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.decide", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each closed loop")
    parser.add_argument("--open-seconds", type=float, default=60.0, help="length of the open loop")
    parser.add_argument("--full", action="store_true", help="measure with enrichment and everything else on, too")
    parser.add_argument("--tables", type=Path, help="folder with the archives of reference tables")
    options = parser.parse_args()
    tables = contents(options.tables) if options.full else None
    os.sched_setaffinity(0, {LOAD_CORE})
    folder = Path(tempfile.mkdtemp(prefix="avalist-bench-"))
    try:
        result = measure(folder, options.seconds, options.open_seconds, tables)
    finally:
        shutil.rmtree(folder)
    print(json.dumps({**result, "rss_mb_1m_entities": round(memory_mb())}))


if __name__ == "__main__":
    main()

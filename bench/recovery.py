"""How long a decider takes to be ready after a death: from a snapshot and the log's tail, and from the whole log.

``python -m bench.recovery [--events N] [--before N] [--parts tail,fresh,whole]``; a merchant with `before` payments
lives through `events` more after the snapshot (``recovery_s``), then another is taken (``recovery_fresh_s``: no tail).
``--parts tail`` measures the first alone: a million events are recorded in some minutes, and folded once. Each start is
a process of its own, with everything imported and compiled before the clock starts, as in the supervisor's fork. The
log is read from the page cache. Progress goes to stderr; the last line printed is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import numpy as np

from avalist.app.administer import CreateMerchant
from avalist.app.warm import warm_up
from avalist.bootstrap import Installation, build, open_follower, open_snapshots
from avalist.config import settings_from
from avalist.domain.errors import AvalistError
from avalist.domain.events import Payment, decode_payment, from_ms
from avalist.follow import Follower
from bench._payments import payment
from bench._raw import keep
from bench.decide import LEAN

START_MS = 1_767_225_600_000
_STEP_MS = 500
_BATCH = 2000
_BODY_BYTES = 900
PARTS = {"tail": "", "fresh": "_fresh", "whole": "_whole"}
"""What a start begins from, and how its figures are named."""


def payments(first: int, count: int) -> Iterator[Payment]:
    """Yield payments with ids from `first` on, half a second apart, of customers drawn with a long tail."""
    rng = np.random.default_rng(1)
    bodies = [payment(0, int(customer), rng, _BODY_BYTES) for customer in rng.zipf(1.3, 20_000) % 50_000]
    templates = [decode_payment(json.dumps({"type": "payment", **body}).encode()) for body in bodies]
    for n in range(first, first + count):
        at = from_ms(START_MS) + timedelta(milliseconds=_STEP_MS * n)
        template = templates[int(n * 2_654_435_761) % len(templates)]
        yield msgspec.structs.replace(
            template, event_id=f"e{n}", payment_id=f"p{n}", occurred_at=at, received_at=at, sent_at=None
        )


def record(here: Installation, first: int, count: int) -> None:
    """Record payments as history."""
    batch: list[Payment] = []
    for event in payments(first, count):
        batch.append(event)
        if len(batch) == _BATCH:
            _write(here, batch)
            told(f"recorded {here.writer.merchant('shop').seq:,} inputs")
    _write(here, batch)


def told(what: str) -> None:
    """Say how far it is, on one line."""
    print(f"\r{what}   ", end="", file=sys.stderr, flush=True)


def _write(here: Installation, batch: list[Payment]) -> None:
    for result in here.writer.record_many("shop", batch, 0):
        if isinstance(result, AvalistError):
            raise result
    here.log.sync()
    batch.clear()


def snapshot(folder: Path) -> dict[str, float]:
    """Save a snapshot as the follower does; return how long it took and how large it is."""
    settings = settings_from({}, data=folder, snapshot_log_mb=1 << 40)
    with build(settings) as here:
        whole = open_follower(here.settings, here.log, here.documents, here.blobs)
        follower = Follower(here.log, whole.states, whole.learning)  # documents and vault are not what is measured
        while follower.behind_bytes:
            follower.advance()
        start = time.perf_counter()
        follower.states.save()
        taken_s = time.perf_counter() - start
        assert open_snapshots(here.blobs, here.log).newest(here.load_model) is not None
    size = sum(file.stat().st_size for file in (folder / "blobs" / "shop").iterdir())
    return {"snapshot_save_s": round(taken_s, 2), "snapshot_mb": round(size / 1e6, 1)}


def start_once(folder: Path) -> dict[str, object]:
    """Start in this process; return how long it took and the digest of the state."""
    warm_up([])
    start, start_cpu = time.perf_counter(), time.process_time()
    with build(settings_from({}, data=folder)) as here:
        taken_s, cpu_s = time.perf_counter() - start, time.process_time() - start_cpu
        merchant = here.writer.merchant("shop")
        rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        return {
            "s": taken_s,
            "cpu_s": cpu_s,
            "digest": merchant.features.digest(),
            "seq": merchant.seq,
            "rss_mb": rss_mb,
        }


def started(folder: Path) -> dict[str, float]:
    """Start in a process of its own."""
    told("starting from what is there")
    command = [sys.executable, "-m", "bench.recovery", "--start", str(folder)]
    answer: dict[str, float] = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.recovery", description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=1_000_000, help="events after the snapshot")
    parser.add_argument("--before", type=int, default=200_000, help="events before it")
    parser.add_argument("--parts", default=",".join(PARTS), help="which starts are measured")
    parser.add_argument("--start", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.start is not None:
        print(json.dumps(start_once(given.start)))
        return
    folder = Path(tempfile.mkdtemp(prefix="avalist-recovery-"))
    try:
        print(json.dumps(measure(folder, given.before, given.events, given.parts.split(","))))
    finally:
        shutil.rmtree(folder)


def measure(folder: Path, before: int, events: int, parts: list[str]) -> dict[str, object]:
    """Return the figures."""
    found: dict[str, object] = {"bench": "recovery", "events_in_tail": events, "events_before": before}
    with build(settings_from({}, data=folder)) as here:
        here.administration.carry_out(CreateMerchant("shop", LEAN, prior=False), 0)
        record(here, 0, before)
    snapshot(folder)
    with build(settings_from({}, data=folder)) as here:
        record(here, before, events)
        found["log_mb"] = round(here.log.end / 1e6)
    states, starts = set(), {}
    for part, named in PARTS.items():
        if part not in parts:
            continue
        if part == "fresh":
            found |= snapshot(folder)
        elif part == "whole":
            shutil.rmtree(folder / "blobs")
        start = starts[part] = started(folder)
        states.add((start["digest"], start["seq"]))
        found |= {f"recovery{named}_{unit}": round(start[unit], 2) for unit in ("s", "cpu_s")}
        found.setdefault("rss_mb", start["rss_mb"])
    keep("recovery", starts)
    assert len(states) == 1, "every start gives the same state"
    return found


if __name__ == "__main__":
    main()

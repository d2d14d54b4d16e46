"""How long a decider takes to be ready after a death: from a snapshot and the log's tail, and from the whole log.

``python -m bench.recovery [--events N] [--before N]``; a merchant with `before` payments lives through `events` more
after the snapshot (``recovery_s``), then another is taken (``recovery_fresh_s``: no tail). Each start is a process of
its own, with everything imported and compiled before the clock starts, as in the supervisor's fork. The log is read
from the page cache. The last line printed is one JSON object.
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
from bench._payments import payment
from bench.decide import LEAN

START_MS = 1_767_225_600_000
_STEP_MS = 500
_BATCH = 2000
_BODY_BYTES = 900


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
    _write(here, batch)


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
        follower = open_follower(here.settings, here.log, here.documents, here.blobs)
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
    command = [sys.executable, "-m", "bench.recovery", "--start", str(folder)]
    answer: dict[str, float] = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.recovery", description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=1_000_000, help="events after the snapshot")
    parser.add_argument("--before", type=int, default=200_000, help="events before it")
    parser.add_argument("--start", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.start is not None:
        print(json.dumps(start_once(given.start)))
        return
    folder = Path(tempfile.mkdtemp(prefix="avalist-recovery-"))
    try:
        print(json.dumps(measure(folder, given.before, given.events)))
    finally:
        shutil.rmtree(folder)


def measure(folder: Path, before: int, events: int) -> dict[str, object]:
    """Return the figures."""
    with build(settings_from({}, data=folder)) as here:
        here.administration.carry_out(CreateMerchant("shop", LEAN, prior=False), 0)
        record(here, 0, before)
    snapshot(folder)
    with build(settings_from({}, data=folder)) as here:
        record(here, before, events)
        log_mb = round(here.log.end / 1e6)
    tail = started(folder)
    saved = snapshot(folder)
    fresh = started(folder)
    shutil.rmtree(folder / "blobs")
    whole = started(folder)
    assert tail["digest"] == fresh["digest"] == whole["digest"]
    assert tail["seq"] == fresh["seq"] == whole["seq"]
    return {
        "bench": "recovery",
        "recovery_s": round(tail["s"], 2),
        "recovery_whole_s": round(whole["s"], 2),
        "recovery_fresh_s": round(fresh["s"], 2),
        "recovery_cpu_s": round(tail["cpu_s"], 2),
        "recovery_whole_cpu_s": round(whole["cpu_s"], 2),
        "recovery_fresh_cpu_s": round(fresh["cpu_s"], 2),
        "events_in_tail": events,
        "events_before": before,
        "log_mb": log_mb,
        **saved,
        "rss_mb": tail["rss_mb"],
    }


if __name__ == "__main__":
    main()

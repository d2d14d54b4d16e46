"""What idle merchants cost a busy one on the same decider (I6): ``python -m bench.idle [--merchants N]``.

One service has the busy merchant alone, another has N idle ones beside it (5,000; each paid twice, then nothing).
They are started as an operator starts them, one after the other, in turns; the decider has core 0, the load and the
follower core 1. No model: a decision reads and folds over 100 features, and is logged. The open loop runs at the same
rate for both: 30 % of the first maximum of the merchant that is alone. Keys with ``_alone`` are of the service without
idle merchants; medians of the turns. Memory is the resident size after the load, MB. The last line printed is one JSON
object.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from rich.progress import track

from avalist.app.administer import CreateMerchant, IssueKey
from avalist.app.writer import Asked
from avalist.bootstrap import Installation, build
from avalist.config import settings_from
from avalist.domain.events import Payment, decode_payment
from avalist.domain.keys import HOUSE
from bench._load import Load, Target
from bench._payments import bodies
from bench._raw import keep
from bench.decide import LEAN, LOAD_CORE, SERVER_CORE
from tests.cluster.running import until
from tests.live import Service

BUSY = "busy"
CONNECTIONS = 16
TURNS = 3
PAID = 2
_TOGETHER = 100


def make(folder: Path, idle: int) -> str:
    """Make a data folder with the busy merchant and idle ones; return the busy one's key."""
    paid = [decode_payment(body) for body in bodies(10**9, PAID)]
    with build(settings_from(data=folder)) as here:
        for n in track(range(idle), f"{idle:,} merchants", transient=True):
            begin(here, f"idle-{n}", paid)
            if n % _TOGETHER == 0:
                here.log.sync()
        begin(here, BUSY, paid)
        key = str(here.administration.carry_out(IssueKey(BUSY, "live"), here.clock.now_ms())["key"])
    return key


def begin(here: Installation, merchant: str, paid: Sequence[Payment]) -> None:
    """Create a merchant, and let it be paid."""
    now_ms = here.clock.now_ms()
    here.administration.carry_out(CreateMerchant(merchant, LEAN, prior=False), now_ms)
    here.writer.decide_many([Asked(merchant, payment, now_ms) for payment in paid])


def measure(folder: Path, key: str, per_s: float, seconds: float, first: int) -> dict[str, float]:
    """Start a service, load its busy merchant, stop it; `per_s` is the open loop's rate, 0 for 30 % of the maximum.

    The first start reads the whole log, later ones the snapshot that the follower took of it.
    """
    start_s = time.perf_counter()
    service = Service(folder, AVALIST_SNAPSHOT_S="3600")
    started_s = time.perf_counter() - start_s
    try:
        decider, follower = service.decider(), service.follower()
        os.sched_setaffinity(decider, {SERVER_CORE})
        os.sched_setaffinity(follower, {LOAD_CORE})
        assert until(lambda: any((folder / "blobs" / HOUSE).glob("snapshot~*")), 300), "the follower saved nothing"
        load = Load(Target(service.port, "/v1/decisions", key), CONNECTIONS)
        load.closed(bodies(first, 10**7), 2.0)
        top = load.closed(bodies(first + 10**7, 10**7), seconds)
        calm = load.open(bodies(first + 2 * 10**7, 10**7), per_s or 0.3 * top.per_s, seconds)
        load.close()
        return {
            "start_s": started_s, "per_s": top.per_s, "p50_ms": calm.quantile_ms(0.5), "p99_ms": calm.quantile_ms(0.99),
            "rss_mb": resident_mb(decider), "follower_rss_mb": resident_mb(follower),
            "degraded": top.degraded + calm.degraded, "bad": top.bad + calm.bad,
        }  # fmt: skip
    finally:
        service.stop()


def resident_mb(pid: int) -> float:
    """Return a process's resident memory."""
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0]) / 1024


def compare(folder: Path, merchants: int, seconds: float) -> dict[str, float]:
    """Measure both services in turns; return the medians."""
    folders = {"_alone": folder / "alone", "": folder / "many"}
    keys = {name: make(data, 0 if name else merchants) for name, data in folders.items()}
    turns: dict[str, list[dict[str, float]]] = {"_alone": [], "": []}
    per_s = 0.0
    for turn in range(TURNS):
        for n, (name, data) in enumerate(folders.items()):
            found = measure(data, keys[name], per_s, seconds, (2 * turn + n) * 10**8)
            per_s = per_s or 0.3 * found["per_s"]
            turns[name].append(found)
            print(name or "many", {key: round(value, 2) for key, value in found.items()}, file=sys.stderr)
    keep("idle", turns)
    figures = {f"{key}{name}": round(median(one[key] for one in found), 2) for name, found in turns.items()
               for key in found[0]}  # fmt: skip
    return {
        "merchants": merchants, **figures, "p99_ratio": round(figures["p99_ms"] / figures["p99_ms_alone"], 2),
        "kb_per_idle_merchant": round(1024 * (figures["rss_mb"] - figures["rss_mb_alone"]) / merchants),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--merchants", type=int, default=5000)
    parser.add_argument("--seconds", type=float, default=5.0)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {LOAD_CORE})
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = Path(tempfile.mkdtemp(prefix="avalist-bench-"))
    try:
        figures = compare(folder, arguments.merchants, arguments.seconds)
    finally:
        shutil.rmtree(folder)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

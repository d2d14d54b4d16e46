"""Time the import of history, end to end, on one core: from the file to a log that is durable and a state that is warm.

``python -m bench.import``; raw samples in ``bench/out/import.json``, the last line is one JSON object. Two files: the
Handbook's payments (skipped where they are absent), and the simulator's full events as JSON lines. Each run is a
process of its own, bound to one core, with a new data folder; the kernel is compiled before the clock starts.
``reader`` is the way from the file to ordered events alone, without the writer. Memory is the largest resident set of
the whole process; of the Handbook it is also given for half of the file, for it is not to grow with it.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from avalist.bootstrap import build
from avalist.cli.bring_in import bring_in
from avalist.config import Settings
from avalist.domain.schema import DIGITAL_GOODS
from avalist.history.eventfile import EventHistory
from avalist.history.mapping import Mapping, decode_mapping
from avalist.history.rejects import Rejects
from avalist.history.rowfile import RowHistory
from avalist.simulator import World, history
from bench._raw import keep

DATA = Path("../shared/data/handbook/transactions.parquet")
MAPPING = Path("docs/mappings/handbook.toml")
DAYS, SEED = 30.0, 1


def simulated(folder: Path, days: float) -> Path:
    """Write the simulator's events as JSON lines."""
    file = folder / "events.jsonl"
    with file.open("wb") as stream:
        for event in history(World(seed=SEED), days):
            stream.write(msgspec.json.encode(event) + b"\n")
    return file


def measure(file: Path, mapping: Mapping | None, reader: bool) -> dict[str, Any]:
    """Import a file in this process; return payments, seconds by wall and processor, and memory."""
    with tempfile.TemporaryDirectory(prefix="avalist-import-") as name:
        folder = Path(name)
        if not reader:
            with build(Settings(data=folder / "warm")) as here:
                bring_in(here, "warm", simulated(folder, 0.2), None)
        wall, cpu = time.perf_counter(), time.process_time()
        payments = read(file, mapping, folder) if reader else whole(file, mapping, folder)
        took = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
    return {"payments": payments, **took, "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def whole(file: Path, mapping: Mapping | None, folder: Path) -> int:
    with build(Settings(data=folder / "data")) as here:
        brought = bring_in(here, "shop", file, mapping, rejects=folder / "rejects.csv")
    payments: int = brought.payments
    return payments


def read(file: Path, mapping: Mapping | None, folder: Path) -> int:
    history: RowHistory | EventHistory
    if mapping is None:
        history = EventHistory(file, DIGITAL_GOODS, folder / "runs")
    else:
        history = RowHistory(file, mapping, mapping.merchant_schema(), b"k" * 32, folder / "runs")
    gc.disable()  # as an import does
    with Rejects(folder / "rejects.csv") as rejects:
        payments = history.survey(rejects).payments
    for _ in history.events():
        pass
    return payments


def child(*words: str) -> dict[str, Any]:
    """Measure in a process of its own, on one core."""
    core = min(os.sched_getaffinity(0))
    environment = {**os.environ, "POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "bench.import", *words]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, env=environment, check=True, preexec_fn=lambda: os.sched_setaffinity(0, {core})
    )
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def rate(sample: dict[str, Any], clock: str = "wall_s") -> int:
    return int(sample["payments"] / sample[clock])


def main() -> None:
    samples: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="avalist-import-") as name:
        events = str(simulated(Path(name), DAYS))
        samples["full"] = child("whole", events)
        samples["full_reader"] = child("reader", events)
        if DATA.exists():
            half = Path(name) / "half.parquet"
            frame = pl.read_parquet(DATA)
            frame.head(len(frame) // 2).write_parquet(half)
            samples["handbook"] = child("whole", str(DATA), str(MAPPING))
            samples["handbook_reader"] = child("reader", str(DATA), str(MAPPING))
            samples["handbook_half"] = child("whole", str(half), str(MAPPING))
    keep("import", samples)
    print(json.dumps(result(samples)))


def result(samples: dict[str, dict[str, Any]]) -> dict[str, object]:
    full = samples["full"]
    found: dict[str, object] = {
        "bench": "import",
        "payments_per_s_full": rate(full),
        "payments_per_cpu_s_full": rate(full, "cpu_s"),
    }
    found |= {
        "reader_us_full": round(1e6 / rate(samples["full_reader"], "cpu_s"), 1),
        "rss_mb_full": round(full["rss_mb"]),
    }
    if "handbook" not in samples:
        return found | {"skipped": f"no data at {DATA}"}
    book = samples["handbook"]
    found |= {"payments": book["payments"], "payments_per_s": rate(book), "payments_per_cpu_s": rate(book, "cpu_s")}
    found |= {"reader_us": round(1e6 / rate(samples["handbook_reader"], "cpu_s"), 1), "rss_mb": round(book["rss_mb"])}
    return found | {"rss_mb_half": round(samples["handbook_half"]["rss_mb"])}


if __name__ == "__main__":
    if len(sys.argv) > 2:
        kind, path, *more = sys.argv[1:]
        plan = decode_mapping(Path(more[0]).read_text()) if more else None
        print(json.dumps(measure(Path(path), plan, kind == "reader")))
    else:
        main()

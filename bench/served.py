"""Import, train and serve two public data sets with nothing in common, then verify 10,000 live decisions by replay.

``python -m bench.served [handbook|sparkov …]``; every step is the command a user would give. The payments held out go
through HTTP with their own times, their outcomes between them; then ``avalist replay --verify`` makes every decision
again. Answers are kept in ``bench/out/served-*.json``; the last line printed is one JSON object. The data are simulated
by others, not those of a payment system.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl

from avalist.adapters.file.secrets import FolderSecrets
from avalist.cli.client import Client
from avalist.config import settings_from
from avalist.domain.events import Payment, WireEvent
from avalist.history.mapping import Mapping, decode_mapping
from avalist.history.rejects import Rejects
from avalist.history.rowfile import RowHistory
from bench.decide import free_port, running

OUT = Path(__file__).parent / "out"
DATA = Path("../shared/data")
LIVE = 10_000
HISTORY_D = {"handbook": 40, "sparkov": 365}
"""Days of history imported before the payments that are decided live."""


def avalist(*words: str) -> str:
    """Run a command of the product and return what it printed."""
    done = subprocess.run([sys.executable, "-m", "avalist", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"avalist {' '.join(words)}: {done.stdout}{done.stderr}")
    return done.stdout


def serve(name: str, folder: Path) -> dict[str, object]:
    """Take one data set from its file to verified decisions."""
    mapping_file = Path("docs/mappings") / f"{name}.toml"
    mapping = decode_mapping(mapping_file.read_text())
    (at,) = mapping.time_columns
    frame = pl.read_parquet(DATA / name / "transactions.parquet").sort(at, maintain_order=True)
    cut: dt.datetime = frame[at][-LIVE]
    recent = frame.filter(pl.col(at) >= cut - dt.timedelta(days=HISTORY_D[name]))
    file = folder / "history.parquet"
    recent.write_parquet(file)
    data, port = ("--data", str(folder / "data")), free_port()
    steps: dict[str, tuple[str, ...]] = {
        "import": ("import", name, str(file), "--mapping", str(mapping_file), "--until", cut.isoformat(), *data)
    }
    steps["train"] = ("train", name, *data)
    seconds = {step: _timed(words) for step, words in steps.items()}
    key = avalist("merchant", "key", name, "--kind", "simulation", *data).strip()
    command = [sys.executable, "-m", "avalist", "up", *data, "--port", str(port)]
    with running(command, port, "/readyz"):
        answers = decide(Client(settings_from({}, port=port), key), events(mapping, file, folder, cut))
    verified = avalist("replay", name, "--verify", *data)
    again = re.search(r"([\d,]+) decisions made again, ([\d,]+) differ", verified)
    assert again is not None, verified
    OUT.mkdir(exist_ok=True)
    (OUT / f"served-{name}.json").write_bytes(msgspec.json.encode(answers))
    made, differ = (int(group.replace(",", "")) for group in again.groups())
    return {
        f"{name}_decided": len(answers),
        f"{name}_approved": round(float(np.mean([a["action"] == "approve" for a in answers])), 4),
        f"{name}_degraded": sum(a["degraded"] for a in answers),
        f"{name}_replayed": made,
        f"{name}_differ": differ,
        **{f"{name}_{step}_s": taken for step, taken in seconds.items()},
    }


def _timed(words: tuple[str, ...]) -> float:
    start = time.perf_counter()
    print(avalist(*words), flush=True)
    return round(time.perf_counter() - start, 1)


def events(mapping: Mapping, file: Path, folder: Path, cut: dt.datetime) -> Iterator[WireEvent]:
    """Yield what became known from `cut` on."""
    secret = FolderSecrets(folder / "data" / "secrets").merchant("-")
    history = RowHistory(file, mapping, mapping.merchant_schema(), secret, folder / "runs")
    with Rejects(folder / "rejects.csv") as rejects:
        history.survey(rejects)
    start = cut.replace(tzinfo=dt.UTC)
    for batch in history.events():
        yield from (event for event in batch if event.received_at is not None and event.received_at >= start)


def decide(client: Client, life: Iterator[WireEvent]) -> list[dict[str, Any]]:
    """Send payments to be decided and what comes between them to be recorded; return the answers."""
    answers: list[dict[str, Any]] = []
    for event in life:
        body = msgspec.json.encode(event)
        if isinstance(event, Payment):
            answers.append(client.call("POST", "/v1/decisions", body))
            if len(answers) == LIVE:
                break
        else:
            client.call("POST", "/v1/events", body)
    return answers


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.served", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=list(HISTORY_D), help="handbook, sparkov")
    result: dict[str, object] = {"bench": "served"}
    for name in parser.parse_args().names:
        if not (DATA / name).exists():
            result[f"{name}_skipped"] = f"no data at {DATA / name}"
            continue
        folder = Path(tempfile.mkdtemp(prefix="avalist-served-"))
        try:
            result |= serve(name, folder)
        finally:
            shutil.rmtree(folder)
    print(json.dumps(result))


if __name__ == "__main__":
    main()

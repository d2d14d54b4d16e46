"""Payments a second of a backtest: a threshold change, whose scores stand in the log, and a model change, rescored.

``python -m bench.backtest [--payments N]``; raw samples in ``bench/out/backtest.json``, the last line is JSON. A
merchant with 20,000 payments of history and a model of 300 trees decides `payments` more, half of them captured.
`backtest_payments_per_s` is a threshold change: each payment decided again by the one function that decides, and all
graded, with intervals and segments; `read_*` is reading them back from the log, once for any number of changes, and
`read_and_rescore_*` is that with another model. Rates count processor time of one process; those by wall clock stand
beside them, the best of five runs each.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from avalist.app.backtest import backtest, decide_again, threshold
from avalist.app.past import Past, Period
from avalist.app.reread import read_past
from avalist.app.writer import Asked
from avalist.bootstrap import build, load_model, open_blobs, open_log
from avalist.config import Settings, settings_from
from avalist.domain.errors import AvalistError
from avalist.domain.events import Capture, from_ms
from bench._raw import keep
from bench.decide import LEAN, prepare
from bench.recovery import START_MS, payments

FIRST, BATCH, TIMES = 1_000_000, 64, 5
PAYMENTS = 60_000
BEGIN_MS = START_MS + 40 * 86_400_000


def live(settings: Settings, count: int) -> str:
    """Let the merchant decide payments; return the version of its model."""
    with build(settings) as here:
        asked: list[Asked] = []
        for n, event in enumerate(payments(FIRST, count)):
            at = from_ms(BEGIN_MS + 500 * n)
            event = msgspec.structs.replace(event, received_at=None, occurred_at=at)
            asked.append(Asked("shop", event, BEGIN_MS + 500 * n))
            if len(asked) == BATCH or n == count - 1:
                decide(here.writer.decide_many, asked)
                taken = [Capture(event_id=f"c{a.event.payment_id}", occurred_at=a.event.occurred_at,
                                 payment_id=a.event.payment_id) for a in asked[::2]]  # fmt: skip
                here.writer.record_many("shop", taken, asked[-1].at_ms)
                asked.clear()
        here.log.sync()
        return here.writer.merchant("shop").model_version


def decide(many: Callable[[list[Asked]], object], asked: list[Asked]) -> None:
    for answer in many(asked):  # type: ignore[attr-defined]
        if isinstance(answer, AvalistError):
            raise answer


def timed(run: Callable[[], Past]) -> tuple[Past, float, float]:
    """Return a past that was read, and how many processor and wall seconds that took."""
    cpu, wall = time.process_time(), time.perf_counter()
    past = run()
    return past, time.process_time() - cpu, time.perf_counter() - wall


def change(past: Past) -> Past:
    """Decide the payments of a past again by a threshold, and grade all."""
    backtest(past, decide_again(past, threshold(0.1)), "shop", "bench")
    return past


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--payments", type=int, default=PAYMENTS)
    wanted = parser.parse_args().payments
    print(json.dumps({"bench": "backtest", "payments": wanted, **rates(wanted)}))


def rates(wanted: int = PAYMENTS) -> dict[str, int]:
    """Measure each step on so many payments; return payments a second by the name of the key."""
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), LEAN)
        settings = settings_from({}, data=Path(folder))
        version = live(settings, wanted)
        raw = measure(settings, version)
    keep("backtest", raw)
    result: dict[str, int] = {}
    for name, runs in raw.items():
        best, by_wall = (round(wanted / min(run[k] for run in runs)) for k in (0, 1))
        result |= {f"{name}_payments_per_s": best, f"{name}_payments_per_s_by_wall": by_wall}
    return result


def measure(settings: Settings, version: str) -> dict[str, list[tuple[float, float]]]:
    """Return (processor, wall) seconds of each run of each step."""
    log, model = open_log(settings, readonly=True), load_model(open_blobs(settings), "shop", version).artefact
    period = Period(BEGIN_MS)
    past = read_past(log.read, "shop", period)
    steps: dict[str, Callable[[], Past]] = {
        "backtest": lambda: change(past),
        "read": lambda: read_past(log.read, "shop", period),
        "read_and_rescore": lambda: read_past(log.read, "shop", period, model),
    }
    raw = {name: [timed(run)[1:] for _ in range(TIMES)] for name, run in steps.items()}
    log.close()
    return raw


if __name__ == "__main__":
    main()

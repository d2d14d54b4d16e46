"""Time a merchant's history as typed events, one core, and say what the default world is like.

``python -m bench.simulate [days]``; raw samples in ``bench/out/simulate.json``, the last line is one JSON object.
A sample is a run of 20,000 events; its rate is given by wall clock and by processor time, which a busy machine spoils
less; ``events_per_s_by_sample`` is the 10th percentile, the median and the best. The first samples meet every customer
for the first time and are the slowest; none is left out.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from itertools import islice

import numpy as np

from avalist.simulator import Attempt, World, play
from bench._raw import keep

DAYS, SAMPLE, SEED = 30.0, 20_000, 1


def run(world: World, days: float, attempts: list[Attempt]) -> tuple[list[tuple[int, int, int]], Counter[str]]:
    """Return (events, wall ns, processor ns) of each sample, and how many events came of each type."""

    def approve(attempt: Attempt) -> bool:
        attempts.append(attempt)
        return True

    samples: list[tuple[int, int, int]] = []
    types, events = Counter[str](), play(world, days, approve)
    while True:
        wall, cpu = time.perf_counter_ns(), time.process_time_ns()
        chunk = list(islice(events, SAMPLE))
        if not chunk:
            return samples, types
        samples.append((len(chunk), time.perf_counter_ns() - wall, time.process_time_ns() - cpu))
        types.update(event.type for event in chunk)


def facts(attempts: list[Attempt]) -> dict[str, object]:
    """Return the facts that the world file declares, as they came out."""
    truths = [a.truth for a in attempts]
    regular = [t for t in truths if t.wave_id is None]
    fraud = [t for t in truths if t.fraud]
    p = np.array([t.p_fraud for t in truths])
    days = [(t.reported_at_ms - a.payment.occurred_at.timestamp() * 1e3) / 864e5
            for t, a in zip(truths, attempts, strict=True) if t.reported_at_ms is not None]  # fmt: skip
    hours = Counter(a.payment.occurred_at.replace(minute=0, second=0, microsecond=0) for a in attempts)
    wave_hours = Counter(
        a.payment.occurred_at.replace(minute=0, second=0, microsecond=0)
        for a in attempts
        if a.truth.wave_id is not None
    )
    return {
        "payments": len(truths),
        "fraud_share_between_waves": round(sum(t.fraud for t in regular) / len(regular), 5),
        "fraud_share": round(len(fraud) / len(truths), 5),
        "indistinguishable_share_of_fraud": round(sum(t.process == "honest" for t in fraud) / len(fraud), 4),
        "waves": len({t.wave_id for t in truths} - {None}),
        "largest_wave_share_of_an_hour": round(max((n / hours[h] for h, n in wave_hours.items()), default=0.0), 4),
        "report_delay_median_d": round(float(np.median(days)), 2),
        "report_delay_p95_d": round(float(np.quantile(days, 0.95)), 2),
        "observed_over_expected": round(float(len(fraud) / p.sum()), 4),
    }


def main() -> None:
    days = float(sys.argv[1]) if len(sys.argv) > 1 else DAYS
    world, attempts = World(seed=SEED), list[Attempt]()
    samples, types = run(world, days, attempts)
    keep("simulate", samples)
    events, wall, cpu = np.array(samples).sum(axis=0)
    rates = [n / ns * 1e9 for n, ns, _ in samples]
    print(" ".join(f"{name} {n}" for name, n in sorted(types.items())))
    result: dict[str, object] = {"bench": "simulate", "world": world.config.name, "seed": SEED, "days": days}
    result |= {"events": int(events), "events_per_s": round(events / wall * 1e9)}
    result |= {
        "events_per_cpu_s": round(events / cpu * 1e9),
        "events_per_s_by_sample": [round(r) for r in np.quantile(rates, [0.1, 0.5, 1.0])],
    }
    print(json.dumps(result | facts(attempts)))


if __name__ == "__main__":
    main()

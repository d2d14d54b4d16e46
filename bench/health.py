"""How often a health check cries wolf in a shop where nothing changes, and how soon it tells what does.

``python -m bench.health [--days D] [--seeds N]``; every check in ``bench/out/health.json``, the last line printed is
one JSON object. A simulated merchant with its lone fraud and waves decides by the shipped prior at its own level, taken
anew each week, and is checked each day from day 45 on. Then the last day again with one thing broken: the level
(probabilities of eight weeks a third of what they were), a field (the device missing in half of the payments of a
week), a column (account ages of a week a hundredfold).
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from typing import Any, Final

import numpy as np

from avalist.app.dataset import Dataset
from avalist.app.health import Health, check
from avalist.app.prior import at_level, prior_of
from avalist.app.train import known_by
from avalist.domain.schema import DAY_MS
from avalist.simulator import World
from bench._raw import keep
from bench.coldstart import lived

FROM_D: Final = 45
PER_DAY: Final = 200.0


def decided(data: Dataset, start_ms: int, days: int) -> Dataset:
    """Return a log as if the prior had decided it, at the level of the week before."""
    prior, p = prior_of(data.schema, data.plan), np.full((len(data.t_ms), 2), np.nan, np.float32)
    assert prior is not None, "a schema that the prior knows"
    for week in range(days // 7 + 1):
        cut = start_ms + 7 * week * DAY_MS
        rows = (data.t_ms >= cut) & (data.t_ms < cut + 7 * DAY_MS)
        if rows.any():
            p[rows, 0] = at_level(prior, known_by(data, cut)).p_fraud(data.x[rows])
            p[rows, 1] = 1.0
    return replace(data, background=replace(data.background, decided=p))


def until(data: Dataset, cut_ms: int) -> Dataset:
    """Return a log as it was at a time."""
    n, said = int(np.searchsorted(data.t_ms, cut_ms)), data.background
    changes = data.changes[(data.changes[:, 3] < cut_ms) & (data.changes[:, 0] < n)]
    background = replace(said, keys=said.keys[:n], decided=said.decided[:n], sold=said.sold[:n])
    arrays: dict[str, Any] = {"x": data.x[:n], "t_ms": data.t_ms[:n], "amount_minor": data.amount_minor[:n]}
    return replace(data, **arrays, changes=changes, cut_ms=cut_ms, background=background)


def broken(data: Dataset, what: str) -> Dataset:
    """Return a log with one thing broken at its end."""
    late, said = data.t_ms >= data.cut_ms - 7 * DAY_MS, data.background
    if what == "level":
        p = said.decided.copy()
        p[data.t_ms >= data.cut_ms - 56 * DAY_MS, 0] /= 3.0
        return replace(data, background=replace(said, decided=p))
    if what == "missing":
        keys = said.keys.copy()
        keys[late & (np.arange(len(late)) % 2 == 0), 2] = 0
        return replace(data, background=replace(said, keys=keys))
    x = data.x.copy()
    x[late, data.plan.columns.index("account_age_s")] *= 100.0
    return replace(data, x=x)


def told(day: int, found: Health) -> dict[str, Any]:
    """Return a check's alerts."""
    return {"day": day, "checks": found.checks, "alerts": [(alert.kind, alert.subject) for alert in found.alerts]}


def run(seed: int, days: int) -> dict[str, Any]:
    """Live one merchant and check it day by day."""
    world = World(vertical="gift_cards", seed=seed, payments_per_day=PER_DAY)
    data = decided(lived(world, days).data, world.start_ms, days)
    daily = [told(d, check(until(data, world.start_ms + d * DAY_MS), "shop")) for d in range(FROM_D, days + 1)]
    end = until(data, world.start_ms + days * DAY_MS)
    standing = {tuple(alert) for alert in daily[-1]["alerts"]}
    found = {}
    for what in ("level", "missing", "drift"):
        alerts = told(days, check(broken(end, what), "shop"))["alerts"]
        found[what] = sum(kind == what and (kind, subject) not in standing for kind, subject in alerts)
    return {"seed": seed, "daily": daily, "found": found}


def raised(daily: list[dict[str, Any]]) -> int:
    """Return how many alerts were raised: those that did not stand the day before."""
    stood: set[tuple[str, str]] = set()
    count = 0
    for one in daily:
        now = {(kind, subject) for kind, subject in one["alerts"]}
        count += len(now - stood)
        stood = now
    return count


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.health", description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=1)
    given = parser.parse_args()
    runs = [run(seed, given.days) for seed in range(1, given.seeds + 1)]
    keep("health", runs)
    years = given.seeds * (given.days - FROM_D) / 365.0
    kinds = [kind for one in runs for day in one["daily"] for kind, _ in day["alerts"]]
    print(
        json.dumps(
            {
                "bench": "health",
                "false_alerts_per_year": round(sum(raised(one["daily"]) for one in runs) / years, 1),
                "days_with_alerts": sum(bool(day["alerts"]) for one in runs for day in one["daily"]),
                "by_kind": {kind: kinds.count(kind) for kind in ("level", "drift", "missing")},
                "checks": len(runs) * (given.days - FROM_D + 1),
                "questions_each": runs[-1]["daily"][-1]["checks"],
                "broken_and_found": {
                    what: sum(one["found"][what] > 0 for one in runs) for what in ("level", "missing", "drift")
                },
                "merchants": len(runs),
            }
        )
    )


if __name__ == "__main__":
    main()

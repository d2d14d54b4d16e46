"""A new merchant's first months, week by week: the prior alone, trees of its own alone, and what Avalist does.

``python -m bench.coldstart [--weeks W] [--merchants N]``; every merchant-week in ``bench/out/coldstart.json``, the last
line printed is one JSON object. A merchant of a world that the prior never saw (other seeds, other rates, other habits)
begins with no history. At the beginning of each week three ways learn from what is logged by then: *prior* takes its
level, *own* trains trees from forty reported frauds on and approves everything until then, *avalist* is
``avalist train``. They decide on the same week, and the truth tells what that earned. Nothing declined goes missing
from the log: the ways are compared on equal labels.

``profit_vs_best_of_two`` is Avalist's profit over that of whichever of the other two earned more in that week, chosen
in hindsight, all merchants together. ``worse_weeks`` counts merchant-weeks in which it lost to it by more than noise
(90 % interval of the difference, days drawn).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from avalist.app.administer import CreateMerchant
from avalist.app.dataset import Dataset, collect
from avalist.app.prior import at_level, own_model, prior_of
from avalist.app.train import FEWEST_FRAUDS, Training, known_by, train_on
from avalist.bootstrap import build
from avalist.cli.history import record_all
from avalist.cli.options import progress_bar
from avalist.config import Settings
from avalist.domain.errors import BadInput
from avalist.domain.schema import DAY_MS, DIGITAL_GOODS
from avalist.models.artefact import Artefact
from avalist.models.judge import Draws
from avalist.models.metrics import average_precision
from avalist.models.train import TrainParams
from avalist.models.trees import F64
from avalist.policy.choose import Desk
from avalist.policy.economics import Policy
from avalist.simulator import Attempt, World, WorldConfig, load_world, play
from avalist.simulator.config import Vertical
from bench._raw import keep
from bench.policy import Lived, Truth, truth_of

WEEK_MS: Final = 7 * DAY_MS
WAYS: Final = ("prior", "own", "avalist")
TREES: Final = TrainParams(test_share=0.0, trees=80, leaves=15, learning_rate=0.1, min_data_in_leaf=40)


class Kind(NamedTuple):
    """A new merchant: its size, its fraud, and habits (share of new customers, loyalty) unlike the prior's worlds."""

    vertical: Vertical
    per_day: float
    rate: float
    hidden: float
    waves: float
    new_share: float
    loyalty: float


KINDS: Final = (
    Kind("gift_cards", 300, 0.015, 0.2, 6.0, 0.06, 0.7),
    Kind("games", 300, 0.03, 0.4, 3.0, 0.15, 0.4),
    Kind("crypto", 300, 0.006, 0.3, 8.0, 0.10, 0.5),
    Kind("gift_cards", 150, 0.025, 0.5, 2.0, 0.20, 0.3),
)


def world_of(kind: Kind, seed: int) -> World:
    """Return a merchant's world."""
    base = load_world()
    config: WorldConfig = msgspec.structs.replace(
        base,
        fraud=msgspec.structs.replace(base.fraud, rate=kind.rate, indistinguishable_share=kind.hidden),
        waves=msgspec.structs.replace(base.waves, per_month=kind.waves),
        habits=msgspec.structs.replace(base.habits, new_share=kind.new_share, loyalty=kind.loyalty),
    ).check()
    return World(config, vertical=kind.vertical, seed=seed, payments_per_day=kind.per_day)


def lived(world: World, days: int) -> Lived:
    """Live a merchant's first days, all that issuers approve captured."""
    attempts: list[Attempt] = []

    def approve(attempt: Attempt) -> bool:
        attempts.append(attempt)
        return True

    with (
        tempfile.TemporaryDirectory() as folder,
        build(Settings(data=Path(folder) / "data")) as here,
        progress_bar("living it", round(world.vertical.payments_per_day * days)) as bar,
    ):
        here.administration.carry_out(CreateMerchant("shop", DIGITAL_GOODS, prior=False), 0)
        record_all(here, "shop", play(world, days, approve), bar)
        data = collect(here.log.read, "shop")
    return Lived(attempts, np.ones(len(attempts)), Policy(margin=world.vertical.margin), data, world.start_ms, 0)


def models(data: Dataset, cut_ms: int) -> dict[str, Artefact | None]:
    """Return what each way decides by from a cut on; None approves everything."""
    known = known_by(data, cut_ms)
    prior = prior_of(data.schema, data.plan)
    assert prior is not None, "a schema that the prior knows"
    own = None
    if known.y.sum() >= FEWEST_FRAUDS:
        try:
            own = own_model(known, None, TREES, None)
        except BadInput:
            own = None
    logged = replace(data, cut_ms=cut_ms)
    return {"prior": at_level(prior, known), "own": own, "avalist": train_on(logged, Training(params=TREES))}


def earned(run: Lived, truth: Truth, p: F64, rows: np.ndarray) -> F64:
    """Return what each payment at `rows` earned when decided by these probabilities."""
    desk, amount = Desk(run.policy), truth.amount[rows]
    sold = [run.data.background.sold[row] for row in rows.tolist()]
    kept = desk.choose_many(desk.offers(p, amount, sold)).kept
    return np.asarray(np.where(kept, truth.approve[rows], truth.decline[rows]), np.float64)


def weeks_of(run: Lived, weeks: int) -> list[dict[str, Any]]:
    """Return every week's figures of one merchant."""
    truth, found = truth_of(run), []
    fraud = 1.0 - truth.honest
    for week in range(weeks):
        start, cut_ms = time.perf_counter(), run.first_ms + week * WEEK_MS
        rows = np.flatnonzero((run.data.t_ms >= cut_ms) & (run.data.t_ms < cut_ms + WEEK_MS))
        made = models(run.data, cut_ms)
        p = {way: model.p_fraud(run.data.x[rows]) if model else np.zeros(len(rows)) for way, model in made.items()}
        profit = {way: earned(run, truth, p[way], rows) for way in WAYS}
        better = max(("prior", "own"), key=lambda way: float(profit[way].sum()))
        gain = Draws(run.data.t_ms[rows] // DAY_MS).total(profit["avalist"] - profit[better])
        level = made["prior"]
        found.append({
            "week": week, "payments": len(rows), "frauds": int(fraud[rows].sum()), "better": better,
            "known": int(known_by(run.data, cut_ms).y.sum()),
            "by": made["avalist"].trained if made["avalist"] else "",
            "theta": level.prior.theta if level and level.prior else 1.0,
            "profit": {way: float(profit[way].sum()) for way in WAYS},
            "approve_all": float(truth.approve[rows].sum()),
            "gain": [gain.low, gain.value, gain.high],
            "ap": {way: average_precision(fraud[rows], p[way]) for way in WAYS},
            "observed_expected": {way: float(fraud[rows].sum() / max(p[way].sum(), 1e-9)) for way in WAYS},
            "seconds": round(time.perf_counter() - start, 1),
        })  # fmt: skip
        print(json.dumps(found[-1]), flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.coldstart", description=__doc__.splitlines()[0])
    parser.add_argument("--weeks", type=int, default=14)
    parser.add_argument("--merchants", type=int, default=len(KINDS), help=f"the first so many of {len(KINDS)}")
    given = parser.parse_args()
    raw = []
    for seed, kind in enumerate(KINDS[: given.merchants], 1):
        print(kind, flush=True)
        raw.append(
            {
                **kind._asdict(),
                "seed": seed,
                "weeks": weeks_of(lived(world_of(kind, seed), 7 * given.weeks), given.weeks),
            }
        )
    keep("coldstart", raw)
    print(json.dumps(summary(raw)))


def summary(raw: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of all merchants together."""
    every = [week for one in raw for week in one["weeks"]]

    def total(way: str, chosen: list[dict[str, Any]]) -> float:
        return float(sum(week["profit"][way] for week in chosen))

    first = [week for week in every if week["week"] < 4]
    best = sum(week["profit"][week["better"]] for week in every)
    taken_over = [min((w["week"] for w in one["weeks"] if w["by"] == "own"), default=None) for one in raw]
    return {
        "bench": "coldstart",
        "profit_vs_best_of_two": round(total("avalist", every) / best, 4),
        "profit_vs_prior": round(total("avalist", every) / total("prior", every), 4),
        "profit_vs_own": round(total("avalist", every) / total("own", every), 4),
        "profit_vs_approve_all": round(total("avalist", every) / sum(week["approve_all"] for week in every), 4),
        "first_month_vs_own": round(total("avalist", first) / total("own", first), 4),
        "worse_weeks": sum(week["gain"][2] < 0.0 for week in every),
        "merchant_weeks": len(every),
        "own_trees_from_week": taken_over,
        "payments": sum(week["payments"] for week in every),
    }


if __name__ == "__main__":
    main()

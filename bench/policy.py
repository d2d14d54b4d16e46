"""What a policy makes of the frozen simulated world, lived payment by payment, beside one that knows each p.

``python -m bench.policy [--rate N] [--seeds K] [--history D] [--months M] [--backtested N]``; every merchant-month in
``bench/out/policy.json``, the last line printed is one JSON object. Each merchant (a vertical and a seed) has a history
without fraud prevention, learns a model from it, solves its budgets, then lives month after month through ``decide()``:
what it declines is neither captured nor reported to it. It trains again and solves its budgets every month,
from its log alone; then the log is replayed and every decision must come out equal.

Profit is what came true: margin of honest sales, amount and fee of chargebacks, customers lost. The policy that knows p
has the same economics and budgets, solved on the months themselves. ``budget_met_share`` counts merchant-months whose
chargebacks, by count and by value, are within budget or above it by chance alone (90 % interval, days drawn);
``budget_met_strictly`` those at most at the budget. The grid of velocity limits is the best one in hindsight.
``backtest_payments_per_s`` is that of ``bench.backtest``, measured in the same run on so many payments.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import lightgbm as lgb
import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from avalist.app.administer import ActivateModel, CreateMerchant, SetPolicy
from avalist.app.dataset import Dataset, collect
from avalist.app.replay import replay
from avalist.app.solve import solve_budgets
from avalist.app.train import Training, known_by, train_on
from avalist.bootstrap import Installation, build, keep_model
from avalist.config import settings_from
from avalist.domain.decisions import Action
from avalist.domain.errors import AvalistError
from avalist.domain.events import Chargeback, Payment, WireEvent
from avalist.domain.schema import DAY_MS, DIGITAL_GOODS
from avalist.models.judge import Draws
from avalist.models.train import TrainParams
from avalist.models.trees import F64
from avalist.policy.budgets import solve
from avalist.policy.choose import Desk, Sold
from avalist.policy.economics import PRESETS, Budgets, Policy
from avalist.simulator import Attempt, World
from avalist.simulator.config import Vertical
from avalist.simulator.play import Pending, live
from bench import backtest

OUT = Path(__file__).parent / "out" / "policy.json"
BUDGETS = PRESETS["balance"]
VERTICALS: Final[tuple[Vertical, ...]] = ("games", "gift_cards", "crypto")
MONTH_D, TRAIN_D, SOLVE_D = 30, 30, 30
LIMITS = BUDGETS.count_bps or 1e4, BUDGETS.value_bps or 1e4
SHOP = "shop"
TREES = TrainParams(test_share=0.0, trees=200, leaves=31, learning_rate=0.08)
_BATCH = 4_096
Bools = npt.NDArray[np.bool_]
_NONE = Sold("", "", None)


class Lived(NamedTuple):
    """A merchant's months: its payments in order, the policy, and what it approved, float64 [n]."""

    attempts: list[Attempt]
    approved: F64
    policy: Policy
    data: Dataset
    first_ms: int
    different: int


def policy_of(world: World) -> Policy:
    """Return a merchant's policy: its margin, the world's share of reports that are charged back, budgets."""
    outcomes = world.config.outcomes
    disputed = 1.0 - outcomes.warning_share * (1.0 - outcomes.disputed_share)
    return Policy(margin=world.vertical.margin, dispute_share=disputed, budgets=BUDGETS)


def lived(world: World, history_d: int, months: int) -> Lived:
    """Live a merchant's history and months; return what it did."""
    with tempfile.TemporaryDirectory(prefix="avalist-policy-") as folder, build(settings_from({}, data=folder)) as here:
        here.administration.carry_out(CreateMerchant(SHOP, DIGITAL_GOODS, prior=False), world.start_ms)
        pending, attempts, decided = Pending(), list[Attempt](), list[float]()
        batches = world.batches(history_d + months * MONTH_D)
        record(here, live(itertools.islice(batches, history_d * 24), pending))
        policy = policy_of(world)
        here.administration.carry_out(SetPolicy(SHOP, msgspec.Raw(msgspec.json.encode(policy))), 0)
        for day in range(months * MONTH_D):
            prepare(here, retrain=day % TRAIN_D == 0, resolve=day % SOLVE_D == 0)
            decide(here, live(itertools.islice(batches, 24), pending, partial(keep, attempts, decided)), decided)
        data = collect(here.log.read, SHOP)
        different = replay(here.log, here.load_model).different
        first_ms = world.start_ms + history_d * DAY_MS
        return Lived(attempts, np.array(decided), policy, data, first_ms, different)


def keep(attempts: list[Attempt], decided: list[float], attempt: Attempt) -> bool:
    """Remember a payment; tell whether it was approved just now."""
    attempts.append(attempt)
    return decided[-1] > 0


def record(here: Installation, events: Iterable[WireEvent]) -> None:
    """Record events as history."""
    for batch in _batched(events):
        for result in here.writer.record_many(SHOP, batch, 0):
            if isinstance(result, AvalistError):
                raise result
    here.log.sync()


def _batched(events: Iterable[WireEvent]) -> Iterator[list[WireEvent]]:
    iterator = iter(events)
    while batch := list(itertools.islice(iterator, _BATCH)):
        yield batch


def decide(here: Installation, events: Iterable[WireEvent], decided: list[float]) -> None:
    """Decide payments and record the rest, in order."""
    for event in events:
        if isinstance(event, Payment):
            decided.append(float(here.writer.decide(SHOP, event, 0).decision.action is Action.APPROVE))
        else:
            here.writer.record(SHOP, event, 0)
    here.log.sync()


def prepare(here: Installation, *, retrain: bool, resolve: bool) -> None:
    """Train and activate a model, solve the budgets, when it is time; from what is logged."""
    if not (retrain or resolve):
        return
    data, at_ms = collect(here.log.read, SHOP), here.writer.merchant(SHOP).at_ms
    if retrain:
        artefact = train_on(data, Training(test_share=0.0, params=TREES))
        keep_model(here.blobs, SHOP, artefact)
        here.administration.carry_out(ActivateModel(SHOP, artefact.version, artefact.plan_hash), at_ms)
    model = here.writer.merchant(SHOP).model
    assert model is not None
    solved = solve_budgets(data, model)
    here.writer.control(SHOP, solved, at_ms)
    print(json.dumps(msgspec.to_builtins(solved)), flush=True)


class Truth(NamedTuple):
    """What came of payments if approved, float64 [n]: money, chargebacks, and whether a customer is honest."""

    t_ms: F64
    amount: F64
    p: F64
    honest: F64
    taken: F64
    charged_back: F64
    approve: F64
    decline: F64


def truth_of(run: Lived) -> Truth:
    """Return what became, or would have become, of a merchant's payments."""
    policy, attempts = run.policy, run.attempts
    amount = np.array([a.payment.amount_minor for a in attempts], np.float64)
    fraud = np.array([a.truth.fraud for a in attempts], np.float64)
    taken = np.array([a.truth.issuer_approves for a in attempts], np.float64)
    back = np.array([any(isinstance(e, Chargeback) for _, e in a.follow_ups) for a in attempts], np.float64) * taken
    margin = policy.margin * amount
    return Truth(
        t_ms=np.array([a.payment.occurred_at.timestamp() * 1e3 for a in attempts]),
        amount=amount,
        p=np.array([a.truth.p_fraud for a in attempts]),
        honest=1.0 - fraud,
        taken=taken,
        charged_back=back,
        approve=taken * (margin - back * (amount + policy.chargeback_cost_minor)),
        decline=-(1.0 - fraud) * policy.lifetime_value_minor,
    )


def figures(approved: F64, truth: Truth) -> dict[str, float]:
    """Return what approving these payments brought."""
    sold = approved * truth.taken
    return {
        "profit_minor": float(approved @ truth.approve + (1 - approved) @ truth.decline),
        "approval_rate": float(approved.mean()),
        "honest_approval": float(approved @ truth.honest / truth.honest.sum()),
        "fraud_chargeback_bps": 1e4 * float(approved @ (truth.charged_back * truth.amount) / (sold @ truth.amount)),
        "fraud_chargeback_count_bps": 1e4 * float(approved @ truth.charged_back / sold.sum()),
    }


def months_of(approved: F64, truth: Truth, first_ms: int) -> list[dict[str, Any]]:
    """Return each month's figures, and whether its budgets were met."""
    month = ((truth.t_ms - first_ms) // (MONTH_D * DAY_MS)).astype(np.int64)
    found = []
    for number in np.unique(month):
        rows = month == number
        part = Truth(*(column[rows] for column in truth))
        draws, sold = Draws((part.t_ms // DAY_MS).astype(np.int64)), approved[rows] * part.taken
        back = approved[rows] * part.charged_back
        rates = draws.ratio(back, sold), draws.ratio(back * part.amount, sold * part.amount)
        found.append({
            "month": int(number), **figures(approved[rows], part),
            "lowest_bps": [1e4 * rate.low for rate in rates],
            "met": all(1e4 * rate.low <= limit for rate, limit in zip(rates, LIMITS, strict=True)),
            "met_strictly": all(1e4 * rate.value <= limit for rate, limit in zip(rates, LIMITS, strict=True)),
        })  # fmt: skip
    return found


def oracle(run: Lived, truth: Truth) -> F64:
    """Return what the policy that knows p approves: the same economics and budgets, solved on these payments."""
    sold = [_NONE] * len(truth.p)
    offers = Desk(run.policy).offers(truth.p, truth.amount, sold)
    desk = Desk(run.policy, solve(run.policy, offers, 1.0))
    return desk.choose_many(offers).kept.astype(np.float64)


def baselines(run: Lived, truth: Truth) -> dict[str, F64]:
    """Return what simpler ways would have approved."""
    data = run.data
    rows = data.t_ms >= run.first_ms
    p = data.background.decided[rows, 0].astype(np.float64)
    raw = raw_columns(data)
    seen = known_by(data, run.first_ms)
    place = np.searchsorted(data.t_ms, seen.t_ms)
    before = lgb.LGBMClassifier(n_estimators=200, learning_rate=0.05, n_jobs=1, verbose=-1, random_state=0)
    before.fit(raw[place], seen.y)
    raw_p = np.asarray(before.predict_proba(raw[rows]))[:, 1]
    offers = Desk(run.policy).offers(raw_p, truth.amount, [_NONE] * len(truth.p))
    unbound = Desk(msgspec.structs.replace(run.policy, budgets=Budgets()))
    return {
        "no_budget": unbound.choose_many(offers._replace(p=p)).kept.astype(np.float64),
        "approve_all": np.ones(len(truth.p)),
        "threshold_half": (p < 0.5).astype(np.float64),
        "raw_lightgbm": unbound.choose_many(offers).kept.astype(np.float64),
        "velocity_grid": best_limits(data, rows, truth),
    }


def raw_columns(data: Dataset) -> F64:
    """Return the columns of a payment by itself, categories as small numbers."""
    names = list(data.plan.columns)
    numbers = [names.index(n.name) for n in data.schema.numbers]
    own = data.x[:, [names.index("amount"), names.index("hour"), names.index("weekday"), *numbers]]
    keys = data.background.keys[:, [n for n, e in enumerate(data.schema.entities) if e.name in ("bin", "product")]]
    categories = data.background.keys[:, len(data.schema.entities) :]
    codes = [np.unique(column, return_inverse=True)[1] for column in (*keys.T, *categories.T)]
    return np.column_stack((own, *codes)).astype(np.float64)


def best_limits(data: Dataset, rows: Bools, truth: Truth) -> F64:
    """Return what the most profitable grid of velocity limits approves, chosen in hindsight."""
    names, best, most = list(data.plan.columns), np.ones(len(truth.p)), -np.inf
    counted = [f"{entity}__count__events__1d" for entity in ("card", "device", "ip", "account")]
    counts = [np.nan_to_num(data.x[rows, names.index(name)]) for name in counted]
    amounts = np.inf, *np.quantile(truth.amount, [0.99, 0.95])
    for *limits, amount in itertools.product(*([(1, 2, 4, 8, np.inf)] * len(counts)), amounts):
        approved = (truth.amount <= amount).astype(np.float64)
        for count, limit in zip(counts, limits, strict=True):
            approved *= count < limit
        profit = figures(approved, truth)["profit_minor"]
        best, most = (approved, profit) if profit > most else (best, most)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.policy", description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=float, default=600.0, help="payments a day")
    parser.add_argument("--seeds", type=int, default=2, help="merchants per vertical")
    parser.add_argument("--history", type=int, default=120, help="days before the first decision")
    parser.add_argument("--months", type=int, default=2)
    parser.add_argument("--verticals", default=",".join(VERTICALS))
    parser.add_argument("--backtested", type=int, default=backtest.PAYMENTS, help="payments that the backtest grades")
    given = parser.parse_args()
    raw: list[dict[str, Any]] = []
    for vertical, seed in itertools.product(given.verticals.split(","), range(1, given.seeds + 1)):
        start = time.perf_counter()
        world = World(vertical=vertical, seed=seed, payments_per_day=given.rate)
        run = lived(world, given.history, given.months)
        truth = truth_of(run)
        ways = {"avalist": run.approved, "oracle": oracle(run, truth), **baselines(run, truth)}
        raw.append({
            "vertical": vertical, "seed": seed, "payments": len(truth.p), "different": run.different,
            "seconds": round(time.perf_counter() - start, 1),
            "ways": {way: figures(approved, truth) for way, approved in ways.items()},
            "months": months_of(run.approved, truth, run.first_ms),
        })  # fmt: skip
        print(json.dumps(raw[-1]), flush=True)
        OUT.parent.mkdir(exist_ok=True)
        keep_raw(run, truth, ways, OUT.with_name(f"policy-{vertical}-{seed}.parquet"))
    OUT.write_text(json.dumps(raw))
    print(json.dumps(summary(raw, vars(given)) | backtest.rates(given.backtested)))


def keep_raw(run: Lived, truth: Truth, ways: dict[str, F64], path: Path) -> None:
    """Write every payment: its probability when decided, the truth, and what each way approved."""
    decided = run.data.background.decided[run.data.t_ms >= run.first_ms, 0]
    pl.DataFrame({"p_decided": decided, **truth._asdict(), **ways}).write_parquet(path)


def summary(raw: list[dict[str, Any]], given: dict[str, Any]) -> dict[str, Any]:
    """Return the figures over all merchants: means, weighted by payments; profit over profit."""
    weights = np.array([one["payments"] for one in raw], np.float64)

    def mean(way: str, key: str) -> float:
        return float(np.dot(weights, [one["ways"][way][key] for one in raw]) / weights.sum())

    def against(way: str) -> float:
        profits = [sum(one["ways"][w]["profit_minor"] for one in raw) for w in (way, "oracle")]
        return round(float(profits[0] / profits[1]), 4)

    months = [month for one in raw for month in one["months"]]
    others = [way for way in raw[0]["ways"] if way not in ("avalist", "oracle")]
    return {
        "bench": "policy",
        "world": "default-1",
        "profit_vs_oracle": against("avalist"),
        "honest_approval": round(mean("avalist", "honest_approval"), 5),
        "approval_rate": round(mean("avalist", "approval_rate"), 5),
        "fraud_chargeback_bps": round(mean("avalist", "fraud_chargeback_bps"), 2),
        "fraud_chargeback_count_bps": round(mean("avalist", "fraud_chargeback_count_bps"), 2),
        "budget_met_share": round(float(np.mean([m["met"] for m in months])), 4),
        "budget_met_strictly": round(float(np.mean([m["met_strictly"] for m in months])), 4),
        "budget_bps": LIMITS,
        "approve_all_bps": round(mean("approve_all", "fraud_chargeback_bps"), 2),
        "oracle_honest_approval": round(mean("oracle", "honest_approval"), 5),
        "oracle_bps": round(mean("oracle", "fraud_chargeback_bps"), 2),
        **{f"{way}_profit_vs_oracle": against(way) for way in others},
        **{f"{way}_honest_approval": round(mean(way, "honest_approval"), 5) for way in others},
        **{f"{way}_bps": round(mean(way, "fraud_chargeback_bps"), 2) for way in others},
        "merchant_months": len(months),
        "payments": int(weights.sum()),
        "replayed_different": sum(one["different"] for one in raw),
        **{name: given[name] for name in ("rate", "seeds", "history", "months")},
    }


if __name__ == "__main__":
    main()

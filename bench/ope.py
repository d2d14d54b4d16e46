"""Off-policy evaluation against the truth: 200 seeded runs of a shop that explores, judged by what the generator knows.

``python -m bench.ope [--runs N]``; raw samples in ``bench/out/ope.json``, the last line is one JSON object.

A run logs payments of a policy that declines by a miscalibrated model and releases some of its declines by a
cost-aware draw, shared by the payments of a key and a day. Fraud reports come late: payments are 45 to 120 days old. A
candidate (another threshold, another margin, another model) is evaluated from that log; `coverage_90` is the share of
runs whose 90 % interval of its gain a payment holds the truth, `width_ratio` the mean width over that of the interval
that deciding by the candidate itself would give, reports as late.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from avalist.domain.delay import DelayLaw
from avalist.models.delay import as_declared
from avalist.models.metrics import Interval
from avalist.models.off_policy import Logged, Worth, difference, evaluate, false_declines, mean
from avalist.models.trees import F64, I64
from avalist.policy.economics import Policy, expected_profit
from bench._raw import keep

RUNS, PAYMENTS, POPULATION, WORLDS = 200, 100_000, 2_000_000, 5
ATTACKS = 0.02
LAW, AGES_D = DelayLaw(25.0, 90.0), (45, 120)
RELEASED, FLOOR, CAP = 0.02, 0.005, 0.25
OLD = Policy(margin=0.08)


class Payments(NamedTuple):
    """What came in: the generator's probability, two models' words, amounts in minor units, keys that share a draw, and
    the day, as an age: a key's payments are of one day, and days are the clusters, as in a backtest.
    """

    truth: F64
    p: F64
    other: F64
    amount: F64
    key: I64
    day: I64


class Candidate(NamedTuple):
    """A policy to be evaluated: its economics, and whether the other model scores."""

    name: str
    policy: Policy
    other: bool = False


CANDIDATES = (
    Candidate("margin 10 %", Policy(margin=0.1)),
    Candidate("margin 6 %", Policy(margin=0.06)),
    Candidate("threshold .12", Policy(margin=0.12, chargeback_cost_minor=0, lifetime_value_minor=0)),
    Candidate("the other model", OLD, True),
)


def imagine(rng: np.random.Generator, n: int) -> Payments:
    """Draw payments like the simulator's: attacks that are mostly fraud among honest ones that hardly ever are.

    The old model sees one trace of an attack and says too little of it; the other sees two, and is right.
    """
    key = np.sort(rng.integers(0, n * 3 // 4, n))
    attack = (rng.random(n * 3 // 4) < ATTACKS)[key]
    first, second = rng.normal(attack * 3.5, 1.0), rng.normal(attack * 0.8, 1.0)
    prior = np.log(ATTACKS / (1.0 - ATTACKS))
    one = prior + 3.5 * first - 6.125
    both = one + 0.8 * second - 0.32
    day = rng.integers(*AGES_D, n * 3 // 4)[key]
    amount = np.asarray(np.round(np.exp(rng.normal(7.9, 0.9, n))) + 100.0, dtype=np.float64)
    return Payments(_fraud(attack), _fraud(_p(0.9 * one - 0.3)), _fraud(_p(both)), amount, key, day)


def approves(payments: Payments, candidate: Candidate) -> F64:
    """Return 1 where a candidate lets in."""
    p = payments.other if candidate.other else payments.p
    approve, decline = expected_profit(p, payments.amount, candidate.policy)
    return (approve >= decline).astype(np.float64)


def worth(amount: F64) -> Worth:
    """Return what letting in earns more than declining, by the economics of the old policy."""
    honest, fraud = (np.subtract(*expected_profit(np.full(len(amount), y), amount, OLD)) for y in (0.0, 1.0))
    return Worth(honest, fraud - honest)


def explore(payments: Payments, approved: F64) -> F64:
    """Return the propensity of letting in: 1 where the policy does, else cost-aware, about RELEASED of the declines."""
    p, a = payments.p, payments.amount
    cost = p * ((1.0 - OLD.margin) * a + OLD.chargeback_cost_minor)
    worth = np.sqrt(p * (1.0 - p) * a * a / cost)
    declined = approved == 0.0
    scale = RELEASED / max(float(worth[declined].mean()), 1e-12)
    return np.where(declined, np.clip(scale * worth, FLOOR, CAP), 1.0)


def logged(rng: np.random.Generator, payments: Payments) -> tuple[Logged, F64]:
    """Let the old policy decide, explore and learn what became of it; returns the log and what it approved."""
    approved = approves(payments, Candidate("old", OLD))
    propensity = explore(payments, approved)
    draw = rng.random(int(payments.key.max()) + 1)[payments.key]
    let_in = draw < propensity
    ones, share = np.ones(len(draw)), reported(payments)
    fraud = let_in * labels(rng, payments, share)
    return Logged(let_in, propensity, let_in * ones, fraud, ones, payments.p, share, payments.day), approved


def reported(payments: Payments) -> F64:
    """Return the share of frauds reported at each payment's age."""
    return as_declared(LAW).reported_by(payments.day.astype(np.float64) + 0.5)


def labels(rng: np.random.Generator, payments: Payments, share: F64) -> F64:
    """Return what is known of each payment: a report that has come counts 1/F."""
    known = rng.random(len(payments.truth)) < payments.truth * share
    return np.asarray(known / share, dtype=np.float64)


def on_policy(rng: np.random.Generator, payments: Payments, share: F64) -> Interval:
    """Return the interval that as many payments would give, decided by the candidate itself."""
    fraud = labels(rng, payments, reported(payments))
    return mean(share * worth(payments.amount).of(np.ones(len(share)), fraud), payments.day)


def truths() -> dict[str, tuple[float, float]]:
    """Return the candidates' true gain a payment, alone and over the old policy, from many payments; no label drawn."""
    worlds = [_truths(np.random.default_rng(10**6 + k)) for k in range(WORLDS)]
    return {name: (_mean(w[name][0] for w in worlds), _mean(w[name][1] for w in worlds)) for name in worlds[0]}


def _truths(rng: np.random.Generator) -> dict[str, tuple[float, float]]:
    world = imagine(rng, POPULATION)
    earns, old = worth(world.amount).of(np.ones(POPULATION), world.truth), approves(world, Candidate("old", OLD))
    found = {c.name: approves(world, c) for c in CANDIDATES}
    told = {n: (float((share * earns).mean()), float(((share - old) * earns).mean())) for n, share in found.items()}
    return told | {"false declines": (float((1.0 - world.truth)[old == 0.0].mean()), 0.0)}


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def run(seed: int, truth: dict[str, tuple[float, float]]) -> dict[str, Any]:
    """Return one run: intervals, whether they hold the truth, the on-policy width."""
    rng = np.random.default_rng(seed)
    payments, candidate = imagine(rng, PAYMENTS), CANDIDATES[seed % len(CANDIDATES)]
    log, old = logged(rng, payments)
    share = approves(payments, candidate)
    earns = worth(payments.amount)
    found, direct = evaluate(log, share, earns), on_policy(rng, payments, share)
    declined = false_declines(log, old == 0.0)
    assert declined is not None, "some declines are released in every run"
    alone, more = truth[candidate.name]
    intervals = {
        "doubly_robust": (found.doubly_robust, alone),
        "ips": (found.ips, alone),
        "snips": (found.snips, alone),
        "incremental": (difference(log, share - old, earns), more),
        "false_declines": (declined.doubly_robust, truth["false declines"][0]),
        "false_declines_snips": (declined.snips, truth["false declines"][0]),
        "on_policy": (direct, alone),
    }
    told = {n: {"value": i.value, "low": i.low, "high": i.high, "truth": t} for n, (i, t) in intervals.items()}
    released = int((log.let_in & (old == 0.0)).sum())
    return {"seed": seed, "candidate": candidate.name, "effective": found.effective, "released": released, **told}


def covered(runs: list[dict[str, Any]], name: str) -> float:
    return float(np.mean([r[name]["low"] <= r[name]["truth"] <= r[name]["high"] for r in runs]))


def width(runs: list[dict[str, Any]], name: str) -> float:
    return float(np.mean([r[name]["high"] - r[name]["low"] for r in runs]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    wanted, begun, truth = parser.parse_args().runs, time.perf_counter(), truths()
    runs = [run(seed, truth) for seed in range(wanted)]
    keep("ope", runs)
    names = ("doubly_robust", "ips", "snips", "incremental", "false_declines", "false_declines_snips", "on_policy")
    for name in names:
        print(f"{name:22} covers {covered(runs, name):.3f}   mean width {width(runs, name):10.4f}")
    ratios = {}
    for candidate in CANDIDATES:
        mine = [r for r in runs if r["candidate"] == candidate.name]
        ratios[candidate.name] = round(width(mine, "doubly_robust") / width(mine, "on_policy"), 3) if mine else None
    print("width ratio by candidate:", ratios)
    result: dict[str, object] = {"bench": "ope", "runs": wanted, "payments": PAYMENTS}
    result |= {"coverage_90": round(covered(runs, "doubly_robust"), 3)}
    result |= {"width_ratio": round(width(runs, "doubly_robust") / width(runs, "on_policy"), 3)}
    result |= {f"coverage_90_{name}": round(covered(runs, name), 3) for name in names[1:]}
    result |= {"released_a_run": round(float(np.mean([r["released"] for r in runs])), 1)}
    result |= {"seconds": round(time.perf_counter() - begun, 1)}
    print(json.dumps(result))


def _fraud(attack: F64 | npt.NDArray[np.bool_]) -> F64:
    """Return the probability of fraud by that of an attack, as in the simulator's default world."""
    return np.asarray(0.002 + 0.848 * attack, dtype=np.float64)


def _p(logit: F64) -> F64:
    return np.asarray(1.0 / (1.0 + np.exp(-logit)), dtype=np.float64)


if __name__ == "__main__":
    main()

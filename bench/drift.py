"""The life of models under drift: recovery from an attack, alarms in a stable year, bad challengers, a rollback.

``python -m bench.drift [--seeds N] [--parts recovery,gate,stable] [--per-day P] [--attack-per-day A] [--habits H]``;
raw values in ``bench/out/drift-*.json``, the last line printed is one JSON object. Reports take 25 days (median). A
merchant that is simulated lives through the product: its payments are decided live, and once a day the daily work runs.
*recovery*: an attack begins; day k is recovered when four fifths of its fraud money are stopped on it and on average
from it on. With ``--habits device,email,goods,session`` nothing is shared that this merchant watches for waves.
*gate*: three bad challengers, and a model that turns bad after the gate let it in; the watch looks every hour.
*stable*: a year without an attack.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from avalist.app.administer import ActivateModel, AdminRequest, CreateMerchant, StageModel
from avalist.app.dataset import Dataset, collect
from avalist.app.learn import Tools, alarm_at, evidence_for, learn, watch
from avalist.app.lineage import HOUR_MS
from avalist.app.replay import replay
from avalist.app.train import delay_at, known_by
from avalist.bootstrap import Installation, build, keep_model
from avalist.config import settings_from
from avalist.domain.core import Evidence
from avalist.domain.events import Payment, WireEvent
from avalist.domain.schema import DAY_MS
from avalist.models.artefact import Artefact
from avalist.models.delay import ReportDelay
from avalist.models.train import TrainParams, train
from avalist.simulator import Attempt, World, WorldConfig
from avalist.simulator.play import Pending, live
from avalist.simulator.waves import HABITS
from bench import _bad
from bench._late import SCHEMA, attack, lived, slow_world
from bench.policy import SHOP, decide, record

OUT = Path(__file__).parent / "out"
MEDIAN_D, P95_D = 25.0, 90.0
HISTORY_D, CALM_D, ATTACK_D = 60, 1, 12
PER_DAY, ATTACK_PER_DAY, ATTACK_P = 400.0, 150, 0.5
STABLE_PER_DAY, STABLE_HISTORY_D, STABLE_D, RETRAIN_D = 250.0, 75, 365, 30
EPISODE_D: Final = 28
"""Alarms that lie no further apart are one."""
RECOVERED: Final = 0.8
FAULT_AFTER_H, FAULT_SHARE, LONGEST_H = 12, 0.6, 72
PARAMS: Final = TrainParams(test_share=0.0, trees=80, leaves=15, learning_rate=0.08, min_data_in_leaf=50, num_threads=1)


class Life:
    """A merchant that lives through the product, day by day."""

    def __init__(self, here: Installation, world: World, days: int) -> None:
        self.here, self._pending = here, Pending()
        self._batches = world.batches(days)
        self.attempts: list[Attempt] = []
        self.decided: list[float] = []
        self.evidence: Evidence | None = None
        self._trial_ends_ms = 0
        self.change: Callable[[WireEvent], WireEvent] = lambda event: event
        here.administration.carry_out(CreateMerchant(SHOP, SCHEMA), world.start_ms)
        self.tools = Tools(
            read=here.log.read,
            load=partial(here.load_model, SHOP),
            keep=partial(keep_model, here.blobs, SHOP),
            carry_out=self._carry_out,
            documents=here.documents,
            now_ns=time.perf_counter_ns,
            params=PARAMS,
        )

    @property
    def at_ms(self) -> int:
        """Return the last arrival."""
        return self.here.writer.merchant(SHOP).at_ms

    @property
    def on_trial(self) -> bool:
        """Tell whether a model is on trial that the gate let in."""
        return self.at_ms < self._trial_ends_ms

    def begin(self) -> dict[str, Any]:
        """Record history, all of it captured where issuers approve, and let a first model in."""
        record(self.here, live(itertools.islice(self._batches, HISTORY_D * 24), self._pending))
        found = told(self, "first")
        first = self.tools.load(found["done"]["version"]).artefact
        self.tools.carry_out(ActivateModel(SHOP, first.version, first.plan_hash))
        return found

    def hours(self, hours: int) -> None:
        """Live some hours: payments are decided, and what is approved has outcomes."""
        events = live(itertools.islice(self._batches, hours), self._pending, self._keep)
        decide(self.here, map(self._changed, events), self.decided)

    def _changed(self, event: WireEvent) -> WireEvent:
        return self.change(event)

    def _keep(self, attempt: Attempt) -> bool:
        self.attempts.append(attempt)
        return self.decided[-1] > 0

    def _carry_out(self, request: AdminRequest) -> dict[str, Any]:
        if isinstance(request, StageModel):
            self.evidence = request.evidence
        if isinstance(request, ActivateModel):
            self._trial_ends_ms = self.at_ms + LONGEST_H * HOUR_MS if request.by == "gate" else 0
        self.here.administration.prepare(request)
        answer = self.here.administration.carry_out(request, self.at_ms)
        self.here.log.sync()
        return answer


def calm_world() -> WorldConfig:
    """Return a world without waves where reports are slow; an attack that is added is half fraud."""
    world = slow_world(MEDIAN_D, P95_D)
    waves = msgspec.structs.replace(world.waves, p=(ATTACK_P, ATTACK_P))
    return msgspec.structs.replace(world, waves=waves).check()


def recovery(
    seed: int, per_day: float = PER_DAY, attack_per_day: int = ATTACK_PER_DAY, habits: tuple[str, ...] = HABITS
) -> dict[str, Any]:
    """Live a merchant into an attack, and see what is stopped of it."""
    config, begin = calm_world(), HISTORY_D + CALM_D
    plan = attack(config, begin, ATTACK_D, attack_per_day, habits)
    world = World(config, seed=seed, payments_per_day=per_day, extra_waves=(plan,))
    with tempfile.TemporaryDirectory(prefix="avalist-drift-") as folder, build(settings_from({}, data=folder)) as here:
        life = Life(here, world, begin + ATTACK_D)
        runs = [life.begin()]
        for day in range(-CALM_D, ATTACK_D):
            life.hours(24)
            looked = watch(life.tools, SHOP, life.at_ms) if life.on_trial else None
            runs.append({"day": day, **told(life, "schedule"), "watch": _checks(looked)})
            print(json.dumps({"day": day, "stopped": by_day(life, plan.start_ms)[: max(day + 1, 0)]}), flush=True)
        stopped = by_day(life, plan.start_ms)
        different = replay(here.log, here.load_model).different
    found = {"seed": seed, "stopped": stopped, "recovery_days": recovered(stopped), "different": different}
    print(json.dumps(found), flush=True)
    return {**found, "runs": runs}


def gate(seed: int) -> dict[str, Any]:
    """Live a calm merchant; try bad challengers and a model that turns bad."""
    world = World(calm_world(), seed=seed, payments_per_day=PER_DAY)
    with tempfile.TemporaryDirectory(prefix="avalist-drift-") as folder, build(settings_from({}, data=folder)) as here:
        life = Life(here, world, HISTORY_D + CALM_D + LONGEST_H // 24)
        life.begin()
        life.hours(CALM_D * 24)
        bad, rollback = bad_challengers(life), turned_bad(life, seed)
        return {
            "seed": seed,
            "bad": bad,
            "rollback": rollback,
            "different": replay(here.log, here.load_model).different,
        }


def told(life: Life, cause: Any) -> dict[str, Any]:
    """Do the daily work and return what came of it."""
    began = time.perf_counter()
    done = learn(life.tools, SHOP, life.at_ms, cause)
    took = time.perf_counter() - began
    found = {"done": msgspec.to_builtins(done), "evidence": msgspec.to_builtins(life.evidence), "seconds": took}
    print(json.dumps(found), flush=True)
    return found


def _checks(evidence: Any) -> list[Any]:
    return [] if evidence is None else msgspec.to_builtins(evidence.checks)


def by_day(life: Life, start_ms: int) -> list[float]:
    """Return the share of the attack's fraud money that was not let in, by day of the attack."""
    stopped, whole = np.zeros(ATTACK_D), np.zeros(ATTACK_D)
    for attempt, approved in zip(life.attempts, life.decided, strict=True):
        day = int((attempt.payment.occurred_at.timestamp() * 1e3 - start_ms) // DAY_MS)
        if attempt.truth.wave_id is not None and attempt.truth.fraud and 0 <= day < ATTACK_D:
            whole[day] += attempt.payment.amount_minor
            stopped[day] += attempt.payment.amount_minor * (1.0 - approved)
    return [round(float(s / w), 4) if w else 0.0 for s, w in zip(stopped, whole, strict=True)]


def recovered(stopped: list[float]) -> int:
    """Return the first day from which on the attack is stopped; its length if it never is."""
    good = (d for d in range(len(stopped)) if stopped[d] >= RECOVERED and np.mean(stopped[d:]) >= RECOVERED)
    return next(good, len(stopped))


def bad_challengers(life: Life) -> dict[str, Any]:
    """Put three bad challengers through the gate, against the active model."""
    data = collect(life.tools.read, SHOP)
    active = life.tools.load(life.here.writer.merchant(SHOP).model_version)
    bad = {
        "shuffled": _bad.shuffled(data, PARAMS),
        "leaked": _bad.leaked(data, PARAMS),
        "slow": _bad.slow(active.artefact),
    }
    found = {}
    for name, model in bad.items():
        life.tools.keep(model)
        evidence = evidence_for(life.tools, SHOP, life.tools.load(model.version), active, data.cut_ms)
        found[name] = {"passed": evidence.passed, "checks": _checks(evidence)}
        print(json.dumps({name: found[name]}), flush=True)
    return found


def turned_bad(life: Life, seed: int) -> dict[str, Any]:
    """Let a model in that goes wrong once addresses go missing; look every hour until it is taken back."""
    merchant = life.here.writer.merchant(SHOP)
    active = life.tools.load(merchant.model_version)
    data = collect(life.tools.read, SHOP)
    model = _bad.turning(active.artefact, next(name for name in active.columns if name.startswith(_bad.ADDRESS)))
    life.tools.keep(model)
    evidence = evidence_for(life.tools, SHOP, life.tools.load(model.version), active, data.cut_ms)
    life.tools.carry_out(ActivateModel(SHOP, model.version, model.plan_hash, by="gate", evidence=evidence))
    rng = np.random.default_rng(seed)
    looks: list[dict[str, Any]] = []
    for hour in range(1, LONGEST_H + 1):
        if hour == FAULT_AFTER_H + 1:
            life.change = partial(_without_ip, rng)
        life.hours(1)
        found = watch(life.tools, SHOP, life.at_ms + 1)
        looks.append({"hour": hour, "checks": _checks(found)})
        if merchant.model_version != model.version:
            break
    life.change = lambda event: event
    back = merchant.model_version == active.version
    early = back and looks[-1]["hour"] <= FAULT_AFTER_H
    print(json.dumps({"rolled_back": back, **looks[-1]}), flush=True)
    return {"rolled_back": back, "too_early": early, "hours": looks[-1]["hour"] - FAULT_AFTER_H, "looks": looks}


def _without_ip(rng: np.random.Generator, event: WireEvent) -> WireEvent:
    if isinstance(event, Payment) and rng.random() < FAULT_SHARE:
        return msgspec.structs.replace(event, ip=None)
    return event


def stable(seed: int) -> dict[str, Any]:
    """Live a year without an attack, with a new model a month, and look for alarms every day."""
    days = STABLE_HISTORY_D + STABLE_D
    life = lived(World(slow_world(MEDIAN_D, P95_D), seed=seed, payments_per_day=STABLE_PER_DAY), days)
    data, start_ms = life.data, int(life.data.t_ms[0]) // DAY_MS * DAY_MS
    said = np.full(len(data.t_ms), np.nan)
    alarms: list[Any] = []
    law: ReportDelay | None = None
    for day in range(STABLE_HISTORY_D, days):
        cut_ms = start_ms + day * DAY_MS
        if (day - STABLE_HISTORY_D) % RETRAIN_D == 0:
            model = trained(data, cut_ms)
            rows = slice(*np.searchsorted(data.t_ms, [cut_ms, cut_ms + RETRAIN_D * DAY_MS]))
            said[rows] = model.calibration.apply(model.trees.score_many(data.x[rows]))
            law = model.delay
        alarm = alarm_at(data, said, law, cut_ms)
        if alarm is not None:
            alarms.append({"day": day - STABLE_HISTORY_D, **msgspec.to_builtins(alarm)})
    apart = [later - day > EPISODE_D for day, later in itertools.pairwise(one["day"] for one in alarms)]
    found = {"seed": seed, "alarms": alarms, "episodes": bool(alarms) + sum(apart), "payments": len(said)}
    print(json.dumps(found), flush=True)
    return found


def trained(data: Dataset, cut_ms: int) -> Artefact:
    """Return a model of what was logged by a time."""
    return replace(train(known_by(data, cut_ms), PARAMS).artefact, delay=delay_at(data, cut_ms))


Part = Callable[[int], dict[str, Any]]
PARTS: Final[dict[str, Part]] = {"recovery": recovery, "gate": gate, "stable": stable}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.drift", description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1, help="merchants to live in each part")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--per-day", type=float, default=PER_DAY, help="payments a day of 'recovery', the attack aside")
    parser.add_argument("--attack-per-day", type=int, default=ATTACK_PER_DAY, help="payments a day of the attack")
    parser.add_argument("--habits", default=",".join(HABITS), help="what the attack's payments share")
    given = parser.parse_args()
    seeds, parts = range(1, given.seeds + 1), given.parts.split(",")
    kinds: dict[str, Part] = {
        **PARTS,
        "recovery": partial(
            recovery, per_day=given.per_day, attack_per_day=given.attack_per_day, habits=tuple(given.habits.split(","))
        ),
    }
    raw = {part: [of(seed) for seed in seeds] if part in parts else [] for part, of in kinds.items()}
    OUT.mkdir(exist_ok=True)
    for part, found in raw.items():
        if found:
            (OUT / f"drift-{part}.json").write_text(json.dumps(found, indent=1))
    print(
        json.dumps(
            {
                **summary(raw),
                "payments_per_day": given.per_day,
                "attack_per_day": given.attack_per_day,
                "habits": given.habits,
            }
        )
    )


def summary(raw: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return the figures: the worst of the merchants; None for a part that was left out."""

    def worst(part: str, of: Callable[[dict[str, Any]], float], pick: Callable[[Iterator[float]], float]) -> Any:
        return pick(of(one) for one in raw[part]) if raw[part] else None

    refused = worst("gate", lambda one: sum(not bad["passed"] for bad in one["bad"].values()), min)
    return {
        "bench": "drift",
        "recovery_days": worst("recovery", lambda one: one["recovery_days"], max),
        "false_alarms_per_year": worst("stable", lambda one: one["episodes"] * 365 / STABLE_D, max),
        "bad_challengers_refused": refused,
        "rollback_hours": worst("gate", lambda one: one["rollback"]["hours"], max),
        "rolled_back": worst("gate", lambda one: one["rollback"]["rolled_back"], min),
        "rolled_back_too_early": worst("gate", lambda one: one["rollback"]["too_early"], max),
        "stopped_by_day": [one["stopped"] for one in raw["recovery"]],
        "replayed_different": sum(one["different"] for part in ("recovery", "gate") for one in raw[part]),
        "stable_payments_per_day": STABLE_PER_DAY,
        "attack_fraud_share": ATTACK_P,
        "median_delay_d": MEDIAN_D,
        "merchants": max(map(len, raw.values())),
    }


if __name__ == "__main__":
    main()

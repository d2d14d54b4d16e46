"""Waves of growing stealth against the best velocity limits; what patterns and the evidence of waves add to a model.

``python -m bench.wave [--seeds 2,3,4] [--days N] [--rounds N] [--payments-per-day N] [--models A,B]``; raw samples in
``bench/out/wave.json`` after each seed, the last line printed is one JSON object. A gift-card merchant of the frozen
world learns from `days` days; then comes a ladder of waves, identity reuse from all to none, habits shared from five to
one, minutes to a day (``bench/_ladder``). Five models learn the same rows with the same parameters: *neither* has the
columns of things alone, *patterns* those of patterns too, *waves* the evidence of waves, *learnt* both; *both* is the
product, which has the same columns and trusts an alarm before it has learnt to. In a world that tells sessions in
detail, *detailed* has those, too.
Everybody may decline as many honest payments as *both* does under the policy. Ratios come with the 90 % interval from
drawing waves again, the same waves for all. The constants of the detector were chosen on seed 1: it is no judge of
them. The data are imagined, not those of a payment system.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from avalist.app.administer import CreateMerchant
from avalist.app.dataset import Dataset, collect
from avalist.app.train import known_by
from avalist.app.waves import Wave, waves_of
from avalist.bootstrap import build
from avalist.cli.history import record_all
from avalist.cli.options import progress_bar
from avalist.config import settings_from
from avalist.domain.schema import DIGITAL_GOODS, PATTERN_SOURCES, WAVE_SOURCES, EntityDecl, NumberDecl, Schema
from avalist.features.derive import derive
from avalist.models.artefact import Artefact
from avalist.models.train import TrainParams, train
from avalist.policy.economics import Policy, expected_profit
from avalist.simulator import Attempt, Truth, World, WorldConfig, load_world, play
from bench import _ladder
from bench._protocol import DAY_MS, Mask
from bench._raw import keep

_SHAPES: Final = (EntityDecl("email_shape", "email_shape"), EntityDecl("device_shape", "device_shape"))
_SILENT: Final = tuple(n for n in DIGITAL_GOODS.numbers if n.source not in WAVE_SOURCES)
_THINGS: Final = (*(e for e in DIGITAL_GOODS.entities if e.source not in PATTERN_SOURCES), *_SHAPES)
MODELS: Final = {
    "neither": msgspec.structs.replace(DIGITAL_GOODS, entities=_THINGS, numbers=_SILENT),
    "patterns": msgspec.structs.replace(DIGITAL_GOODS, numbers=_SILENT),
    "waves": msgspec.structs.replace(DIGITAL_GOODS, entities=_THINGS),
    "learnt": DIGITAL_GOODS,
    "both": DIGITAL_GOODS,
}
"""The default schema as it was before patterns, and what each part adds to it."""
TRUSTING: Final = ("waves", "both", "detailed")
NEEDED: Final = ("neither", "both")
DETAILED: Final = msgspec.structs.replace(
    DIGITAL_GOODS,
    entities=(*DIGITAL_GOODS.entities, EntityDecl("behaviour_pattern", "pattern.behaviour")),
    numbers=(
        *DIGITAL_GOODS.numbers,
        NumberDecl("key_hold_ms", "session.typing.hold_ms"),
        NumberDecl("key_flight_ms", "session.typing.flight_ms"),
        NumberDecl("key_flight_spread", "session.typing.flight_spread", 3),
        NumberDecl("tap_hold_ms", "session.touch.hold_ms"),
        NumberDecl("pointer_speed", "session.pointer.speed"),
        NumberDecl("pointer_detour", "session.pointer.detour", 3),
        NumberDecl("session_steps", "session_steps"),
        NumberDecl("session_tells", "session_tells"),
    ),
)
"""What sessions told in detail add; a world must tell them."""


def models_of(world: WorldConfig) -> dict[str, Schema]:
    """Return the schemas that are compared in a world."""
    return {**MODELS, "detailed": DETAILED} if world.behaviour is not None else MODELS


def lived_of(world: WorldConfig) -> Schema:
    """Return a schema that has the columns of all of them."""
    richest = [*models_of(world).values()][-1]
    return msgspec.structs.replace(richest, entities=(*richest.entities, *_SHAPES))


POLICY: Final = Policy(margin=0.06)
PARAMS: Final = TrainParams(test_share=0.0, trees=200, leaves=31, learning_rate=0.06, num_threads=2)
EVERY_D, WAVE_PAYMENTS, DRAWS = 2.0, 120, 2_000


@dataclass(frozen=True)
class Lived:
    """A merchant's payments, what each truly was, and the waves found in its log."""

    data: Dataset
    truths: list[Truth]
    waves: list[Wave]


def live(world: World, days: float, schema: Schema) -> Lived:
    """Record a world's events as a merchant's history and replay them."""
    truths: dict[str, Truth] = {}

    def approve(attempt: Attempt) -> bool:
        truths[attempt.payment.payment_id] = attempt.truth
        return True

    with (
        tempfile.TemporaryDirectory(prefix="avalist-wave-") as folder,
        build(settings_from({}, data=Path(folder))) as here,
    ):
        here.administration.carry_out(CreateMerchant("shop", schema, prior=False), 0)
        with progress_bar("living", round(world.vertical.payments_per_day * days)) as bar:
            record_all(here, "shop", play(world, days, approve), bar)
        data = collect(here.log.read, "shop")
        _, waves = waves_of(here.log.read(), "shop")
    return Lived(data, [truths[id] for id in data.background.payment_ids], waves)


def learnt(lived: Lived, cut_ms: int, schema: Schema, trust: float) -> tuple[Artefact, npt.NDArray[np.int64]]:
    """Train a schema's model on what is known by `cut_ms`; return it and the places of its columns."""
    known = known_by(lived.data, cut_ms)
    place = {name: n for n, name in enumerate(known.columns)}
    mine = np.array([place[feature.name] for feature in derive(schema)])
    columns = tuple(known.columns[n] for n in mine)
    params = msgspec.structs.replace(PARAMS, trust=trust)
    return train(replace(known, x=known.x[:, mine], columns=columns), params).artefact, mine


def regret(lived: Lived, cut_ms: int, test: Mask, schema: Schema, trust: float) -> npt.NDArray[np.float64]:
    """Return what approving each test payment is expected to lose against declining it, base minor units [test]."""
    model, columns = learnt(lived, cut_ms, schema, trust)
    p = model.calibration.apply(model.trees.score_many(lived.data.x[test][:, columns]))
    approve, decline = expected_profit(p, lived.data.amount_minor[test].astype(np.float64), POLICY)
    return np.asarray(decline - approve)


def velocity(lived: Lived, test: Mask) -> tuple[npt.NDArray[np.float64], list[str]]:
    """Return the counts of every single entity over every window, [test, columns], and their names."""
    names = [e.name for e in _THINGS]
    columns = lived.data.plan.columns
    counts = [n for n, c in enumerate(columns) if "__count__events__" in c and c.split("__")[0] in names]
    return np.nan_to_num(lived.data.x[test][:, counts].astype(np.float64)), [columns[n] for n in counts]


def false_alarms(lived: Lived, start_ms: int) -> list[Wave]:
    """Return the waves opened from `start_ms` on of which not even a fifth of the payments belongs to one."""
    place = {id: n for n, id in enumerate(lived.data.background.payment_ids)}
    truths = [(w, [lived.truths[place[p.payment_id]] for p in w.payments]) for w in lived.waves]
    return [w for w, ts in truths if w.opened_ms >= start_ms and np.mean([t.wave_id is not None for t in ts]) < 0.2]


@dataclass(frozen=True)
class Run:
    """What one seed gave, by decider: how each wave fared, honest payments declined, fraud money declined (shares)."""

    seed: int
    seconds: float
    columns: dict[str, int]
    fares: dict[str, list[_ladder.Fared]]
    honest_declines: dict[str, float]
    fraud_declined: dict[str, float]
    limits: dict[str, int]
    false_alarms: int
    days: float


def measure(config: WorldConfig, seed: int, days: int, rounds: int, rate: float, models: Sequence[str] = ()) -> Run:
    """Live one seed's world, train the models and let everybody decide."""
    start = time.perf_counter()
    cut_ms, count = config.start_ms + days * DAY_MS, rounds * len(_ladder.RUNGS)
    extra = _ladder.plans(cut_ms + DAY_MS, EVERY_D, rounds, WAVE_PAYMENTS)
    world = World(config, seed=seed, payments_per_day=rate, extra_waves=extra)
    schemas = {name: schema for name, schema in models_of(config).items() if not models or name in models}
    lived = live(world, days + 3 + EVERY_D * count, lived_of(config))
    data, test = lived.data, lived.data.t_ms >= cut_ms
    truths = [t for t, tested in zip(lived.truths, test, strict=True) if tested]
    wave = np.array([-1 if t.wave_id is None else t.wave_id for t in truths])
    fraud, honest = np.array([t.fraud for t in truths]), np.array([t.process == "honest" for t in truths])
    amount, t_ms = data.amount_minor[test], data.t_ms[test]

    regrets = {
        name: regret(lived, cut_ms, test, schema, PARAMS.trust if name in TRUSTING else 0.0)
        for name, schema in schemas.items()
    }
    budget = int(((regrets["both"] > 0.0) & honest).sum())
    declined = {name: theirs > np.sort(theirs[honest])[::-1][budget] for name, theirs in regrets.items()}
    counts, names = velocity(lived, test)
    declined["velocity"], limits = _ladder.best_limits(counts, names, np.where(fraud, amount, 0.0), honest, budget)
    return Run(
        seed,
        round(time.perf_counter() - start, 1),
        {name: len(derive(schema)) for name, schema in schemas.items()},
        {name: _ladder.fared(wave, t_ms, amount, fraud, mine, cut_ms, count) for name, mine in declined.items()},
        {name: round(float((mine & honest).sum() / honest.sum()), 5) for name, mine in declined.items()},
        {name: round(float(amount[mine & fraud].sum() / amount[fraud].sum()), 4) for name, mine in declined.items()},
        limits,
        len(false_alarms(lived, cut_ms)),
        float(data.t_ms[-1] - cut_ms) / DAY_MS,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.wave", description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="2,3,4", help="worlds to live, with commas")
    parser.add_argument("--world", default="default-1", help="default-2 tells sessions in detail")
    parser.add_argument("--days", type=int, default=40, help="days to learn from")
    parser.add_argument("--rounds", type=int, default=2, help="times that the ladder is climbed")
    parser.add_argument("--payments-per-day", type=float, default=1000.0)
    parser.add_argument("--models", default="", help=f"those to train, with commas; {' and '.join(NEEDED)} always are")
    given = parser.parse_args()
    models = [*NEEDED, *given.models.split(",")] if given.models else []
    runs = []
    for seed in map(int, given.seeds.split(",")):
        runs.append(measure(load_world(given.world), seed, given.days, given.rounds, given.payments_per_day, models))
        keep("wave", [asdict(run) for run in runs])
        print(json.dumps({"bench": "wave", **vars(given), **summary(runs)}), flush=True)


THIRDS: Final = {"plain": range(4), "middle": range(4, 8), "stealthiest": range(8, 12)}
"""Rungs of the ladder by stealth."""


def summary(runs: list[Run]) -> dict[str, object]:
    """Return the figures over all runs: money lost by decider and stealth, and its ratios with their intervals."""
    fares = {name: [fare for run in runs for fare in run.fares[name]] for name in runs[0].fares}
    alarms, days = sum(run.false_alarms for run in runs), sum(run.days for run in runs)
    result: dict[str, object] = {
        "seeds_done": [run.seed for run in runs],
        "waves": len(fares["both"]),
        "columns": runs[0].columns,
        **ratios(fares),
        "first_block_payments": float(np.median([f.first_block for f in fares["both"]])),
        "false_alarms_per_month": round(alarms / days * 30, 2),
        "honest_declines": _means(runs, "honest_declines"),
        "fraud_money_declined": _means(runs, "fraud_declined"),
        "by_seed": {run.seed: _by_seed(run) for run in runs},
        "seconds": [run.seconds for run in runs],
    }
    for part, rungs in THIRDS.items():
        result[part] = {name: _table([f for f in found if f.rung in rungs]) for name, found in fares.items()}
    return result


def ratios(fares: dict[str, list[_ladder.Fared]]) -> dict[str, object]:
    """Return each decider's loss over the others' that matter, on the stealthiest third and on all waves."""
    found: dict[str, object] = {}
    known = {"velocity_rules": ("both", "velocity"), "no_patterns": ("both", "neither"), "no_trust": ("both", "learnt"),
             "patterns_only": ("patterns", "neither"), "waves_only": ("waves", "neither"),
             "learnt_only": ("learnt", "neither"), "detailed": ("detailed", "both")}  # fmt: skip
    pairs = {name: pair for name, pair in known.items() if fares.keys() >= set(pair)}
    for part, rungs in (("", THIRDS["stealthiest"]), ("_all", range(12))):
        lost = {n: np.array([f.lost_minor for f in fs if f.rung in rungs], np.float64) for n, fs in fares.items()}
        drawn = np.random.default_rng(0).integers(0, len(lost["both"]), (DRAWS, len(lost["both"])))
        for name, (ours, theirs) in pairs.items():
            quotients = lost[ours][drawn].sum(axis=1) / np.maximum(lost[theirs][drawn].sum(axis=1), 1.0)
            key = f"{'loss_vs_' if ours == 'both' else 'loss_of_'}{name}{part}"
            found[key] = round(float(lost[ours].sum() / max(lost[theirs].sum(), 1.0)), 3)
            found[f"{key}_90"] = [round(float(q), 3) for q in np.quantile(quotients, [0.05, 0.95])]
    return found


def _table(found: list[_ladder.Fared]) -> dict[str, float]:
    values = {name: [getattr(f, name) for f in found] for name in ("first_block", "lost_before_minor", "delay_min")}
    medians = {name: round(float(np.median(some)), 1) for name, some in values.items()}
    return {**medians, "lost_minor": sum(f.lost_minor for f in found)}


def _means(runs: list[Run], field: str) -> dict[str, float]:
    return {name: round(float(np.mean([getattr(r, field)[name] for r in runs])), 5) for name in runs[0].fares}


def _by_seed(run: Run) -> dict[str, int]:
    rungs = THIRDS["stealthiest"]
    return {name: sum(f.lost_minor for f in found if f.rung in rungs) for name, found in run.fares.items()}


if __name__ == "__main__":
    main()

"""Waves of growing stealth against the default plan, against the best velocity limits, and against no patterns.

``python -m bench.wave [--days N] [--rounds N] [--payments-per-day N]``; raw samples in ``bench/out/wave.json``, the
last line printed is one JSON object. A gift-card merchant of the frozen world learns from `days` days; then comes a
ladder of waves, identity reuse from all to none, habits shared from five to one, minutes to a day (``bench/_ladder``).
The same model, parameters and days are used with and without patterns. Everybody may decline as many honest payments as
the model with patterns does under the policy. The data are imagined, not those of a payment system.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict, dataclass
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
from avalist.domain.schema import DIGITAL_GOODS, PATTERN_SOURCES, WAVE_SOURCES, EntityDecl, Schema
from avalist.models.train import TrainParams, train
from avalist.policy.economics import Policy, expected_profit
from avalist.simulator import Attempt, Truth, World, play
from bench import _ladder
from bench._protocol import DAY_MS, Mask

OUT = Path(__file__).parent / "out" / "wave.json"
PLAIN: Final = msgspec.structs.replace(
    DIGITAL_GOODS,
    entities=(
        *(e for e in DIGITAL_GOODS.entities if e.source not in PATTERN_SOURCES),
        EntityDecl("email_shape", "email_shape"),
        EntityDecl("device_shape", "device_shape"),
    ),
    numbers=tuple(n for n in DIGITAL_GOODS.numbers if n.source not in WAVE_SOURCES),
)
"""The default schema as it was before patterns."""
POLICY: Final = Policy(margin=0.06)
PARAMS: Final = TrainParams(test_share=0.0, trees=200, leaves=31, learning_rate=0.06, num_threads=2)
EVERY_D, WAVE_PAYMENTS, SEED = 2.0, 120, 1


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
        data = collect(here.log.read(), "shop")
        _, waves = waves_of(here.log.read(), "shop")
    return Lived(data, [truths[id] for id in data.background.payment_ids], waves)


def regret(lived: Lived, cut_ms: int, test: Mask) -> npt.NDArray[np.float64]:
    """Train on what is known by `cut_ms`; return what approving each test payment is expected to lose against
    declining it, base minor units [test].
    """
    model = train(known_by(lived.data, cut_ms), PARAMS).artefact
    p = model.calibration.apply(model.trees.score_many(lived.data.x[test]))
    approve, decline = expected_profit(p, lived.data.amount_minor[test].astype(np.float64), POLICY)
    return np.asarray(decline - approve)


def velocity(lived: Lived, test: Mask) -> tuple[npt.NDArray[np.float64], list[str]]:
    """Return the counts of every single entity over every window, [test, columns], and their names."""
    names = [e.name for e in PLAIN.entities]
    columns = lived.data.plan.columns
    counts = [n for n, c in enumerate(columns) if "__count__events__" in c and c.split("__")[0] in names]
    return np.nan_to_num(lived.data.x[test][:, counts].astype(np.float64)), [columns[n] for n in counts]


def false_alarms(lived: Lived, start_ms: int) -> list[Wave]:
    """Return the waves opened from `start_ms` on of which not even a fifth of the payments belongs to one."""
    place = {id: n for n, id in enumerate(lived.data.background.payment_ids)}
    truths = [(w, [lived.truths[place[p.payment_id]] for p in w.payments]) for w in lived.waves]
    return [w for w, ts in truths if w.opened_ms >= start_ms and np.mean([t.wave_id is not None for t in ts]) < 0.2]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.wave", description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, default=60, help="days to learn from")
    parser.add_argument("--rounds", type=int, default=2, help="times that the ladder is climbed")
    parser.add_argument("--payments-per-day", type=float, default=2000.0)
    given = parser.parse_args()
    print(json.dumps(measure(given.days, given.rounds, given.payments_per_day)))


def measure(days: int, rounds: int, rate: float) -> dict[str, object]:
    """Return the figures."""
    begin_ms = World(seed=SEED).start_ms
    cut_ms, count = begin_ms + days * DAY_MS, rounds * len(_ladder.RUNGS)
    extra = _ladder.plans(cut_ms + DAY_MS, EVERY_D, rounds, WAVE_PAYMENTS)
    world, all_days = World(seed=SEED, payments_per_day=rate, extra_waves=extra), days + 3 + EVERY_D * count
    lived, plain = (live(world, all_days, schema) for schema in (DIGITAL_GOODS, PLAIN))
    data, test = lived.data, lived.data.t_ms >= cut_ms
    truths = [t for t, tested in zip(lived.truths, test, strict=True) if tested]
    wave = np.array([-1 if t.wave_id is None else t.wave_id for t in truths])
    fraud, honest = np.array([t.fraud for t in truths]), np.array([t.process == "honest" for t in truths])
    amount, t_ms = data.amount_minor[test], data.t_ms[test]

    ours = regret(lived, cut_ms, test)
    declined = {"patterns": ours > 0.0}
    budget = int((declined["patterns"] & honest).sum())
    theirs = regret(plain, cut_ms, test)
    declined["no_patterns"] = theirs > np.sort(theirs[honest])[::-1][budget]
    counts, names = velocity(plain, test)
    declined["velocity"], limits = _ladder.best_limits(counts, names, np.where(fraud, amount, 0.0), honest, budget)

    fares = {name: _ladder.fared(wave, t_ms, amount, fraud, mine, cut_ms, count) for name, mine in declined.items()}
    alarms = false_alarms(lived, cut_ms)
    OUT.parent.mkdir(exist_ok=True)
    raw = {name: [asdict(one) for one in found] for name, found in fares.items()}
    OUT.write_text(json.dumps({"waves": raw, "limits": limits, "false_alarms": msgspec.to_builtins(alarms)}))
    return {
        "bench": "wave", "world": world.config.name, "seed": SEED, "days": days, "waves": count,
        "columns": len(data.plan.columns), "columns_no_patterns": len(plain.data.plan.columns),
        **summary(fares),
        "honest_declines": {name: round(float((mine & honest).sum() / honest.sum()), 5)
                            for name, mine in declined.items()},
        "fraud_money_declined": {name: round(float(amount[mine & fraud].sum() / amount[fraud].sum()), 4)
                                 for name, mine in declined.items()},
        "false_alarms_per_month": round(len(alarms) / ((data.t_ms[-1] - cut_ms) / DAY_MS) * 30, 2),
    }  # fmt: skip


def summary(fares: dict[str, list[_ladder.Fared]]) -> dict[str, object]:
    """Return the figures by wave: all of them, and the stealthiest third."""
    stealthy = {
        name: [f for f in found if f.rung >= len(_ladder.RUNGS) - _ladder.STEALTHIEST] for name, found in fares.items()
    }
    lost = {name: sum(f.lost_minor for f in found) for name, found in stealthy.items()}
    result: dict[str, object] = {
        "loss_vs_velocity_rules": round(lost["patterns"] / max(lost["velocity"], 1), 3),
        "loss_vs_no_patterns": round(lost["patterns"] / max(lost["no_patterns"], 1), 3),
        "first_block_payments": float(np.median([f.first_block for f in fares["patterns"]])),
    }
    for part, of in (("all", fares), ("stealthiest", stealthy)):
        for name, found in of.items():
            for field in ("first_block", "lost_before_minor", "lost_minor", "delay_min"):
                values = [getattr(f, field) for f in found]
                result[f"{part}_{name}_{field}_median"] = round(float(np.median(values)), 1)
            result[f"{part}_{name}_lost"] = sum(f.lost_minor for f in found)
    return result


if __name__ == "__main__":
    main()

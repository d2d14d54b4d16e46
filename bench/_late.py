"""A merchant whose reports take weeks, with an attack too young for most of them: what its log says, and the truth."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from avalist.app.administer import CreateMerchant
from avalist.app.dataset import Dataset, collect
from avalist.bootstrap import build
from avalist.cli.history import record_all
from avalist.cli.options import progress_bar
from avalist.config import settings_from
from avalist.domain.schema import DAY_MS, DIGITAL_GOODS, Schema
from avalist.simulator import Attempt, WavePlan, World, WorldConfig, load_world, play
from avalist.simulator.waves import HABITS

SCHEMA: Final[Schema] = msgspec.structs.replace(
    DIGITAL_GOODS,
    entities=tuple(
        e for e in DIGITAL_GOODS.entities if e.name in ("account", "card", "device", "ip24", "email_shape", "bin")
    ),
)
"""It declares what every merchant does: median 25 days, 95th percentile 90."""


class Lived(NamedTuple):
    """A replayed log; per payment the truth [n], whether it is of the attack, and P(fraud) as it was drawn."""

    data: Dataset
    fraud: npt.NDArray[np.bool_]
    attack: npt.NDArray[np.bool_]
    p: npt.NDArray[np.float64]


def slow_world(median_d: float, p95_d: float, lone_p: tuple[float, float] = (0.05, 0.5)) -> WorldConfig:
    """Return a world of slow reports where fraud is hard to tell: half of it looks honest, the rest has so much risk
    between these bounds, one in four where none are given.
    """
    world = load_world()
    outcomes = msgspec.structs.replace(world.outcomes, report_median_d=median_d, report_p95_d=p95_d)
    fraud = msgspec.structs.replace(world.fraud, rate=0.03, indistinguishable_share=0.5, lone_p=lone_p)
    waves = msgspec.structs.replace(world.waves, per_month=0.0, p=(0.2, 0.2))
    return msgspec.structs.replace(world, outcomes=outcomes, fraud=fraud, waves=waves).check()


def attack(world: WorldConfig, start_d: float, days: float, per_day: int, habits: tuple[str, ...] = HABITS) -> WavePlan:
    """Return an attack of one style, or of some habits alone, that goes on for days; a fifth of its payments are
    fraud.
    """
    start_ms = world.start_ms + round(start_d * DAY_MS)
    return WavePlan(start_ms=start_ms, minutes=days * 1440.0, payments=round(days * per_day), habits=habits)


def lived(world: World, days: float) -> Lived:
    """Live a world, record it, and replay it through the product's kernel; all that issuers approve is captured."""
    truth: dict[str, tuple[bool, bool, float]] = {}

    def approve(attempt: Attempt) -> bool:
        told = attempt.truth
        truth[attempt.payment.payment_id] = told.fraud, told.wave_id is not None, told.p_fraud
        return True

    with tempfile.TemporaryDirectory() as folder, build(settings_from({}, data=Path(folder) / "data")) as here:
        here.administration.carry_out(CreateMerchant("shop", SCHEMA, prior=False), 0)
        with progress_bar("living it", round(world.vertical.payments_per_day * days)) as bar:
            record_all(here, "shop", play(world, days, approve), bar)
        data = collect(here.log.read, "shop")
    fraud, attacks, p = np.array([truth[id] for id in data.background.payment_ids]).T
    return Lived(data, fraud > 0, attacks > 0, p)

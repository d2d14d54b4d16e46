"""Make the network prior that comes with the package, from seeds: simulated merchants alone, and labelled so.

``python -m bench.prior`` writes ``avalist/models/shipped.prior``: equal code and seeds give equal bytes. Every world is
a merchant of its own vertical, size, fraud rate and waves, lived from its first payment on without fraud prevention,
and replayed through the product's kernel. Half of the days are taken as of a merchant that lacks some of the sources:
so the prior has met unknown columns. The last worlds grow no tree and calibrate nothing: they grade. The last line
printed is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import replace
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
from avalist.config import Settings
from avalist.domain.schema import DAY_MS, DIGITAL_GOODS
from avalist.models.artefact import Artefact
from avalist.models.prior import SHIPPED, roles, sources_of
from avalist.models.train import TrainingSet, TrainParams, train
from avalist.models.trees import F32
from avalist.simulator import World, WorldConfig, history, load_world
from avalist.simulator.config import Vertical

OUT = Path(__file__).parents[1] / "avalist" / "models" / SHIPPED
DAYS: Final = 35
SLOT_MS: Final = 1_000 * DAY_MS
"""Worlds stand one after the other in time."""
PARAMS: Final = TrainParams(
    trees=160, leaves=24, learning_rate=0.08, min_data_in_leaf=80, feature_fraction=0.4, half_life_d=None,
    num_threads=2,
)  # fmt: skip
LACKING: Final = 0.25
"""Chance of a source to be lacking, in the half of the rows that lack some."""
MAY_LACK: Final = (
    ("customer.id",), ("method.fingerprint",), ("device.id",), ("ip", "ip24"), ("email", "email_domain"), ("bin",),
    ("product", "item_kind", "method_kind", "billing.country"), ("payee.id",), ("account_age_s",),
    ("pattern.identity", "pattern.device", "pattern.payment", "pattern.goods", "pattern.person", "pattern.conduct"),
    ("wave.evidence", "wave.payments", "wave.alarms"),
)  # fmt: skip
"""Sources that come and go together."""


class Kind(NamedTuple):
    """A kind of merchant: payments a day, fraud rate, how much of it looks honest, waves a month."""

    vertical: Vertical
    per_day: float
    rate: float
    hidden: float
    waves: float


KINDS: Final = (
    Kind("gift_cards", 500, 0.015, 0.2, 4.0),
    Kind("games", 300, 0.006, 0.3, 2.0),
    Kind("crypto", 400, 0.03, 0.2, 6.0),
    Kind("games", 800, 0.02, 0.1, 4.0),
    Kind("gift_cards", 200, 0.01, 0.4, 8.0),
    Kind("crypto", 250, 0.012, 0.3, 3.0),
    Kind("gift_cards", 700, 0.008, 0.3, 2.0),
    Kind("games", 400, 0.015, 0.2, 6.0),
    Kind("crypto", 600, 0.02, 0.3, 4.0),
    Kind("gift_cards", 400, 0.02, 0.2, 4.0),
    Kind("games", 350, 0.01, 0.3, 3.0),
    Kind("crypto", 300, 0.015, 0.2, 4.0),
)
GRADING: Final = 3
"""The last so many worlds."""


def world_of(kind: Kind) -> WorldConfig:
    """Return the default world with a kind's fraud."""
    base = load_world()
    fraud = msgspec.structs.replace(base.fraud, rate=kind.rate, indistinguishable_share=kind.hidden)
    return msgspec.structs.replace(
        base, fraud=fraud, waves=msgspec.structs.replace(base.waves, per_month=kind.waves)
    ).check()


def lived(kind: Kind, seed: int, days: int) -> Dataset:
    """Live a merchant's first days, all that issuers approve captured, and wait for the last report."""
    world = World(world_of(kind), vertical=kind.vertical, seed=seed, payments_per_day=kind.per_day)
    with (
        tempfile.TemporaryDirectory() as folder,
        build(Settings(data=Path(folder) / "data")) as here,
        progress_bar(f"living {kind.vertical}", round(kind.per_day * days)) as bar,
    ):
        here.administration.carry_out(CreateMerchant("shop", DIGITAL_GOODS, prior=False), 0)
        record_all(here, "shop", history(world, days, late=True), bar)
        return collect(here.log.read, "shop")


class Rows(NamedTuple):
    """A world's captured payments over the prior's columns."""

    x: F32
    y: npt.NDArray[np.int64]
    t_ms: npt.NDArray[np.int64]
    amount_minor: npt.NDArray[np.int64]


def rows_of(data: Dataset, place: int, seed: int) -> Rows:
    """Return a world's rows, half of them lacking sources, at its own place in time."""
    columns = [*roles(data.schema, data.plan.features).values()]
    captured, fraud = data.known_at(data.cut_ms)
    rows = np.flatnonzero(captured)
    x = np.ascontiguousarray(data.x[rows][:, columns])
    rng = np.random.default_rng(seed)
    named = {feature.name: feature for feature in data.plan.features}
    made_from = [sources_of(data.schema, data.plan.features[column], named) for column in columns]
    for day in np.unique(data.t_ms[rows] // DAY_MS).tolist():
        if rng.random() < 0.5:
            continue
        lacking = {source for group in MAY_LACK if rng.random() < LACKING for source in group}
        absent = np.array([bool(sources & lacking) for sources in made_from])
        x[np.ix_(data.t_ms[rows] // DAY_MS == day, absent)] = np.nan
    began = place * SLOT_MS - int(data.t_ms[0]) // DAY_MS * DAY_MS
    return Rows(x, fraud[rows].astype(np.int64), data.t_ms[rows] + began, data.amount_minor[rows])


def made(first_seed: int, days: int) -> Artefact:
    """Live every merchant, train the prior and grade it on the last of them."""
    parts, names = [], tuple[str, ...]()
    for place, kind in enumerate(KINDS):
        start = time.perf_counter()
        data = lived(kind, first_seed + place, days)
        names = (*roles(data.schema, data.plan.features),)
        parts.append(rows_of(data, place, first_seed + place))
        frauds, seconds = int(parts[-1].y.sum()), time.perf_counter() - start
        print(f"{kind}: {len(parts[-1].y):,} payments, {frauds:,} frauds in {seconds:.0f} s", flush=True)
    whole = Rows(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    share = sum(len(part.y) for part in parts[-GRADING:]) / len(whole.y)
    dataset = TrainingSet(whole.x, names, "roles-1", whole.y, whole.t_ms, whole.amount_minor)
    model = train(dataset, msgspec.structs.replace(PARAMS, test_share=share)).artefact
    told = {
        **msgspec.to_builtins(PARAMS),
        "trained_on": "simulated payments",
        "world": load_world().name,
        "seeds": [first_seed, first_seed + len(KINDS) - 1],
        "days": days,
        "merchants": [kind._asdict() for kind in KINDS],
    }
    return replace(model, params=json.dumps(told).encode())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.prior", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1_000, help="seed of the first world")
    parser.add_argument("--days", type=int, default=DAYS, help="days of every world")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    prior = made(given.seed, given.days)
    given.out.write_bytes(prior.to_bytes())
    judged = prior.report
    assert judged is not None, "the last worlds grade"
    print(
        json.dumps(
            {
                "bench": "prior",
                "version": prior.version,
                "bytes": given.out.stat().st_size,
                "columns": len(prior.columns),
                "trees": len(prior.trees.roots),
                "graded": judged.rows,
                "prevalence": round(judged.prevalence, 4),
                "auc": round(judged.roc_auc.value, 4),
                "ap": round(judged.average_precision.value, 4),
                "observed_expected": round(judged.observed_expected.value, 3),
            }
        )
    )


if __name__ == "__main__":
    main()

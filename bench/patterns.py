"""What pattern columns, wave detection and familiarity add to a model, on three kinds of data.

``python -m bench.patterns [--data FOLDER] [--only NAMES] [--seeds 2,3,4] [--days N]``; raw samples in
``bench/out/patterns.json``, the last line printed is one JSON object. Five models learn the same rows with the same
parameters: *off* has neither patterns nor waves, *patterns* the columns of patterns too, *detection* the numbers of the
wave detector with trust in an alarm, but no columns of patterns, *on* both, *unfamiliar* what *on* has without what
tells how a payment is like its account's own past. Each is trained at four cuts with the labels known by then, on the
latest 70,000 payments of which a fraud may be known (the Handbook's protocol learns from a week, which has as many),
and graded on those after it by average precision. Differences are paired, with the 90 % interval from drawing days
again.

*handbook* and *sparkov* are simulated by others; *world* is the frozen world of the project, as it is, without waves
that a bench adds. None are the data of a payment system.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np

from avalist.app.dataset import Background, Dataset, collect
from avalist.app.train import known_by
from avalist.bootstrap import open_log
from avalist.config import settings_from
from avalist.domain.records import FoldKind
from avalist.domain.row import AT, KIND
from avalist.domain.schema import DIGITAL_GOODS, PATTERN_SOURCES, WAVE_SOURCES, EntityDecl, NumberDecl, Schema
from avalist.enrich.patterns import amount_band
from avalist.features.declare import Feature
from avalist.features.derive import default_pairs, derive
from avalist.features.plan import compile_plan
from avalist.features.state import State
from avalist.features.wave import Watch
from avalist.models.delay import LEAST_REPORTED
from avalist.models.train import TrainingSet, TrainParams, train
from avalist.models.trees import F64
from avalist.policy.economics import Policy
from avalist.simulator import World, load_world
from bench import handbook, wave
from bench._protocol import DAY_MS, DELAY_D, I64, Mask, Payments, assessed, folds, load
from bench._raw import keep

DATA: Final = Path("../shared/data")
MAPPING: Final = Path("docs/mappings/sparkov.toml")
PARAMS: Final = TrainParams(test_share=0.0, trees=120, leaves=31, learning_rate=0.08, num_threads=1)
WAVES: Final = tuple(NumberDecl(source.replace(".", "_"), source) for source in WAVE_SOURCES)
CUTS, DRAWS, MOST_LEARNT, WORLD_PER_DAY = 4, 400, 70_000, 600.0
DIFFERENCES: Final = {
    "": ("on", "off"),
    "of_patterns_": ("patterns", "off"),
    "of_detection_": ("detection", "off"),
    "of_patterns_beside_detection_": ("on", "detection"),
    "of_familiarity_": ("on", "unfamiliar"),
}


class Given(NamedTuple):
    """What the command line says: where the data are, which worlds are lived, and for how many days."""

    data: Path
    seeds: tuple[int, ...]
    days: int


class Slice(NamedTuple):
    """What one cut is: training ends and labels are known by `cut_ms`; `test` are the payments graded after it."""

    cut_ms: int
    test: I64


class Scored(NamedTuple):
    """The payments of one slice as graded: their day, whether they were fraud, and each model's scores."""

    day: I64
    fraud: Mask
    scores: dict[str, F64]


@dataclass(frozen=True)
class Judge:
    """A data set, replayed through the product's kernel, and how it is cut; `fraud` [n] is what it truly was."""

    name: str
    data: Dataset
    fraud: Mask
    slices: list[Slice]


def of_handbook(given: Given) -> Iterator[Judge]:
    """Yield the Handbook's payments by its own protocol. Its only pattern is an amount's band: nothing else is told."""
    payments = load(given.data / "handbook" / "transactions.parquet")
    schema = msgspec.structs.replace(
        handbook.SCHEMA,
        entities=(*handbook.SCHEMA.entities, EntityDecl("payment_pattern", "pattern.payment")),
        numbers=WAVES,
    )
    keys = payments.customer, payments.terminal, np.array([*map(amount_band, payments.amount_minor.tolist())])
    slices = [Slice(fold.assess_start * DAY_MS, assessed(payments, fold)) for fold in folds(handbook.LAST_FOLD)]
    yield Judge("handbook", _of_arrays(payments, schema, keys), payments.fraud, slices)


def _of_arrays(payments: Payments, schema: Schema, keys: tuple[I64, ...]) -> Dataset:
    """Return payments, captured at once and reported 7 days later where they are fraud, as read from a log."""
    plan, n = compile_plan(schema, derive(schema)), len(payments.t_ms)
    log = handbook.events_of(payments, schema, keys)
    x = State(plan, watch=Watch(schema)).run(log, log[:, KIND] == FoldKind.PAYMENT)
    one, place = np.ones(n, np.int64), np.arange(n)
    came = np.column_stack((place, one, 0 * one, payments.t_ms, one))
    told = np.column_stack((place, 0 * one, one, payments.t_ms + DELAY_D * DAY_MS, one))[payments.fraud]
    changes, issuer = np.concatenate((came, told)), np.zeros(n, np.int8)
    nobody = np.full((n, 2), np.nan, np.float32)
    background = Background(np.stack(keys, axis=1), issuer, [], {}, {}, Policy(), "", place, decided=nobody)
    return Dataset(plan, schema, x, payments.t_ms, payments.amount_minor, changes, int(log[-1, AT]), background)


def of_sparkov(given: Given) -> Iterator[Judge]:
    """Yield Sparkov's payments, imported by the product. A pattern is an amount's band and the category."""
    mapping = MAPPING.read_text()
    for line, more in (
        ('shop = "payee.id"', 'payment_pattern = "pattern.payment"'),
        ('city_pop = "custom.city_pop"\n\n', "\n".join(f'{w.name} = "{w.source}"' for w in WAVES)),
    ):
        assert line in mapping, "the mapping has changed: say anew where the columns go"
        mapping = mapping.replace(line, f"{line.rstrip()}\n{more}\n")  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="avalist-patterns-") as made:
        (Path(made) / "sparkov.toml").write_text(mapping)
        command = [
            sys.executable,
            "-m",
            "avalist",
            "import",
            "sparkov",
            str(given.data / "sparkov" / "transactions.parquet"),
        ]
        subprocess.run([*command, "--mapping", f"{made}/sparkov.toml", "--data", f"{made}/data"], check=True)
        log = open_log(settings_from({}, data=Path(made) / "data"), readonly=True)
        data = collect(log.read, "sparkov")
        log.close()
    yield _forward("sparkov", data, data.known_at(data.cut_ms)[1], 60)


def of_world(given: Given) -> Iterator[Judge]:
    """Yield the frozen world as a merchant of the default schema, one seed after the other."""
    config = load_world("default-1")
    for seed in given.seeds:
        lived = wave.live(World(config, seed=seed, payments_per_day=WORLD_PER_DAY), float(given.days), DIGITAL_GOODS)
        yield _forward("world", lived.data, np.array([truth.fraud for truth in lived.truths]), given.days // 8)


def _forward(name: str, data: Dataset, fraud: Mask, slice_d: int) -> Judge:
    """Return a judge of the last four periods of so many days."""
    end = int(data.t_ms[-1])
    cuts = [end - (n + 1) * slice_d * DAY_MS for n in range(CUTS)]
    return Judge(
        name,
        data,
        fraud,
        [Slice(cut, np.flatnonzero((data.t_ms >= cut) & (data.t_ms < cut + slice_d * DAY_MS))) for cut in cuts],
    )


JUDGES: Final[dict[str, Callable[[Given], Iterator[Judge]]]] = {
    "handbook": of_handbook,
    "sparkov": of_sparkov,
    "world": of_world,
}


def is_familiarity(schema: Schema, feature: Feature) -> bool:
    """Tell whether a column says how much a payment and its session are as the account's own before."""
    account, numbers = schema.entities[0].name, {number.name for number in schema.numbers}
    pairs = {f"{a}+{b}" for a, b in default_pairs(schema)}
    usual = feature.entity.startswith(f"{account}+") and feature.entity not in pairs
    pace = feature.entity == account and feature.aggregate == "mean" and feature.field in numbers
    return usual or pace or feature.name.endswith("__share__30d") or bool({*(feature.over or ())} & numbers)


def columns_of(schema: Schema) -> dict[str, list[str]]:
    """Return the columns that each model has."""
    patterns = {entity.name for entity in schema.entities if entity.source in PATTERN_SOURCES}
    told = {number.name for number in schema.numbers if number.source in WAVE_SOURCES}
    features = derive(schema)
    of_pattern = {f.name for f in features if f.entity in patterns}
    of_pattern |= {f.name for f in features if {*(f.over or ())} & of_pattern}
    familiar = {f.name for f in features if is_familiarity(schema, f)}
    everything = [f.name for f in features]
    without = {"off": of_pattern | told, "patterns": told, "detection": of_pattern, "on": set(), "unfamiliar": familiar}
    return {model: [name for name in everything if name not in gone] for model, gone in without.items()}


def score(judge: Judge, one: Slice, names: list[str], trust: float) -> F64:
    """Train on what is known at a cut, and return P(fraud) of the payments after it."""
    known, mine = learnt(judge, one.cut_ms), [judge.data.plan.columns.index(name) for name in names]
    params = msgspec.structs.replace(PARAMS, trust=trust)
    model = train(replace(known, x=np.ascontiguousarray(known.x[:, mine]), columns=tuple(names)), params).artefact
    return model.p_fraud(np.ascontiguousarray(judge.data.x[one.test][:, mine]))


def learnt(judge: Judge, cut_ms: int) -> TrainingSet:
    """Return the latest payments of which a fraud may be known by a cut."""
    known = known_by(judge.data, cut_ms)
    place = np.flatnonzero(known.reported >= LEAST_REPORTED)[-MOST_LEARNT:]
    rows = {name: getattr(known, name)[place] for name in ("x", "y", "t_ms", "amount_minor", "decided")}
    return replace(known, **rows, report_probability=known.reported[place])


def scored(judge: Judge) -> Iterator[Scored]:
    """Yield every slice of a data set, scored by every model."""
    for one in judge.slices:
        models = columns_of(judge.data.schema)
        scores = {
            name: score(judge, one, names, 0.0 if name in ("off", "patterns") else PARAMS.trust)
            for name, names in models.items()
        }
        yield Scored(judge.data.t_ms[one.test] // DAY_MS, judge.fraud[one.test], scores)


def precision(ranked: Mask, weight: F64) -> float:
    """Return average precision of payments in order of risk where each counts `weight` times.

    >>> round(precision(np.array([1, 0, 1]) > 0, np.ones(3)), 4)
    0.8333
    """
    hits = ranked * weight
    found = np.cumsum(hits)
    return float((hits * found / np.maximum(np.cumsum(weight), 1e-12)).sum() / max(found[-1], 1e-12))


def plain(one: Scored) -> dict[str, float]:
    """Return each model's average precision on a slice."""
    return {name: precision(one.fraud[_by_risk(p)], np.ones(len(p))) for name, p in one.scores.items()}


def drawn(slices: list[Scored]) -> dict[str, F64]:
    """Return each model's mean average precision over the slices: as it is, and with days drawn again, [1 + DRAWS]."""
    random = np.random.default_rng(0)
    found = {name: np.zeros((len(slices), 1 + DRAWS)) for name in slices[0].scores}
    for n, one in enumerate(slices):
        days, place = np.unique(one.day, return_inverse=True)
        times = random.multinomial(len(days), np.full(len(days), 1.0 / len(days)), 1 + DRAWS).astype(np.float64)
        times[0] = 1.0
        for name, values in one.scores.items():
            order = _by_risk(values)
            ranked, here = one.fraud[order], place[order]
            found[name][n] = [precision(ranked, weight[here]) for weight in times]
    return {name: values.mean(axis=0) for name, values in found.items()}


def _by_risk(p: F64) -> I64:
    """Return the order of risk; equal risks stand in order of time."""
    return np.argsort(-p, kind="stable")


def summary(results: dict[str, list[Scored]]) -> dict[str, object]:
    """Return each data set's average precision by model, and the paired differences with their intervals."""
    told: dict[str, object] = {}
    worst: tuple[float, str, list[float]] | None = None
    for data, slices in results.items():
        found = drawn(slices)
        told[f"{data}_frauds"] = int(sum(one.fraud.sum() for one in slices))
        told |= {f"{data}_ap_{name}": round(float(values[0]), 4) for name, values in found.items()}
        for what, (ours, theirs) in DIFFERENCES.items():
            difference = found[ours] - found[theirs]
            interval = [round(float(q), 4) for q in np.quantile(difference[1:], (0.05, 0.95))]
            told[f"{data}_difference_{what}".rstrip("_")] = [round(float(difference[0]), 4), *interval]
            if what == "" and (worst is None or difference[0] < worst[0]):
                worst = float(difference[0]), data, interval
    assert worst is not None
    return {**told, "worst_paired_difference": round(worst[0], 4), "worst_of": worst[1], "worst_90": worst[2]}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.patterns", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder of handbook and sparkov")
    parser.add_argument("--only", default=",".join(JUDGES), help="data sets, with commas")
    parser.add_argument("--seeds", default="2,3,4", help="worlds to live, with commas")
    parser.add_argument("--days", type=int, default=64, help="days that each is lived")
    asked = parser.parse_args()
    given = Given(asked.data, tuple(map(int, asked.seeds.split(","))), asked.days)
    results: dict[str, list[Scored]] = {}
    columns: dict[str, dict[str, int]] = {}
    start = time.perf_counter()
    for name in asked.only.split(","):
        if name != "world" and not (given.data / name).exists():
            print(f"skipped {name}: {given.data / name} is not here; its README says where it comes from")
            continue
        for judge in JUDGES[name](given):
            columns[name] = {model: len(names) for model, names in columns_of(judge.data.schema).items()}
            for one in scored(judge):
                results.setdefault(name, []).append(one)
                aps = {model: round(ap, 4) for model, ap in plain(one).items()}
                print(f"{name}: {int(one.fraud.sum())} frauds,", aps, flush=True)
            _save(results)
    if not results:
        return
    took = round(time.perf_counter() - start)
    print(json.dumps({"bench": "patterns", "columns": columns, "seconds": took, **summary(results)}))


def _save(results: dict[str, list[Scored]]) -> None:
    """Write each slice's average precision: scores of single payments stay out, for the data may not be passed on."""
    raw = {data: [plain(one) for one in slices] for data, slices in results.items()}
    keep("patterns", raw)


if __name__ == "__main__":
    main()

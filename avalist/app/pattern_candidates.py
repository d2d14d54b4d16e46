"""Combinations of habits that may become columns: those of the plan, and those that their own past speaks for."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from avalist.app.dataset import Dataset
from avalist.domain.schema import DAY_MS, PATTERN_SOURCES, WATCHED, Schema
from avalist.features.declare import Feature
from avalist.features.own import OwnFeature
from avalist.models.calibrate import report_loss
from avalist.models.trees import F64, I64

_KAPPA: Final = 1.0
_MOST_COMMON: Final = 0.2
"""What a fifth of all payments share is no habit of few."""
_LEAST_REPEATS: Final = 1.5
"""A combination that hardly comes twice tells nothing."""
_SHARED_FACTS: Final = ("product", "email_domain")


class Group(NamedTuple):
    """The columns that stand for one combination; `own` are the features that would give them, none if the plan has."""

    name: str
    places: tuple[int, ...]
    own: tuple[OwnFeature, ...] = ()


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """How a combination spreads: the share of payments that carry it, how many different ones there are, and the share
    of these payments that carry the commonest: honest people who share it collide there.
    """

    known: float
    keys: int
    commonest: float


def groups_in(schema: Schema, features: Sequence[Feature]) -> tuple[Group, ...]:
    """Return the columns of each pattern of a plan, and of each combination of habits that was added to it."""
    names = [entity.name for entity in schema.entities if entity.source in PATTERN_SOURCES]
    entities, habits = dict.fromkeys(feature.entity for feature in features), {*_habits(schema)}
    names += [entity for entity in entities if "+" in entity and {*entity.split("+")} <= habits]
    return tuple(group for name in names if (group := _group(name, features)).places)


def _habits(schema: Schema) -> list[str]:
    """Return the entities and categories that many accounts share by habit."""
    habits = [e.name for e in schema.entities if e.source in WATCHED or e.source in _SHARED_FACTS]
    return [*habits, *(c.name for c in schema.categories)]


def _group(entity: str, features: Sequence[Feature], own: tuple[OwnFeature, ...] = ()) -> Group:
    names = {f.name for f in features if f.entity == entity}
    made = {f.name for f in features if names & {*(f.over or ())}}
    return Group(entity, tuple(n for n, f in enumerate(features) if f.name in names | made), own)


def group_of(entity: str, schema: Schema, features: Sequence[Feature]) -> Group:
    """Return the columns of a combination ``a+b`` that its own features gave."""
    return _group(entity, features, own_of(entity, schema))


def own_of(entity: str, schema: Schema) -> tuple[OwnFeature, ...]:
    """Return what tells of a combination: how often it comes, by how many accounts, and what became of it."""
    days = sorted(schema.rate_windows_d)[-3:]
    rates = (
        OwnFeature(aggregate="rate", entity=entity, window=f"{d}d", prior=f"merchant__rate__fraud__{d}d") for d in days
    )
    return (
        OwnFeature(aggregate="known", entity=entity),
        OwnFeature(aggregate="count", entity=entity, window="1h"),
        OwnFeature(aggregate="count", entity=entity, window="1d"),
        OwnFeature(aggregate="count", entity=entity, window="30d"),
        OwnFeature(aggregate="distinct", entity=entity, of=schema.entities[0].name, window="1d"),
        *rates,
    )


def spread(keys: I64) -> Spread:
    """Return how keys int64 [n] spread; 0 is none."""
    carried = keys[keys != 0]
    _, counts = np.unique(carried, return_counts=True)
    commonest = float(counts.max() / len(carried)) if len(carried) else 0.0
    return Spread(known=len(carried) / max(len(keys), 1), keys=len(counts), commonest=commonest)


def keys_of(data: Dataset, name: str) -> I64:
    """Return the keys of an entity, or of a combination ``a+b`` of them, int64 [n]; 0 where a part is absent."""
    names = [*(e.name for e in data.schema.entities), *(c.name for c in data.schema.categories)]
    parts = [data.background.keys[:, names.index(part)] for part in name.split("+")]
    mixed = parts[0].astype(np.uint64)
    for part in parts[1:]:
        mixed = mixed * np.uint64(0x9E3779B97F4A7C15) ^ part.astype(np.uint64)
    return np.where(np.all([part != 0 for part in parts], axis=0), mixed.view(np.int64), 0)


def combined(data: Dataset) -> tuple[str, ...]:
    """Return the pairs of habits that come again, are not everybody's, and have or had no columns in the plan."""
    names = ("+".join(pair) for pair in combinations(_habits(data.schema), 2))
    new = (name for name in names if f"{name}__known" not in data.plan.columns)
    return tuple(name for name in new if _is_habit(keys_of(data, name)))


def _is_habit(keys: I64) -> bool:
    found = spread(keys)
    repeats = found.known * len(keys) / max(found.keys, 1)
    return found.keys > 1 and found.commonest <= _MOST_COMMON and repeats >= _LEAST_REPEATS


class Left(NamedTuple):
    """What a model without patterns left of its later payments, arrays [n]: their places in the data, margins, times,
    whether fraud is reported by the end, how sure it would be, when it was (0: never), and the fold that scored them.
    """

    rows: I64
    margins: F64
    t_ms: I64
    y: F64
    reported: F64
    told_ms: I64
    fold: I64


def screened(data: Dataset, left: Left, names: Sequence[str], rows: I64, most: int) -> tuple[str, ...]:
    """Return the combinations whose own past explains best what a model left of payments, at most so many.

    `rows` are those of `left` that may choose. A payment's odds are multiplied by (κ + O) / (κ + E): the frauds that
    were reported of the combination by then, and those that the model expected of its judged payments. It is one sort
    each, so that there may be many.
    """
    lag_ms = round(data.schema.label_delay_d * DAY_MS)
    gains = [(float(_credit(keys_of(data, name)[left.rows], left, lag_ms)[rows].sum()), name) for name in names]
    return tuple(name for found, name in sorted(gains, key=lambda one: (-one[0], one[1]))[:most] if found > 0.0)


def _credit(keys: I64, left: Left, lag_ms: int) -> F64:
    """Return by how much the past of each payment's key explains it better, in nats [n]."""
    n, told = len(keys), np.flatnonzero(left.told_ms)
    who = np.concatenate((np.arange(n), np.arange(n), told))
    at = np.concatenate((left.t_ms, left.t_ms + lag_ms, left.told_ms[told]))
    due = np.concatenate((np.zeros(n), left.reported / (1.0 + np.exp(-left.margins)), np.zeros(len(told))))
    came = np.concatenate((np.zeros(2 * n), np.ones(len(told))))
    order = np.lexsort((at, keys[who]))
    begins = np.r_[True, np.diff(keys[who][order]) != 0]
    observed, expected = (_running(values[order], begins) for values in (came, due))
    asks = order < n
    shift = np.zeros(n)
    shift[order[asks]] = np.log((_KAPPA + observed[asks]) / (_KAPPA + expected[asks]))
    shift[keys == 0] = 0.0
    return report_loss(left.margins, left.y, left.reported) - report_loss(left.margins + shift, left.y, left.reported)


def _running(values: F64, begins: npt.NDArray[np.bool_]) -> F64:
    """Return the sums so far, from 0 again wherever one begins."""
    sums = np.cumsum(values)
    before = np.r_[0.0, sums][np.flatnonzero(begins)]
    return np.asarray(sums - before[np.cumsum(begins) - 1])

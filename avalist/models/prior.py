"""A network's prior: what a merchant decides by before it has labels of its own (modelling §2).

A prior asks only for columns that mean the same at any shop: no amount, no volume, no name. Each is known by its
*role*: what is computed, of entities known by their source. So a prior fits any schema: its trees are put onto the
columns of a merchant's plan that have the same role, and what the merchant does not have is unknown to it.

Its level is the network's. A merchant's own reports correct it: odds × θ, θ = (κ + O)/(κ + E), with O frauds reported
and E expected to be by now.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from importlib import resources
from typing import Final

import msgspec
import numpy as np

from avalist.domain.schema import Schema
from avalist.features.declare import ALL, Feature
from avalist.features.plan import Plan
from avalist.models.artefact import Artefact, FromPrior
from avalist.models.calibrate import Calibration
from avalist.models.trees import F64

SHIPPED: Final = "shipped.prior"
KAPPA: Final = 5.0
"""κ: so many expected frauds, and the merchant's own count weighs as much as the prior's word."""
FEWEST_COLUMNS: Final = 10
"""With fewer columns in common a prior knows next to nothing of a merchant."""
PERCENTILES_FROM: Final = 2_000
"""Payments from which on risk scores are percentiles of the merchant's own."""
THINGS: Final = frozenset(("customer.id", "method.fingerprint", "device.id", "ip", "ip24", "email"))
"""Sources of entities that one person has: their counts do not grow with the shop."""
_OF_THINGS: Final = frozenset(("known", "since_last", "since_first", "count", "distinct", "clean"))
_OF_FRAUD: Final = frozenset(("rate", "since_fraud", "since_first_fraud"))
_ALIKE: Final = {"receiver": "payee.id"}
"""Sources that mean the same to a prior as another, which came first."""
_NUMBERS: Final = frozenset(("account_age_s", "wave.evidence", "wave.payments", "wave.alarms", "wave.excess"))


def roles(schema: Schema, features: Sequence[Feature]) -> dict[str, int]:
    """Return the roles of a plan's columns that mean the same at any shop, with their places."""
    source = _sources(schema)
    named = {feature.name: feature for feature in features}
    return {
        _role(feature, source, named): place
        for place, feature in enumerate(features)
        if _portable(feature, source)
    }  # fmt: skip


def sources_of(schema: Schema, feature: Feature, features: Mapping[str, Feature]) -> frozenset[str]:
    """Return the sources that a column is made from."""
    source = _sources(schema)
    found = {part for name in (feature.entity, feature.of) if name for part in name.split("+")}
    if feature.aggregate == "value":
        found.add(feature.field)
    below = (sources_of(schema, features[name], features) for name in feature.over or ())
    return frozenset(source[name] for name in found if name in source).union(*below)


def _sources(schema: Schema) -> dict[str, str]:
    things = {one.name: one.source for one in schema.entities} | {one.name: one.source for one in schema.categories}
    named = things | {one.name: one.source for one in schema.numbers}
    return {name: _ALIKE.get(source, source) for name, source in named.items()}


def _portable(feature: Feature, source: Mapping[str, str]) -> bool:
    of = {source.get(part, part) for name in (feature.entity, feature.of) if name for part in name.split("+")}
    match feature.aggregate:
        case "ratio":
            return True
        case "value":
            return source.get(feature.field, "") in _NUMBERS
        case aggregate if aggregate in _OF_FRAUD:
            return True
        case aggregate if aggregate in _OF_THINGS:
            return of <= THINGS
        case _:
            return False


def _role(feature: Feature, source: Mapping[str, str], named: Mapping[str, Feature]) -> str:
    if feature.over is not None:
        return " / ".join(f"({_role(named[name], source, named)})" for name in feature.over)

    def of(name: str) -> str:
        return "+".join(part if part == ALL else source.get(part, part) for part in name.split("+"))

    field = of(feature.field) if feature.aggregate in ("value", "sum", "mean", "max") else ""
    own = "own " if feature.include_current else ""
    window = f" {feature.window_ms}" if feature.window_ms else ""
    return f"{own}{feature.aggregate} {of(feature.entity)} {field}{of(feature.of)} {feature.kinds}{window}"


@lru_cache(maxsize=1)
def shipped() -> Artefact:
    """Return the prior that comes with the package: trained on the simulator, ``python -m bench.prior`` makes it."""
    return Artefact.from_bytes(resources.files(__package__).joinpath(SHIPPED).read_bytes())


def put_onto(prior: Artefact, schema: Schema, plan: Plan) -> Artefact | None:
    """Return a prior as a merchant's model, over its own plan; None where they have too little in common."""
    mine = roles(schema, plan.features)
    places = np.array([mine.get(role, -1) for role in prior.columns], np.int64)
    if np.count_nonzero(places >= 0) < FEWEST_COLUMNS:
        return None
    typical = np.full(len(plan.columns), np.nan, np.float32)
    if prior.typical is not None:
        typical[places[places >= 0]] = prior.typical[places >= 0]
    return replace(
        prior,
        trees=prior.trees.onto(places, len(plan.columns)),
        plan_hash=plan.hash,
        columns=plan.columns,
        report=None,
        schema=msgspec.json.encode(schema),
        typical=typical,
        trained="prior",
        prior=FromPrior(version=prior.version, trained_on=trained_on(prior)),
    )


def trained_on(prior: Artefact) -> str:
    """Return in words what a prior was trained on."""
    return str(msgspec.json.decode(prior.params).get("trained_on", "unknown payments"))


def theta(observed: float, expected: float) -> float:
    """Return what a prior's odds are multiplied by at a merchant.

    >>> theta(0.0, 0.0), theta(15.0, 5.0)
    (1.0, 2.0)
    """
    return (KAPPA + observed) / (KAPPA + expected)


def levelled(model: Artefact, observed: float, expected: float, margins: F64) -> Artefact:
    """Return a merchant's prior at the merchant's own level.

    `margins` [n] are those of its payments: with enough of them, risk scores are their percentiles.
    """
    assert model.prior is not None, "a model put onto a merchant's plan"
    factor = theta(observed, expected)
    level = model.calibration
    said = msgspec.structs.replace(model.prior, theta=factor, observed=float(observed), expected=float(expected))
    own = len(margins) >= PERCENTILES_FROM
    return replace(
        model,
        calibration=Calibration(level.knots, level.log_odds + math.log(factor), level.slope),
        percentiles=np.quantile(margins, np.arange(1, 100) / 100.0) if own else model.percentiles,
        prior=said,
    )

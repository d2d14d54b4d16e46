"""Trust in alarms: what a merchant's own bursts say of it, and the tree that it becomes."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from avalist.domain.schema import DAY_MS, EntityDecl, NumberDecl, Schema
from avalist.models.shapley import shapley
from avalist.models.train import TrainingSet, TrainParams, train
from avalist.models.trees import F64, Trees
from avalist.models.trust import Alarmed, excess_column, trust_in, trusting

SCHEMA = msgspec.json.encode(
    Schema(
        base_currency="EUR",
        entities=(EntityDecl("account", "customer.id"),),
        numbers=(NumberDecl("burst", "wave.excess"),),
    )
)
BASE = 0.01
PARAMS = TrainParams(trees=8, leaves=4, test_share=0.0, min_data_in_leaf=20)


def bursts(days: int, each: int, fraud: float, decided: float = float("nan")) -> Alarmed:
    """Return bursts, one a day, all captured and reported as they will ever be."""
    n = days * each
    y = (np.arange(n) % each < fraud * each).astype(np.float64)
    return Alarmed(np.full(n, 0.9), y, np.ones(n), np.arange(n) // each * DAY_MS, np.full(n, decided))


def test_bursts_that_were_fraud_raise_it_and_others_lower_it() -> None:
    assert trust_in(bursts(8, 20, 0.9), 0.5, BASE) > 0.85
    assert trust_in(bursts(8, 20, 0.0), 0.5, BASE) < 0.1


def test_few_frauds_in_many_bursts_end_it() -> None:
    assert trust_in(bursts(20, 20, 0.05), 0.5, BASE) == 0.0
    assert trust_in(bursts(20, 20, 0.2), 0.5, BASE) > 0.15


def test_bursts_that_show_no_more_than_the_base_rate_end_it() -> None:
    sales = bursts(200, 200, 0.005)
    assert trust_in(sales, 0.5, BASE) == 0.0


def test_one_large_burst_says_as_little_as_a_small_one() -> None:
    large, small = (trust_in(bursts(1, each, 0.0), 0.5, BASE) for each in (400, 10))
    assert large == pytest.approx(small)
    assert large > 0.2


def test_what_was_approved_in_an_alarm_because_it_looked_honest_hardly_counts() -> None:
    assert trust_in(bursts(8, 5, 0.0, decided=0.01), 0.5, BASE) > 0.35


def test_reports_that_cannot_be_there_yet_are_not_missed() -> None:
    young = bursts(8, 20, 0.0)._replace(reported=np.full(160, 0.001))
    assert trust_in(young, 0.5, BASE) > 0.4


def tree(x: F64, n_features: int = 2) -> Trees:
    return trusting(0.5, 0.01, 1, x, n_features)


def test_the_tree_gives_the_odds_that_excess_and_trust_make() -> None:
    x = np.array([[0, 0], [0, np.nan], [0, 53], [0, 96]], np.float32)
    margins = tree(x[:, 1].astype(np.float64)).score_many(x)
    p = 1.0 / (1.0 + np.exp(-margins) * 99.0)
    assert p == pytest.approx([0.01, 0.01, 0.01 + 0.99 * 0.265, 0.01 + 0.99 * 0.48])
    assert (np.diff(margins[[0, 2, 3]]) > 0).all()


def test_its_parts_add_up() -> None:
    x = np.column_stack((np.zeros(90), np.arange(90))).astype(np.float32)
    made = tree(x[:, 1].astype(np.float64))
    assert made.attribute(x).sum(axis=1) + made.bias == pytest.approx(made.score_many(x))
    assert shapley(made, x).sum(axis=1) + made.bias == pytest.approx(made.score_many(x))


def payments(n: int = 4_000) -> TrainingSet:
    """Return payments of which none was ever in alarm."""
    rng = np.random.default_rng(0)
    x = np.column_stack((rng.normal(size=n), np.zeros(n))).astype(np.float32)
    y = (rng.random(n) < 0.05 + 0.2 * (x[:, 0] > 1.0)).astype(np.int64)
    return TrainingSet(x, ("other", "burst"), "plan", y, np.arange(n) * 3_600_000, np.full(n, 500), schema=SCHEMA)


def test_a_model_that_never_saw_an_alarm_heeds_one() -> None:
    model = train(payments(), PARAMS).artefact
    usual, alarmed = model.p_fraud(np.array([[0, 0], [0, 90]], np.float32)).tolist()
    assert alarmed > 3 * usual


@pytest.mark.parametrize("known", [replace(payments(), schema=b"{}"), payments()], ids=["not told", "off"])
def test_without_trust_it_begins_as_before(known: TrainingSet) -> None:
    params = PARAMS if known.schema == b"{}" else msgspec.structs.replace(PARAMS, trust=0.0)
    model = train(known, params).artefact
    assert not model.trees.uses(1)


def test_the_column_is_found_by_its_source() -> None:
    assert excess_column(SCHEMA, ("other", "burst")) == 1
    assert excess_column(SCHEMA, ("other",)) == -1
    assert excess_column(b"{}", ("wave_excess",)) == -1

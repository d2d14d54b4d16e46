"""A small replayed log without a log: arrays whose truth the tests know."""

from __future__ import annotations

import numpy as np

from avalist.app.dataset import DECLINED, Background, Dataset
from avalist.domain.schema import DAY_MS, CategoryDecl, EntityDecl, Schema
from avalist.features.derive import derive
from avalist.features.plan import compile_plan
from avalist.models.prequential import Prequential
from avalist.models.train import TrainParams
from avalist.policy.choose import Sold
from avalist.policy.economics import Policy

SCHEMA = Schema(
    base_currency="EUR",
    entities=(EntityDecl("card", "method.fingerprint"),),
    categories=(CategoryDecl("kind", "custom.<b>kind</b>"),),
    report_delay_d=(5.0, 15.0),
)
SMALL = Prequential(
    folds=3,
    params=TrainParams(
        test_share=0.0, trees=15, leaves=7, learning_rate=0.3, min_data_in_leaf=20, early_stopping=False
    ),
)
START_MS = 1_767_225_600_000


def dataset(
    n: int = 6000,
    days: int = 120,
    *,
    refused: float = 0.0,
    frauds: float = 0.03,
    schema: Schema = SCHEMA,
    also: str = "",
) -> Dataset:
    """Return `n` payments over `days`; reports come late, by the schema's law.

    Fraud follows the first column, and `also` another one.
    """
    plan, rng = compile_plan(schema, derive(schema)), np.random.default_rng(0)
    t_ms = START_MS + np.sort(rng.integers(0, days * DAY_MS, n))
    x = rng.normal(size=(n, len(plan.columns))).astype(np.float32)
    logit = 3.0 * x[:, 0] - 2.0
    if also:
        logit = 1.5 * x[:, 0] + 1.5 * x[:, plan.columns.index(also)] - 2.0
    fraud = np.flatnonzero(rng.random(n) < frauds * n * np.exp(logit) / np.exp(logit).sum())
    taken = np.flatnonzero(rng.random(n) >= refused)
    fraud = np.intersect1d(fraud, taken)
    late = t_ms[fraud] + (rng.lognormal(np.log(5.0), 0.67, len(fraud)) * DAY_MS).astype(np.int64)
    captured = np.column_stack(
        (taken, np.ones(len(taken), int), np.zeros(len(taken), int), t_ms[taken], np.ones(len(taken), int))
    )
    reports = np.column_stack(
        (fraud, np.zeros(len(fraud), int), np.ones(len(fraud), int), late, np.ones(len(fraud), int))
    )
    changes = np.concatenate((captured, reports)).astype(np.int64)
    keys = rng.integers(1, 500, (n, len(schema.entities) + len(schema.categories)))
    keys[::10, 0] = 0
    issuer = np.where(rng.random(n) < 0.5, DECLINED, 0).astype(np.int8)
    issuer[taken] = 0
    background = Background(
        keys, issuer, [f"p{i}" for i in range(n)], {"EUR": (n, 1000)}, {"label": len(fraud)}, Policy(), "",
        np.arange(n), sold=[Sold("", "", None)] * n, decided=np.full((n, 2), np.nan, np.float32),
        scheme=["visa", ""] * (n // 2),
    )  # fmt: skip
    amount = rng.integers(500, 50_000, n)
    return Dataset(plan, schema, x, t_ms, amount, changes, int(max(t_ms[-1], late.max())), background)

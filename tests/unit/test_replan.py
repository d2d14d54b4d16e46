"""A plan change is tried on the past: what the new columns are worth, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from avalist.app.backtest import threshold
from avalist.app.dataset import Dataset, collect
from avalist.app.past import Past, Period
from avalist.app.replan import replanned
from avalist.app.reread import read_past
from avalist.domain.decisions import Action
from avalist.domain.errors import BadInput
from avalist.features.own import decode_own
from avalist.models.artefact import Artefact
from avalist.models.train import TrainParams
from tests.shop import DAY_MS, T0_MS, Shop, event, iso, payment

OWN = decode_own('[[feature]]\naggregate="max"\nentity="card"\nfield="lat"\nwindow="2h"')
CARDS, GAP_MS = 600, DAY_MS // 10
SMALL = TrainParams(trees=40, leaves=8, min_data_in_leaf=5, learning_rate=0.2, early_stopping=False, test_share=0.0)


@pytest.fixture
def lived(shop: Shop) -> tuple[Dataset, set[str], Shop]:
    """Each card pays twice; the second is fraud where the first came with a high number. Return data and frauds."""
    rng, frauds = np.random.default_rng(3), set()
    for n, high in enumerate((rng.random(CARDS) > 0.75).tolist()):
        at = T0_MS + n * GAP_MS
        for k in range(2):
            lat = float(rng.uniform(0.8, 1.0) if high and k == 0 else rng.uniform(0.0, 0.5))
            paid = payment(
                f"{n}-{k}", occurred_at=iso(at + k * 600_000), received_at=iso(at + k * 600_000),
                method={"kind": "card", "fingerprint": f"card-{n}"}, custom={"lat": lat}, captured=True,
            )  # fmt: skip
            shop.writer.record("shop", paid, 0)
        if high:
            frauds.add(f"p{n}-1")
            told = {"payment_id": f"p{n}-1", "fraud": True, "received_at": iso(at + 3_600_000)}
            shop.writer.record("shop", event("label", f"l{n}", **told), 0)
    return collect(shop.installation.log.read, "shop", own=OWN), frauds, shop


def period(shop: Shop, model: Artefact, first: int) -> Past:
    return read_past(shop.installation.log.read, "shop", Period(T0_MS + first * GAP_MS), model)


def test_the_new_column_finds_what_the_plan_did_not(lived: tuple[Dataset, set[str], Shop], artefact: Artefact) -> None:
    data, frauds, shop = lived
    made = replanned(data, len(OWN), period(shop, artefact, 400), threshold(0.5), SMALL)
    ids = [seen.core.payment_id for seen in made.past.payments]
    caught = [made.after[n] is Action.DECLINE for n, id in enumerate(ids) if id in frauds]
    before = [seen.action == "decline" for seen in made.past.payments if seen.core.payment_id in frauds]
    assert len(caught) > 30
    assert np.mean(caught) > 0.9
    assert np.mean(before) < 0.5
    assert made.learnt_rows == 800


def test_too_few_frauds_before_the_period_is_said(lived: tuple[Dataset, set[str], Shop], artefact: Artefact) -> None:
    data, _, shop = lived
    with pytest.raises(BadInput, match="let the period begin later"):
        replanned(data, len(OWN), period(shop, artefact, 30))

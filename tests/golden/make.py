"""Make the golden log of this engine: ``python -m tests.golden.make``. Run it once per engine number, then keep it.

A small merchant's history, its model, decisions at every checkpoint and mode, outcomes, a policy change: what a release
must decode for ever, and decide again the same way while ENGINE stands.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import numpy as np

from avalist import ENGINE
from avalist.app.administer import ActivateModel, CreateMerchant, IssueKey, SetMode, SetPolicy
from avalist.app.replay import replay
from avalist.app.train import Training, train
from avalist.bootstrap import Installation, build, keep_model
from avalist.config import settings_from
from avalist.domain.events import Capture, Card, Chargeback, Customer, Login, Payment, from_ms
from avalist.domain.schema import CategoryDecl, EntityDecl, NumberDecl, Schema
from avalist.models.train import TrainParams
from avalist.policy.economics import Policy

HERE = Path(__file__).parent / f"engine-{ENGINE}"
START_MS, HOUR_MS = 1_767_225_600_000, 3_600_000
HISTORY, LIVE = 700, 120
SCHEMA = Schema(
    base_currency="EUR",
    entities=(EntityDecl("account", "customer.id"), EntityDecl("card", "method.fingerprint"), EntityDecl("ip", "ip")),
    numbers=(NumberDecl("score", "custom.score", 2),),
    categories=(CategoryDecl("country", "billing.country"),),
    rates={"USD": 0.9},
    capture="explicit",
    report_delay_d=(2.0, 6.0),
    label_delay_d=3.0,
)
PARAMS = TrainParams(trees=20, leaves=8, min_data_in_leaf=10, test_share=0.0, learning_rate=0.2)


def payment(n: int, rng: np.random.Generator, checkpoint: str = "pre_auth") -> Payment:
    """Return the n-th payment; one in eight comes from a few accounts that behave badly."""
    bad = rng.random() < 0.125
    who = int(rng.integers(3)) if bad else 3 + int(rng.integers(60))
    at = from_ms(START_MS + n * HOUR_MS)
    return msgspec.convert(
        {
            "event_id": f"e{n}-{checkpoint}", "payment_id": f"p{n}", "occurred_at": at, "received_at": at,
            "checkpoint": checkpoint, "amount_minor": int(rng.integers(500, 20_000)),
            "currency": "USD" if n % 5 else "EUR",
            "customer": Customer(id=f"c{who}", email=f"c{who}@example.com"),
            "method": Card(fingerprint=f"card{who}-{int(rng.integers(2))}"), "ip": f"192.0.2.{who}",
            "custom": {"score": round(float(rng.normal()), 2)} if n % 7 else {},
        },
        Payment, from_attributes=True,
    )  # fmt: skip


def live(here: Installation, rng: np.random.Generator) -> None:
    """Record history with outcomes, train, then decide in every mode."""
    office, writer = here.administration, here.writer
    office.carry_out(CreateMerchant("shop", SCHEMA, prior=False), START_MS)
    for n in range(HISTORY):
        made = payment(n, rng)
        writer.record("shop", made, 0)
        outcomes(here, made, rng)
    here.log.sync()
    artefact = train(here.log.read, "shop", Training(test_share=0.0, params=PARAMS))
    keep_model(here.blobs, "shop", artefact)
    office.carry_out(ActivateModel("shop", artefact.version, artefact.plan_hash), 0)
    for n in range(HISTORY, HISTORY + LIVE):
        if n == HISTORY + 60:
            office.carry_out(SetMode("shop", "observe"), 0)
            office.carry_out(SetPolicy("shop", msgspec.Raw(msgspec.json.encode(Policy(margin=0.3)))), 0)
        if n == HISTORY + 100:
            office.carry_out(SetMode("shop", "live"), 0)
        made = payment(n, rng)
        answer = writer.decide("shop", made, 0)
        if n % 40 == 0:
            writer.fallback("shop", answer, 0, "deadline")
        outcomes(here, made, rng)
    made = msgspec.structs.replace(made, event_id="again", checkpoint="rescore")
    writer.decide("shop", made, 0)
    office.carry_out(IssueKey("shop", "sandbox"), 0)
    for n, id in enumerate(["test_decline", "test_review-1", "order"]):
        writer.decide("shop~1", msgspec.structs.replace(payment(n, rng), payment_id=id), 0)
    here.log.sync()


def outcomes(here: Installation, made: Payment, rng: np.random.Generator) -> None:
    """Record a capture, and a chargeback for the accounts that behave badly."""
    assert made.customer is not None
    id, at = made.payment_id, made.occurred_at
    here.writer.record("shop", Capture(event_id=f"cap-{id}", payment_id=id, occurred_at=at, received_at=at), 0)
    if made.customer.id in ("c0", "c1", "c2") and rng.random() < 0.9:
        report = Chargeback(event_id=f"cb-{id}", payment_id=id, occurred_at=at, received_at=at)
        here.writer.record("shop", report, 0)
    if rng.random() < 0.2:
        login = Login(event_id=f"l-{made.payment_id}", occurred_at=made.occurred_at, received_at=made.received_at,
                      customer=made.customer, ok=bool(rng.random() < 0.5))  # fmt: skip
        here.writer.record("shop", login, 0)


def main() -> None:
    folder = HERE / "data"
    shutil.rmtree(HERE, ignore_errors=True)
    with build(settings_from({}, data=folder)) as here:
        live(here, np.random.default_rng(ENGINE))
        result = replay(here.log, here.load_model)
        result.check()
    shutil.move(folder / "log", HERE / "log")
    shutil.move(folder / "blobs", HERE / "blobs")
    shutil.rmtree(folder)
    (HERE / "log" / "lock").unlink()
    kept = {"inputs": result.inputs, "decisions": result.decisions, "digests": result.digests}
    (HERE / "expected.json").write_bytes(msgspec.json.format(msgspec.json.encode(kept)))
    print(kept)


if __name__ == "__main__":
    main()

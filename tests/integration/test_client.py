"""The Python clients against the real service: test payments, look-back, parallel calls, an outage."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from avalist_client import AsyncAvalist, Avalist, BadInput, Decision, Fallback, NotFound, UnknownCurrency
from tests.integration.conftest import Running

pytestmark = pytest.mark.sockets

PATIENT_MS = 120_000
COUNT = "card__count__events__10m"
_numbers = itertools.count()


def payment(word: str = "", card: str = "") -> Any:
    """Return a new payment; in a sandbox, `word` names its answer."""
    id = f"test_{word}-{next(_numbers)}" if word else f"order-{next(_numbers)}"
    method = {"kind": "card", "fingerprint": card or uuid4().hex}
    return {"payment_id": id, "amount_minor": 2500, "currency": "EUR", "customer": {"id": "ann"}, "method": method}


@pytest.fixture
def key(running: Running) -> str:
    return running.sandbox_key()


@pytest.fixture
def sandbox(running: Running, key: str) -> Iterator[Avalist]:
    with Avalist(key, running.url, timeout_ms=PATIENT_MS, service_deadline_ms=10_000) as client:
        yield client


@pytest.fixture
def hasty(running: Running, key: str) -> Iterator[Avalist]:
    """Return a client with the default deadline."""
    fallback = Fallback(approve_up_to_minor={"EUR": 3000})
    with Avalist(key, running.url, fallback=fallback) as client:
        yield client


@pytest.mark.parametrize("word", ["approve", "challenge", "review", "decline"])
def test_each_answer_can_be_tried(sandbox: Avalist, word: str) -> None:
    decision = sandbox.decide(**payment(word))
    assert (decision.action, decision.warnings[-1], decision.local) == (word, "test_payment", False)


def test_the_services_own_fallback_is_not_the_local_one(sandbox: Avalist) -> None:
    decision = sandbox.decide(**payment("degraded"))
    assert (decision.degraded, decision.local, decision.seq > 0) == (True, False, True)


@pytest.mark.parametrize("word", ["limited", "unavailable", "slow"])
def test_trouble_is_answered_locally_and_the_payment_counts_once(hasty: Avalist, sandbox: Avalist, word: str) -> None:
    first, second = payment(word, card := uuid4().hex), payment(card=card)
    decision = hasty.decide(**first)
    assert (decision.action, decision.local, decision.durable) == ("approve", True, False)
    assert hasty.flush(PATIENT_MS) == 0
    assert not sandbox.decide(**second).local
    assert sandbox.get(second["payment_id"]).features[COUNT] == 1


def test_what_was_answered_locally_may_be_captured_and_scored_later(hasty: Avalist, sandbox: Avalist) -> None:
    asked = payment()
    assert hasty.decide(**{**asked, "customer": {"id": "ann", "email": "ann@unavailable.avalist.test"}}).local
    assert hasty.flush(PATIENT_MS) == 0
    assert hasty.record({"type": "capture", "payment_id": asked["payment_id"]}).recorded == 1
    with pytest.raises(NotFound):
        hasty.get(asked["payment_id"])
    rescored = sandbox.decide(**{**asked, "checkpoint": "rescore"})
    assert (rescored.local, rescored.checkpoint) == (False, "rescore")


def test_asked_again_it_gets_the_first_answer(sandbox: Avalist) -> None:
    asked = {**payment(), "occurred_at": "2026-11-25T12:00:00Z"}
    first, second = sandbox.decide(**asked), sandbox.decide(**asked)
    assert first == second


def test_a_decision_is_found_again(sandbox: Avalist) -> None:
    asked = payment(card=uuid4().hex)
    decision = sandbox.decide(**asked)
    assert sandbox.get(asked["payment_id"]).decision.seq == decision.seq
    found = sandbox.lookup(by="fingerprint", value=asked["method"]["fingerprint"]).decisions
    assert [each.decision.payment_id for each in found] == [asked["payment_id"]]


def test_a_batch_says_what_was_not_recorded(sandbox: Avalist) -> None:
    asked = payment()
    sandbox.decide(**asked)
    recorded = sandbox.record(
        {"type": "capture", "payment_id": asked["payment_id"]}, {"type": "refund", "payment_id": "nobody"}
    )
    assert (recorded.recorded, recorded.errors[0].at, recorded.errors[0].problem.status) == (1, 1, 404)


def test_problems_name_what_to_mend(sandbox: Avalist) -> None:
    with pytest.raises(UnknownCurrency) as raised:
        sandbox.decide(**{**payment(), "currency": "XYZ"})
    assert (raised.value.field, raised.value.got) == ("$.currency", "XYZ")
    with pytest.raises(BadInput, match="colour"):
        sandbox.decide(**{**payment(), "colour": "red"})


async def in_parallel(running: Running, payments: list[Any]) -> list[Decision]:
    """Decide payments all at once."""
    async with AsyncAvalist(running.live_key, running.url, timeout_ms=PATIENT_MS, service_deadline_ms=10_000) as client:
        return await asyncio.gather(*[client.decide(**payment) for payment in payments])


def test_two_hundred_parallel_payments_are_each_decided_once(running: Running) -> None:
    card, last = uuid4().hex, payment()
    decisions = asyncio.run(in_parallel(running, [payment(card=card) for _ in range(200)]))
    assert not [decision.why for decision in decisions if decision.degraded]
    assert len({decision.seq for decision in decisions}) == 200
    with Avalist(running.live_key, running.url, timeout_ms=PATIENT_MS, service_deadline_ms=10_000) as client:
        client.decide(**{**last, "method": {"kind": "card", "fingerprint": card}})
        assert client.get(last["payment_id"]).features[COUNT] == 200


@pytest.mark.slow
def test_an_outage_loses_no_payment(running: Running, key: str, tmp_path: Path) -> None:
    first, second, third = (payment(card="card-7") for _ in range(3))
    patient: Any = {"timeout_ms": PATIENT_MS, "service_deadline_ms": 10_000, "outbox": tmp_path / "outbox.db"}
    with Avalist(key, running.url, **patient) as client:
        assert not client.decide(**first).local
        running.service.kill()
        assert client.decide(**second).local
    with Avalist(key, running.url, **patient) as client:
        assert client.waiting == 1  # another process, so to speak, sends it
        running.start()
        assert client.flush(PATIENT_MS) == 0
        assert not client.decide(**third).local
        assert client.get(third["payment_id"]).features[COUNT] == 2

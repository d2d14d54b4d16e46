"""A sandbox is a twin of its merchant: the same plan, policy and model, none of its history; test payments; a clock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from avalist.app.rehearse import ANSWERS, SLOW_S
from avalist.app.replay import replay
from avalist.models.artefact import Artefact
from tests.gateway import Gateway
from tests.shop import DAY_MS, T0_MS, iso, opened


@pytest.fixture
def sandbox(gateway: Gateway, artefact: Artefact) -> Gateway:
    """Return a gateway whose key is a sandbox key; the merchant has a model, and history on one card."""
    gateway.shop.activate(artefact)
    for n in range(3):
        gateway.decide(f"live-{n}")
    gateway.key = gateway.shop.key(kind="sandbox")
    return gateway


def test_a_twin_decides_as_its_merchant_does_and_knows_none_of_its_history(sandbox: Gateway) -> None:
    live, twin = (sandbox.shop.writer.merchant(id) for id in ("shop", "shop~1"))
    assert (twin.plan.hash, twin.versions, twin.policy) == (live.plan.hash, live.versions, live.policy)
    assert sandbox.decide(1).json()["model_version"] == live.versions[0]
    assert sandbox.shop.features(1, merchant="shop~1")["card__count__events__10m"] != 3


def test_a_sandbox_key_leaves_its_merchant_alone(sandbox: Gateway) -> None:
    live = sandbox.shop.writer.merchant("shop")
    before = (live.seq, live.features.digest())
    sandbox.decide(1)
    capture = {"type": "capture", "event_id": "c1", "occurred_at": iso(T0_MS), "payment_id": "live-1"}
    assert sandbox.post("/v1/outcomes", capture).status_code == 404
    assert sandbox.get("/v1/decisions/live-1").status_code == 404
    assert (live.seq, live.features.digest()) == before


def test_each_sandbox_key_has_a_twin_to_itself_and_keeps_it_when_rotated(sandbox: Gateway) -> None:
    sandbox.decide(1)
    other = sandbox.shop.key(kind="sandbox")
    assert sandbox.get("/v1/decisions/p1", key=other).status_code == 404
    (first,) = (k for k in _keys(sandbox) if k["merchant"] == "shop~1")
    rotated = sandbox.post(
        "/v1/admin", {"do": "rotate_key", "merchant": "shop", "key": first["id"]}, key=sandbox.admin
    ).json()["key"]
    assert sandbox.get("/v1/decisions/p1", key=rotated).status_code == 200


def _keys(gateway: Gateway) -> list[Any]:
    listed: list[Any] = gateway.post("/v1/admin", {"do": "list_keys", "merchant": "shop"}, key=gateway.admin).json()[
        "keys"
    ]
    return listed


def test_no_merchant_can_take_a_twins_name(gateway: Gateway) -> None:
    body = {"do": "create_merchant", "merchant": "shop~1", "schema": {}}
    assert gateway.post("/v1/admin", body, key=gateway.admin).status_code == 422


@pytest.mark.parametrize("word", ANSWERS)
@pytest.mark.parametrize("by", ["id", "e-mail"])
def test_a_test_payment_gets_the_answer_that_it_names(sandbox: Gateway, word: str, by: str) -> None:
    naming: dict[str, Any] = {"payment_id": f"test_{word}-1"}
    if by == "e-mail":
        naming = {"customer": {"id": "ann", "email": f"ann@{word}.avalist.test"}}
    decision = sandbox.decide(1, **naming).json()
    assert (decision["action"], decision["p_fraud"]) == (word, ANSWERS[word].p_fraud)
    assert decision["warnings"][-1] == "test_payment"


@pytest.mark.parametrize("word", [*ANSWERS, "degraded", "slow", "limited", "unavailable"])
def test_on_a_live_key_a_test_payment_is_like_any_other(gateway: Gateway, artefact: Artefact, word: str) -> None:
    gateway.shop.activate(artefact)
    email = f"ann@{word}.avalist.test"
    plain = gateway.decide(1, customer={"id": "bob", "email": "b@example.com"}, method=None).json()
    named = gateway.decide(
        2, payment_id=f"test_{word}", customer={"id": "eve", "email": email}, method=None
    ).json()  # fmt: skip
    same = ("action", "p_fraud", "risk_score", "warnings", "degraded")
    assert {name: named[name] for name in same} == {name: plain[name] for name in same}


def test_other_words_ask_for_nothing(sandbox: Gateway) -> None:
    assert "test_payment" not in sandbox.decide(1, payment_id="test_me").json()["warnings"]


def test_a_fallback_can_be_asked_for_and_stays_the_answer(sandbox: Gateway) -> None:
    answers = [sandbox.decide(1, payment_id="test_degraded").json() for _ in range(2)]
    assert (answers[0]["degraded"], answers[0]["durable"]) == (True, False)
    assert answers[1] == answers[0]


@pytest.mark.parametrize(("word", "status"), [("limited", 429), ("unavailable", 503)])
def test_a_problem_can_be_asked_for(sandbox: Gateway, word: str, status: int) -> None:
    answer = sandbox.decide(1, payment_id=f"test_{word}")
    assert (answer.status_code, answer.headers["retry-after"]) == (status, "1")
    assert not sandbox.shop.writer.knows("shop~1", "e1")


def test_a_slow_answer_is_slow_once(sandbox: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("asyncio.sleep", sleep)
    first, second = (sandbox.decide(1, payment_id="test_slow").json() for _ in range(2))
    assert (slept, first) == ([SLOW_S], second)


def test_the_test_clock_plays_days_in_one_go(sandbox: Gateway) -> None:
    days = [0, 1, 40]
    for n in days:
        assert sandbox.decide(n, received_at=iso(T0_MS + n * DAY_MS)).status_code == 200
    seen = [sandbox.shop.features(n, merchant="shop~1")["card__since_last"] for n in days]
    assert seen[1:] == [86_400, 39 * 86_400]
    assert sandbox.decide(41, received_at=iso(T0_MS)).status_code == 422  # it never goes back: take another key


@pytest.mark.parametrize(("mode", "action", "advised"), [
    ("off", "not_reviewed", None), ("observe", "not_reviewed", "decline"), ("live", "decline", None),
])  # fmt: skip
def test_the_mode_counts_in_a_sandbox_too(sandbox: Gateway, mode: str, action: str, advised: str | None) -> None:
    set_mode = {"do": "set_mode", "merchant": "shop~1", "mode": mode}
    assert sandbox.post("/v1/admin", set_mode, key=sandbox.admin).json()["mode"] == mode
    decision = sandbox.decide(1, payment_id="test_decline").json()
    assert (decision["mode"], decision["action"], decision["advised_action"]) == (mode, action, advised)


def test_a_twin_survives_a_restart_and_replays(tmp_path: Path, artefact: Artefact) -> None:
    with opened(tmp_path) as shop:
        shop.create()
        shop.activate(artefact)
        key = shop.key(kind="sandbox")
        first = shop.decide(1, "shop~1", payment_id="test_review").decision
        shop.installation.log.sync()
    with opened(tmp_path) as shop:
        replay(shop.installation.log, shop.installation.load_model).check()
        gateway = Gateway(shop)
        assert gateway.decide(1, payment_id="test_review", key=key).json()["action"] == first.action == "review"
        gateway.close()

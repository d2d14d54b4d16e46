"""Decisions are found by what they share, right after the POST and after the follower folded them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from avalist.app.lookup import Archive
from avalist.domain.schema import DIGITAL_GOODS
from tests.gateway import Gateway
from tests.shop import CARD_NUMBER, Shop, payment, payment_json

Fold = Callable[[], None]


@pytest.fixture
def goods(gateway: Gateway) -> Gateway:
    """Return a gateway whose key is of a merchant with the schema for digital goods."""
    gateway.shop.create("goods", DIGITAL_GOODS)
    gateway.key = gateway.shop.key("goods")
    return gateway


@pytest.fixture(params=["from the log", "from the documents"])
def fold(request: pytest.FixtureRequest, shop: Shop) -> Fold:
    """Return what lets the follower catch up, or does not."""
    follower = shop.follower()

    def advance() -> None:
        while request.param == "from the documents" and follower.behind_bytes:
            follower.advance()

    return advance


def look_up(gateway: Gateway, by: str, value: str, **more: object) -> httpx.Response:
    return gateway.post("/v1/lookup", {"by": by, "value": value, **more})


def ids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [found["decision"]["event_id"] for found in answer.json()["decisions"]]


@pytest.mark.parametrize(
    ("by", "value"),
    [
        ("email", "Ann+shop@Example.com"), ("fingerprint", "card-1"), ("ip", "192.0.2.7"), ("customer_id", "ann"),
        ("device_id", "d1"), ("payment_id", "p1"),
    ],
)  # fmt: skip
def test_a_decision_is_found_by_what_it_carries(goods: Gateway, fold: Fold, by: str, value: str) -> None:
    decided = goods.decide(1, device={"id": "d1"}).json()
    goods.decide(
        2, device={"id": "d2"}, customer={"id": "bob", "email": "b@x.io"}, ip="8.8.8.8",
        method={"kind": "card", "fingerprint": "card-2"},
    )  # fmt: skip
    fold()
    (found,) = look_up(goods, by, value).json()["decisions"]
    assert found["decision"] == decided
    assert found["facts"]["amount_minor"] == 2500


def test_newest_first_page_by_page(goods: Gateway, fold: Fold) -> None:
    for n in range(5):
        goods.decide(n)
        if n == 2:
            fold()  # the rest is read from the log
    first = look_up(goods, "email", "ann@example.com", limit=2)
    second = look_up(goods, "email", "ann@example.com", limit=3, before=first.json()["next"])
    assert (ids(first), ids(second), second.json()["next"]) == (["e4", "e3"], ["e2", "e1", "e0"], None)


def test_nothing_is_found_by_an_unknown_value(goods: Gateway, fold: Fold) -> None:
    goods.decide(1)
    fold()
    for by in ("email", "fingerprint", "payment_id", "ip"):
        assert look_up(goods, by, "ann").json() == {"decisions": [], "next": None}


def test_another_merchants_decisions_are_not_found(goods: Gateway, fold: Fold) -> None:
    goods.decide(1)
    goods.shop.create("rival", DIGITAL_GOODS)
    goods.key = goods.shop.key("rival")
    fold()
    assert ids(look_up(goods, "email", "ann@example.com")) == []
    goods.decide(1)
    assert ids(look_up(goods, "email", "ann@example.com")) == ["e1"]


def test_each_checkpoint_is_found_and_only_the_last_rescore(goods: Gateway, fold: Fold) -> None:
    goods.decide(1)
    for n, checkpoint in enumerate(["post_auth", "rescore", "rescore"]):
        goods.decide(f"1{n}", payment_id="p1", checkpoint=checkpoint)
        fold()
    assert ids(look_up(goods, "email", "ann@example.com")) == ["e12", "e10", "e1"]
    assert ids(look_up(goods, "payment_id", "p1")) == ["e12", "e10", "e1"]


def test_many_rescores_of_one_payment_hide_no_other(goods: Gateway, fold: Fold) -> None:
    goods.decide(0)
    goods.decide(1)
    for n in range(120):
        goods.decide(f"r{n}", payment_id="p1", checkpoint="rescore")
    fold()
    first = look_up(goods, "email", "ann@example.com", limit=2)
    rest = look_up(goods, "email", "ann@example.com", limit=2, before=first.json()["next"])
    assert (ids(first), ids(rest), rest.json()["next"]) == (["er119", "e1"], ["e0"], None)


@pytest.mark.parametrize("why", ["deadline", "overloaded"])
@pytest.mark.parametrize("early", [True, False])
def test_a_fallback_is_found_as_the_answer_that_was_given(goods: Gateway, fold: Fold, why: Any, early: bool) -> None:
    writer, clock = goods.shop.writer, goods.shop.clock
    if why == "overloaded":
        goods.shop.writer.answer_unscored("goods", payment(1), clock.ms)
    else:
        answer = goods.shop.decide(1, "goods")
        goods.decide(2, customer={"id": "bob"})
        if early:
            fold()
        writer.fallback("goods", answer, clock.ms, "deadline")
    goods.decide(3, customer={"id": "bob"})
    fold()
    (found,) = look_up(goods, "email", "ann@example.com").json()["decisions"]
    assert found["decision"]["degraded"] is True
    assert found["facts"]["email_domain"] == "example.com"


def test_what_the_schema_does_not_declare_is_refused_with_what_it_does(gateway: Gateway) -> None:
    answer = look_up(gateway, "email", "ann@example.com")
    assert answer.status_code == 422
    assert answer.json()["expected"] == "payment_id or customer_id or fingerprint"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"by": "email"}, "$.value"), ({"by": "name", "value": "x"}, "$.by"), ({"by": "email", "value": ""}, "$.value"),
        ({"by": "fingerprint", "value": CARD_NUMBER}, "$.value"),
        ({"by": "email", "value": "x", "limit": 0}, "$.limit"),
    ],
)  # fmt: skip
def test_a_question_that_makes_no_sense(goods: Gateway, body: dict[str, object], field: str) -> None:
    answer = goods.post("/v1/lookup", body)
    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert CARD_NUMBER not in answer.text


def test_look_ups_while_payments_are_decided(goods: Gateway) -> None:
    async def both() -> list[httpx.Response]:
        work = [goods.send("POST", "/v1/decisions", payment_json(n)) for n in range(30)]
        work += [goods.send("POST", "/v1/lookup", {"by": "email", "value": "ann@example.com"}) for _ in range(30)]
        return await asyncio.gather(*work)

    assert {answer.status_code for answer in goods.run(both())} == {200}
    assert len(ids(look_up(goods, "email", "ann@example.com"))) == 30


@pytest.mark.parametrize("by", ["phone", 5])
def test_what_a_look_up_may_ask_by_is_told(goods: Gateway, by: object) -> None:
    problem = goods.post("/v1/lookup", {"by": by, "value": "x"}).json()
    assert problem["field"] == "$.by"
    assert problem["expected"] == "customer_id or device_id or email or fingerprint or ip or payment_id"


def test_a_look_up_reads_little_beyond_the_documents(goods: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    goods.decide(1)
    monkeypatch.setattr("avalist.app.lookup._MOST_BEHIND", 2)
    answer = look_up(goods, "email", "ann@example.com")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    follower = goods.shop.follower()
    while follower.behind_bytes:
        follower.advance()
    assert ids(look_up(goods, "email", "ann@example.com")) == ["e1"]


def test_a_merchant_has_few_look_ups_at_once(goods: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    goods.decide(1)
    find, rest = Archive.find, threading.Event()

    def slow(*asked: Any) -> Any:
        assert rest.wait(240)
        return find(*asked)

    async def thirty_four() -> list[httpx.Response]:
        body = {"by": "email", "value": "ann@example.com"}
        asked = [asyncio.ensure_future(goods.send("POST", "/v1/lookup", body)) for _ in range(34)]
        while sum(one.done() for one in asked) < 2:
            await asyncio.sleep(0.01)
        rest.set()
        return list(await asyncio.gather(*asked))

    monkeypatch.setattr(Archive, "find", slow)
    assert sorted(answer.status_code for answer in goods.run(thirty_four())) == [*[200] * 32, 429, 429]
    assert look_up(goods, "email", "ann@example.com").status_code == 200

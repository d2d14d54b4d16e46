"""What the follower queues for webhooks, and how operators set them up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from avalist.app.waves import ALERTS, Alert, alert_id
from avalist.app.webhook_office import AddWebhook
from avalist.app.webhooks import Webhooks
from avalist.app.writer import Answer
from avalist.bootstrap import open_webhooks
from avalist.domain.core import DecisionCore
from avalist.domain.decisions import WarningCode
from avalist.domain.records import Record, RecordKind
from avalist.follow import Follower
from avalist.follow.webhooks import WebhookFold
from avalist.models.artefact import Artefact
from tests.gateway import Gateway
from tests.shop import Shop, event

URL = "https://shop.example/hooks"


class Told:
    """A shop with a webhook, and a follower behind it."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        here = shop.installation
        self.webhooks: Webhooks = open_webhooks(here.settings, here.documents)
        self.id = here.administration.webhooks.carry_out(AddWebhook("shop", URL), shop.clock.ms)["webhook"]
        self.follower = shop.follower()
        self.follow()

    def follow(self, follower: Follower | None = None) -> None:
        self.shop.installation.log.sync()
        follower = follower or self.follower
        while follower.behind_bytes:
            follower.advance()

    def bodies(self) -> list[dict[str, Any]]:
        """Return what is queued, in order."""
        self.follow()
        return [msgspec.json.decode(one.message.body) for one in self.webhooks.waiting("shop", self.id)]


@pytest.fixture
def told(shop: Shop) -> Told:
    return Told(shop)


def test_an_outcome_is_told(told: Told) -> None:
    told.shop.decide(1)
    told.shop.record(event("early_fraud_warning", "w1", payment_id="p1", scheme="visa", reason_code="6"))
    (body,) = told.bodies()
    assert (body["type"], body["merchant"], body["timestamp"]) == (
        "outcome.recorded",
        "shop",
        "2026-09-21T14:13:20+00:00",
    )
    assert body["data"] == {"payment_id": "p1", "event_id": "w1", "outcome": "early_fraud_warning", "fraud": True}


def test_models_are_told_and_one_that_was_active_before_is_a_roll_back(told: Told, artefact: Artefact) -> None:
    other = replace(artefact, params=b'{"other": 1}')
    for one in (artefact, other, artefact):
        told.shop.activate(one)
    assert [(body["type"], body["data"]) for body in told.bodies()] == [
        ("model.activated", {"version": artefact.version, "before": None}),
        ("model.activated", {"version": other.version, "before": artefact.version}),
        ("model.rolled_back", {"version": artefact.version, "before": other.version}),
    ]


def fall_back(shop: Shop, n: int) -> Answer:
    answer = shop.decide(n)
    shop.writer.fallback("shop", answer, shop.clock.ms, "deadline")
    return answer


def test_a_decision_that_came_too_late_is_told_as_advice(told: Told) -> None:
    answer = fall_back(told.shop, 1)
    told.shop.decide(2)
    (body,) = told.bodies()
    assert (body["type"], body["data"]["payment_id"]) == ("decision.revised", "p1")
    assert body["data"]["advised"] == (answer.decision.advised_action or answer.decision.action)


def test_a_late_decision_is_told_though_the_follower_had_read_it(told: Told) -> None:
    answer = told.shop.decide(1)
    assert told.bodies() == []
    told.shop.writer.fallback("shop", answer, told.shop.clock.ms, "deadline")
    assert [body["type"] for body in told.bodies()] == ["decision.revised"]


def open_wave(told: Told, wave: str, at_ms: int, payments: int = 8) -> None:
    alert = Alert(
        type="wave.opened", wave=wave, at_ms=at_ms, words="8 payments share the device", payments=payments,
        amount_minor=100, currency="EUR", first_ms=at_ms, last_ms=at_ms, patterns=(), shared=(), listed=(),
    )  # fmt: skip
    told.shop.installation.documents.put_many([("shop", ALERTS, alert_id(alert), msgspec.json.encode(alert))])


def test_each_wave_is_told_once_with_its_words(told: Told) -> None:
    shop, documents = told.shop, told.shop.installation.documents
    decision = msgspec.structs.replace(shop.decide(1).decision, warnings=(WarningCode.WAVE,))
    for n, opened in enumerate(["p1", None, "p3", None], 1):  # the second begins while the first goes on
        at_ms = shop.clock.ms + n * 60_000
        if opened:
            open_wave(told, opened, at_ms)
        open_wave(told, "p1", shop.clock.ms + 60_000, payments=8 + n)  # it grows, and is no other wave for it
        fold = WebhookFold(told.webhooks, documents, 0)  # what is known of the past is stored, not held
        named = msgspec.structs.replace(decision, payment_id=f"p{n}", event_id=f"e{n}")
        core = msgspec.msgpack.encode(DecisionCore(named, b""))
        fold.take(Record("shop", n, RecordKind.DECISION, at_ms, core), n)
        fold.keep(n)
    bodies = [msgspec.json.decode(one.message.body)["data"] for one in told.webhooks.waiting("shop", told.id)]
    assert [(one["wave"], one["event_id"], one["payments"]) for one in bodies] == [("p1", "e1", 9), ("p3", "e3", 8)]
    assert bodies[0]["words"] == "8 payments share the device"


def test_the_log_read_again_queues_the_same_messages(told: Told) -> None:
    fall_back(told.shop, 1)
    before = told.bodies()
    told.shop.installation.documents.put_many([], mark=("webhooks/1", 0))
    told.follow(told.shop.follower())
    assert told.bodies() == before


def test_a_merchant_without_webhooks_has_no_messages(told: Told) -> None:
    told.shop.create("rival")
    told.shop.decide(1, "rival")
    told.shop.record(event("capture", "c1", payment_id="p1"), "rival")
    assert told.bodies() == []
    assert list(told.shop.installation.documents.find("rival", "webhook_pending")) == []


def test_operators_set_webhooks_up_over_http(gateway: Gateway) -> None:
    def admin(do: str, **fields: Any) -> Any:
        answer = gateway.post("/v1/admin/webhooks", {"do": do, "merchant": "shop", **fields}, key=gateway.admin)
        return answer.status_code, answer.json()

    status, issued = admin("add_webhook", url=URL, topics=["wave.alert"])
    assert (status, issued["secret"].startswith("whsec_")) == (200, True)
    _, rotated = admin("rotate_webhook", webhook=issued["webhook"], overlap_s=60)
    assert rotated["secret"] != issued["secret"]
    _, shown = admin("list_webhooks")
    assert [(one["url"], one["signing"]) for one in shown["webhooks"]] == [(URL, 2)]
    assert "whsec" not in str(shown)
    assert admin("add_webhook", url="http://127.0.0.1/")[0] == 422
    assert admin("rotate_webhook", webhook="wh_000000000000")[0] == 404
    assert admin("list_dead_letters")[1]["letters"] == []
    assert admin("remove_webhook", webhook=issued["webhook"])[1]["webhooks"] == []

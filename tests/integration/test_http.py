"""The HTTP edge on the real ASGI app: what is answered, and what a caller is told to mend."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import msgspec
import pytest

from avalist.domain.errors import LogFailed
from avalist.models.artefact import Artefact
from tests.gateway import Gateway
from tests.shop import CARD_NUMBER, SCHEMA, T0_MS, Shop, iso, payment_json

LOGIN = {"type": "login", "event_id": "l1", "occurred_at": iso(T0_MS), "customer": {"id": "ann"}}


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """Return a problem document, having checked that it is one."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    whole: dict[str, Any] = answer.json()
    assert whole["status"] == status
    assert {"type", "title", "detail"} <= set(whole)
    return whole


# --- decisions -----------------------------------------------------------------------------------------------------


def test_a_decision(gateway: Gateway, artefact: Artefact) -> None:
    gateway.shop.activate(artefact)
    answer = gateway.decide(1)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    decision = answer.json()
    assert (decision["payment_id"], decision["action"], decision["degraded"]) == ("p1", "approve", False)
    assert (decision["mode"], decision["model_version"]) == ("live", artefact.version)
    assert 0 <= decision["risk_score"] <= 99
    assert all(set(reason) == {"feature", "value", "contribution"} for reason in decision["reasons"])


def test_a_decision_is_durable_before_its_answer(gateway: Gateway) -> None:
    gateway.decide(1)
    assert gateway.shop.installation.log.durable_end == gateway.shop.installation.log.end


def test_a_decision_can_be_read_back_with_facts_and_features(gateway: Gateway) -> None:
    decided = gateway.decide(1).json()
    shown = gateway.get("/v1/decisions/p1").json()
    assert shown["decision"] == decided
    assert (shown["facts"]["email_domain"], shown["features"]["amount"]) == ("example.com", 2500.0)
    assert shown["features"]["card__since_last"] is None


@pytest.mark.parametrize("id", ["a/b", "a b", "ü", "%2F", "a?b", "."])
def test_any_payment_id_can_be_read_back(gateway: Gateway, id: str) -> None:
    gateway.decide(1, payment_id=id)
    path = "".join(f"%{byte:02X}" for byte in id.encode())
    assert gateway.get(f"/v1/decisions/{path}").json()["decision"]["payment_id"] == id


def test_each_checkpoint_is_read_by_its_name(gateway: Gateway) -> None:
    gateway.decide(1)
    gateway.decide("1b", payment_id="p1", checkpoint="post_auth")
    shown = gateway.get("/v1/decisions/p1?checkpoint=post_auth").json()
    assert shown["decision"]["event_id"] == "e1b"
    problem(gateway.get("/v1/decisions/p1?checkpoint=rescore"), 404)


@pytest.mark.parametrize("checkpoint", ["later", "", "PRE_AUTH", "pre_auth\x00"])
def test_an_unknown_checkpoint_is_named(gateway: Gateway, checkpoint: str) -> None:
    answer = gateway.run(
        gateway.client.get("/v1/decisions/p1", params={"checkpoint": checkpoint}, headers=bearer(gateway))
    )
    assert problem(answer, 422)["field"] == "checkpoint"


def bearer(gateway: Gateway) -> dict[str, str]:
    return {"Authorization": f"Bearer {gateway.key}"}


def test_a_retry_gets_equal_bytes(gateway: Gateway) -> None:
    first = gateway.decide(1)
    gateway.decide(2)
    assert gateway.decide(1, sent_at=iso(T0_MS)).content == first.content


def test_other_content_is_a_409(gateway: Gateway) -> None:
    gateway.decide(1)
    assert "'e1'" in problem(gateway.decide(1, amount_minor=1), 409)["detail"]


def test_a_hundred_payments_at_once_read_each_count_once(gateway: Gateway) -> None:
    async def all_at_once() -> list[httpx.Response]:
        bodies = [payment_json(n) for n in range(100)]
        return await asyncio.gather(*(gateway.send("POST", "/v1/decisions", b) for b in bodies))

    assert {a.status_code for a in gateway.run(all_at_once())} == {200}
    counts = [gateway.shop.features(n)["card__count__events__10m"] for n in range(100)]
    assert sorted(c for c in counts if c == c) == list(range(1, 100))  # the first saw a card never seen: NaN


def test_copies_of_one_request_in_flight_get_one_answer(gateway: Gateway) -> None:
    async def all_at_once() -> list[httpx.Response]:
        return await asyncio.gather(*(gateway.send("POST", "/v1/decisions", payment_json(1)) for _ in range(20)))

    assert len({a.content for a in gateway.run(all_at_once())}) == 1
    assert gateway.shop.writer.merchant("shop").seq == 2


# --- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "status", "field"),
    [
        ({"amount_minor": "5"}, 422, "$.amount_minor"),
        ({"currency": "USD"}, 422, "$.currency"),
        ({"currency": "XXX"}, 422, "$.currency"),
        ({"custom": {"lat": "north"}}, 422, "number lat"),
        ({"custom": {"x": 10**30}}, 422, "$.custom.x"),
        ({"occurred_at": "9999-12-31T23:59:59-14:00"}, 422, "$.occurred_at"),
        ({"custom": {"note": CARD_NUMBER}}, 422, "$.custom.note"),
        ({"type": "login"}, 422, "$.type"),
    ],
)
def test_a_payment_that_does_not_fit(gateway: Gateway, changes: dict[str, Any], status: int, field: str) -> None:
    answer = gateway.decide(1, **changes)
    assert problem(answer, status)["field"] == field
    assert CARD_NUMBER not in answer.text
    assert gateway.shop.writer.merchant("shop").seq == 1


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 50_000, b"null", b'{"event_id":"\\ud800"}'])
@pytest.mark.parametrize("path", ["/v1/decisions", "/v1/events", "/v1/outcomes"])
def test_a_body_that_is_no_event(gateway: Gateway, path: str, body: bytes) -> None:
    answer = gateway.post(path, body)
    whole_json = body == b"null" or (body[:1] == b"[" and path == "/v1/decisions")
    assert problem(answer, 422 if whole_json else 400)["field"]


@pytest.mark.parametrize("key", ["", "nonsense", "av_live_shop_x"])
@pytest.mark.parametrize("path", ["/v1/decisions", "/v1/events", "/v1/outcomes", "/v1/admin", "/v1/admin/tables"])
def test_a_key_nobody_issued(gateway: Gateway, path: str, key: str) -> None:
    answer = gateway.post(path, payment_json(), key=key)
    problem(answer, 401)
    assert answer.headers["www-authenticate"] == "Bearer"


def test_no_authorisation_at_all(gateway: Gateway) -> None:
    for method, path in (("POST", "/v1/decisions"), ("GET", "/v1/decisions/p1"), ("POST", "/v1/events")):
        problem(gateway.run(gateway.client.request(method, path)), 401)


def test_a_live_key_may_not_choose_the_time(gateway: Gateway) -> None:
    problem(gateway.decide(1, received_at=iso(T0_MS)), 403)
    problem(gateway.post("/v1/events", {**LOGIN, "received_at": iso(T0_MS)}), 403)


@pytest.mark.parametrize("kind", ["import", "sandbox", "simulation"])
def test_other_keys_may(gateway: Gateway, kind: Any) -> None:
    key = gateway.shop.key(kind=kind)
    late, early = ({**LOGIN, "event_id": f"l{n}", "received_at": iso(T0_MS + n)} for n in (5, 0))
    assert gateway.post("/v1/events", late, key=key).status_code == 200
    refused = problem(gateway.post("/v1/events", early, key=key), 422)
    assert (refused["field"], refused["title"]) == ("$.received_at", "Clock went back")


def test_a_body_beyond_the_limit(shop: Shop) -> None:
    gateway = Gateway(shop, body_limit_bytes=600)
    assert gateway.decide(1).status_code == 200
    problem(gateway.decide(2, custom={"x": "y" * 500}), 413)
    problem(gateway.post("/v1/events", b" " * 64 * 601), 413)
    gateway.close()


@pytest.mark.parametrize("deadline", ["0", "-1", "10001", "soon", "1e3"])
def test_a_deadline_that_is_none_is_refused_before_anything_is_logged(gateway: Gateway, deadline: str) -> None:
    answer = gateway.post("/v1/decisions", payment_json(), avalist_deadline_ms=deadline)
    assert problem(answer, 422)["field"] == "header Avalist-Deadline-Ms"
    assert gateway.shop.writer.merchant("shop").seq == 1


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v1/decisions", 404),
        ("PUT", "/v1/decisions", 404),
        ("GET", "/v1/events", 405),
        ("DELETE", "/v1/decisions/p1", 405),
    ],
)
def test_what_is_no_endpoint_is_a_problem_too(gateway: Gateway, method: str, path: str, status: int) -> None:
    answer = gateway.run(gateway.send(method, path))
    problem(answer, status)


# --- I4 ------------------------------------------------------------------------------------------------------------


def test_another_merchants_key_reads_and_changes_nothing(gateway: Gateway) -> None:
    gateway.shop.create("other")
    theirs = gateway.shop.key("other")
    gateway.decide(1)
    problem(gateway.get("/v1/decisions/p1", key=theirs), 404)
    capture = {"type": "capture", "event_id": "c1", "occurred_at": iso(T0_MS), "payment_id": "p1"}
    problem(gateway.post("/v1/outcomes", capture, key=theirs), 404)
    assert gateway.decide(1, key=theirs).json()["seq"] == 2
    assert gateway.decide(1).json()["seq"] == 2


def test_a_merchants_key_does_not_administer(gateway: Gateway) -> None:
    request = {"do": "show", "merchant": "shop"}
    problem(gateway.post("/v1/admin", request), 401)
    assert gateway.post("/v1/admin", request, key=gateway.admin).json()["merchant"] == "shop"


def test_tables_are_the_operators_matter(gateway: Gateway) -> None:
    problem(gateway.post("/v1/admin/tables", {"version": 1}), 401)
    answer = gateway.post("/v1/admin/tables", {"version": 1}, key=gateway.admin).json()
    assert answer == {"tables_version": 1, "changed": 0}
    problem(gateway.post("/v1/admin/tables", {"version": 77}, key=gateway.admin), 404)


# --- events and outcomes -------------------------------------------------------------------------------------------


def test_a_batch_of_events(gateway: Gateway) -> None:
    batch = [LOGIN, payment_json(1), {**LOGIN, "event_id": "l2", "type": "sign_up"}]
    assert gateway.post("/v1/events", batch).json() == {"recorded": 3, "errors": []}
    assert gateway.shop.installation.log.durable_end == gateway.shop.installation.log.end
    assert gateway.post("/v1/events", batch).json()["recorded"] == 3
    assert gateway.shop.writer.merchant("shop").seq == 4


def test_one_event_needs_no_list_and_a_batch_may_be_empty(gateway: Gateway) -> None:
    assert gateway.post("/v1/events", LOGIN).json()["recorded"] == 1
    assert gateway.post("/v1/events", []).json() == {"recorded": 0, "errors": []}


def test_a_batch_names_what_does_not_fit_and_keeps_the_rest(gateway: Gateway) -> None:
    batch = [LOGIN, {"type": "capture", "event_id": "c1", "occurred_at": iso(T0_MS), "payment_id": "p1"}]
    recorded = gateway.post("/v1/events", batch).json()
    (error,) = recorded["errors"]
    assert (recorded["recorded"], error["at"], error["event_id"]) == (1, 1, "c1")
    assert error["problem"]["status"] == 404


@pytest.mark.parametrize("bad", [{"type": "logins"}, {**LOGIN, "ok": 1}, {**LOGIN, "custom": {"c": CARD_NUMBER}}, 7])
def test_a_batch_that_does_not_decode_stores_nothing(gateway: Gateway, bad: Any) -> None:
    refused = problem(gateway.post("/v1/events", [LOGIN, bad]), 422)
    assert refused["field"].startswith("$[1]")
    assert gateway.shop.writer.merchant("shop").seq == 1


def test_a_batch_too_long(gateway: Gateway) -> None:
    assert problem(gateway.post("/v1/events", b"[" + b"1," * 10_000 + b"1]"), 422)["got"] == "10001"


def test_outcomes_take_outcomes_alone(gateway: Gateway) -> None:
    gateway.decide(1)
    outcomes: list[dict[str, object]] = [
        {"type": "authorisation_result", "approved": True},
        {"type": "capture"},
        {"type": "early_fraud_warning"},
        {"type": "chargeback", "stage": "opened"},
        {"type": "refund"},
        {"type": "void"},
        {"type": "label", "fraud": False},
    ]
    shared = {"occurred_at": iso(T0_MS), "payment_id": "p1"}
    batch = [{**o, **shared, "event_id": f"o{n}"} for n, o in enumerate(outcomes)]
    assert gateway.post("/v1/outcomes", batch).json()["recorded"] == len(outcomes)
    assert problem(gateway.post("/v1/outcomes", [LOGIN]), 422)["field"] == "$[0].type"


# --- operators -----------------------------------------------------------------------------------------------------


def admin(gateway: Gateway, **request: object) -> httpx.Response:
    return gateway.post("/v1/admin", request, key=gateway.admin)


def test_an_operator_creates_a_merchant_and_issues_a_key(gateway: Gateway) -> None:
    schema = msgspec.to_builtins(SCHEMA)
    assert admin(gateway, do="create_merchant", merchant="new", schema=schema, prior=False).json()["inputs"] == 1
    key = admin(gateway, do="issue_key", merchant="new").json()["key"]
    assert gateway.decide(1, key=key).status_code == 200
    problem(admin(gateway, do="create_merchant", merchant="new", schema=schema), 409)


def test_a_new_merchant_decides_by_the_prior_at_once(gateway: Gateway) -> None:
    shown = admin(gateway, do="create_merchant", merchant="young", schema=msgspec.to_builtins(SCHEMA)).json()
    decision = gateway.decide(1, key=admin(gateway, do="issue_key", merchant="young").json()["key"]).json()
    assert decision["model_version"] == shown["model"] != ""
    assert decision["action"] == "approve"
    assert 0.0 < decision["p_fraud"] < 0.1
    assert "no_active_model" not in decision["warnings"]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"do": "show", "merchant": "nobody"}, 404),
        ({"do": "dance", "merchant": "shop"}, 422),
        ({"do": "set_mode", "merchant": "shop", "mode": "fast"}, 422),
        ({"do": "set_policy", "merchant": "shop", "policy": {"margin": 7}}, 422),
        ({"do": "set_policy", "merchant": "shop", "policy": None}, 422),
        ({"do": "activate_model", "merchant": "shop", "version": "x", "plan_hash": "y"}, 404),
        ({"do": "create_merchant", "merchant": "../x", "schema": {}}, 422),
        (
            {
                "do": "create_merchant",
                "merchant": "x",
                "schema": {"base_currency": "EUR", "entities": [{"name": "a", "source": "b"}]},
            },
            422,
        ),
    ],
)
def test_a_request_of_an_operator_that_makes_no_sense(gateway: Gateway, request_: dict[str, Any], status: int) -> None:
    problem(admin(gateway, **request_), status)
    assert gateway.decide(1).status_code == 200


def test_a_model_that_is_not_there_is_not_activated(gateway: Gateway) -> None:
    plan_hash = gateway.shop.writer.merchant("shop").plan.hash
    problem(admin(gateway, do="activate_model", merchant="shop", version="nothing", plan_hash=plan_hash), 404)
    assert gateway.shop.writer.merchant("shop").seq == 1


# --- health --------------------------------------------------------------------------------------------------------


def test_health_needs_no_key_and_tells_nothing_of_merchants(gateway: Gateway) -> None:
    answers = [gateway.run(gateway.client.get(path)) for path in ("/healthz", "/readyz")]
    assert [a.json() for a in answers] == [{"status": "alive"}, {"status": "ready"}]


def test_metrics_need_the_scrapers_token(gateway: Gateway) -> None:
    secrets = gateway.shop.installation.secrets
    bare = gateway.run(gateway.client.get("/metrics"))
    assert bare.status_code == 401
    assert b"avalist_" not in bare.content
    problem(gateway.get("/metrics"), 401)  # a merchant's key is none
    assert gateway.get("/metrics", key=secrets.metrics_token()).status_code == 200
    problem(
        gateway.run(gateway.client.post("/v1/admin", headers={"Authorization": f"Bearer {secrets.metrics_token()}"})),
        401,
    )


def test_what_is_answered_is_counted(gateway: Gateway) -> None:
    gateway.decide(1)
    gateway.post("/v1/events", LOGIN)
    assert gateway.metric('avalist_decisions_total{action="not_reviewed"}') == 1
    assert gateway.metric('avalist_events_total{type="login"}') == 1


def test_a_stopped_service_is_alive_and_not_ready(gateway: Gateway) -> None:
    gateway.service.ready = False
    assert gateway.get("/healthz").status_code == 200
    problem(gateway.get("/readyz"), 503)
    problem(gateway.decide(1), 503)


def test_refusals_are_counted(gateway: Gateway) -> None:
    gateway.decide(1, amount_minor="x")
    gateway.post("/v1/events", b"{")
    assert gateway.metric('avalist_problems_total{problem="Bad input"}') == 2


# --- deadline, overload, a log that fails --------------------------------------------------------------------------


@pytest.fixture
def stuck(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Return what to set to let the log's syncs pass again."""
    free = threading.Event()
    log = gateway.shop.installation.log
    sync: Callable[[], int] = log.sync

    def wait_and_sync() -> int:
        free.wait()
        return sync()

    monkeypatch.setattr(log, "sync", wait_and_sync)
    yield free
    free.set()


def late(gateway: Gateway, n: int | str = 1, deadline_ms: int = 30, **changes: Any) -> dict[str, Any]:
    body = payment_json(n, **changes)
    answer: dict[str, Any] = gateway.post("/v1/decisions", body, avalist_deadline_ms=str(deadline_ms)).json()
    return answer


def test_past_the_deadline_the_fallback_answers(gateway: Gateway, stuck: threading.Event) -> None:
    answer = late(gateway)
    assert (answer["action"], answer["degraded"], answer["durable"]) == ("review", True, False)
    assert late(gateway, 2, amount_minor=100)["action"] == "approve"
    assert gateway.metric('avalist_fallbacks_total{why="deadline"}') == 2


def test_the_fallback_stays_the_answer(gateway: Gateway, stuck: threading.Event) -> None:
    first = late(gateway)
    assert late(gateway) == first
    stuck.set()
    assert gateway.decide(1).json() == first
    assert gateway.get("/v1/decisions/p1").json()["decision"] == first


def test_two_copies_in_flight_with_different_deadlines_get_one_answer(gateway: Gateway, stuck: threading.Event) -> None:
    async def both() -> list[httpx.Response]:
        patient = asyncio.ensure_future(gateway.send("POST", "/v1/decisions", payment_json(1)))
        await asyncio.sleep(0.05)
        hasty = await gateway.send("POST", "/v1/decisions", payment_json(1), avalist_deadline_ms="20")
        stuck.set()
        return [await patient, hasty]

    patient, hasty = (a.json() for a in gateway.run(both()))
    assert hasty["degraded"] is True
    assert patient == hasty


def test_events_wait_for_the_log(gateway: Gateway, stuck: threading.Event) -> None:
    threading.Timer(0.2, stuck.set).start()
    assert gateway.post("/v1/events", LOGIN).status_code == 200
    assert stuck.is_set()


def crowd(gateway: Gateway, count: int) -> None:
    """Leave `count` requests waiting for the log."""
    for n in range(count):
        late(gateway, f"crowd-{n}", 1)


def test_beyond_the_queue_decisions_fall_back_and_events_wait_outside(
    shop: Shop, gateway: Gateway, stuck: threading.Event
) -> None:
    gateway.service.settings = msgspec.structs.replace(gateway.service.settings, queue_limit=2)
    crowd(gateway, 2)
    answer = gateway.decide(1).json()
    assert (answer["degraded"], answer["durable"], answer["action"]) == (True, False, "review")
    problem(gateway.post("/v1/events", LOGIN), 429)
    assert gateway.metric('avalist_fallbacks_total{why="overloaded"}') == 1
    stuck.set()
    assert gateway.decide(1).json() == answer
    assert shop.features("crowd-1")["card__count__events__10m"] == 1


def test_a_retry_under_overload_is_not_answered_before_it_is_durable(gateway: Gateway, stuck: threading.Event) -> None:
    gateway.service.settings = msgspec.structs.replace(gateway.service.settings, queue_limit=1)
    gateway.shop.decide(1)  # in the log, not durable, not answered
    crowd(gateway, 1)
    answer = late(gateway, 1)
    assert (answer["degraded"], answer["durable"]) == (True, False)


def test_when_the_log_fails_nothing_is_acknowledged_and_the_service_stops(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = threading.Event()
    gateway.service.on_log_failure = stopped.set

    def fail() -> int:
        raise LogFailed("the disk is full")

    monkeypatch.setattr(gateway.shop.installation.log, "sync", fail)
    refused = problem(gateway.post("/v1/decisions", payment_json(1)), 503)
    assert (refused["title"], refused["detail"]) == ("Log failed", "the disk is full")
    assert stopped.is_set()
    assert gateway.service.log_failed
    for answer in (gateway.decide(2), gateway.post("/v1/events", LOGIN), gateway.get("/readyz")):
        problem(answer, 503)


def test_what_was_in_flight_when_the_log_failed_is_refused(
    gateway: Gateway, stuck: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> int:
        stuck.wait()
        raise LogFailed("gone")

    monkeypatch.setattr(gateway.shop.installation.log, "sync", fail)

    async def many() -> list[httpx.Response]:
        sent = [gateway.send("POST", "/v1/decisions", payment_json(n)) for n in range(5)]
        answers = asyncio.gather(*sent)
        await asyncio.sleep(0.05)
        stuck.set()
        return await answers

    assert {a.status_code for a in gateway.run(many())} == {503}

"""Keys: scopes, limits, rotation with overlap, revocation; each takes effect in the running service at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateway import Gateway
from tests.shop import T0_MS, iso, opened, payment_json

HOUR_MS = 3_600_000
LOGIN = {"type": "login", "event_id": "l1", "occurred_at": iso(T0_MS), "customer": {"id": "ann"}}
CAPTURE = {"type": "capture", "event_id": "c1", "occurred_at": iso(T0_MS), "payment_id": "p1"}
CALLS: dict[str, list[tuple[str, str, object]]] = {
    "decisions:write": [("POST", "/v1/decisions", payment_json(2))],
    "decisions:read": [("GET", "/v1/decisions/p1", None), ("POST", "/v1/lookup", {"by": "payment_id", "value": "p1"})],
    "events:write": [("POST", "/v1/events", LOGIN)],
    "outcomes:write": [("POST", "/v1/outcomes", CAPTURE)],
}


def admin(gateway: Gateway, **request: object) -> Any:
    answer = gateway.post("/v1/admin", {"merchant": "shop", **request}, key=gateway.admin)
    assert answer.status_code == 200, answer.text
    return answer.json()


def keys(gateway: Gateway) -> list[Any]:
    listed: list[Any] = admin(gateway, do="list_keys")["keys"]
    return listed


def call(gateway: Gateway, key: str, method: str, path: str, body: object) -> httpx.Response:
    return gateway.run(gateway.send(method, path, body, key=key))


@pytest.mark.parametrize("scope", CALLS)
def test_a_key_may_what_its_scopes_say_and_nothing_else(gateway: Gateway, scope: str) -> None:
    gateway.decide(1)
    key = admin(gateway, do="issue_key", scopes=[scope])["key"]
    for needed, calls in CALLS.items():
        for method, path, body in calls:
            answer = call(gateway, key, method, path, body)
            assert answer.status_code == (200 if needed == scope else 403), (needed, answer.text)
            assert needed == scope or f"lacks the scope {needed}" in answer.json()["detail"]


def test_an_outcome_among_events_needs_its_own_scope(gateway: Gateway) -> None:
    gateway.decide(1)
    key = admin(gateway, do="issue_key", scopes=["events:write"])["key"]
    assert gateway.post("/v1/events", [LOGIN, CAPTURE], key=key).status_code == 403
    assert gateway.shop.writer.merchant("shop").seq == 2


def test_an_import_key_decides_nothing(gateway: Gateway) -> None:
    assert gateway.decide(1, key=gateway.shop.key(kind="import")).status_code == 403


def test_keys_are_listed_without_their_text(gateway: Gateway) -> None:
    gateway.decide(1)
    listed = gateway.post("/v1/admin", {"do": "list_keys", "merchant": "shop"}, key=gateway.admin)
    (shown,) = listed.json()["keys"]
    assert gateway.key not in listed.text
    assert gateway.key.startswith(shown["prefix"])
    assert (shown["last_used_at_ms"], shown["issued_at_ms"], shown["expires_at_ms"]) == (T0_MS, T0_MS, None)


def test_a_rotated_key_works_until_the_overlap_ends(gateway: Gateway) -> None:
    (old,) = keys(gateway)
    new = admin(gateway, do="rotate_key", key=old["id"], overlap_s=3600)["key"]
    gateway.shop.clock.ms += HOUR_MS - 1
    assert [gateway.decide(1, key=key).status_code for key in (gateway.key, new)] == [200, 200]
    gateway.shop.clock.ms += 1
    answers = [gateway.decide(1, key=key) for key in (gateway.key, new)]
    assert [answer.status_code for answer in answers] == [401, 200]
    assert "has ended" in answers[0].json()["detail"]


def test_a_successor_has_what_the_key_had_and_rotating_never_prolongs(gateway: Gateway) -> None:
    issued = admin(gateway, do="issue_key", scopes=["events:write"], rate_per_s=7, lifetime_s=60)
    admin(gateway, do="rotate_key", key=issued["id"])
    new, old = sorted((k for k in keys(gateway) if k["rate_per_s"] == 7), key=lambda k: k["id"] == issued["id"])
    assert (new["scopes"], new["expires_at_ms"]) == (old["scopes"], old["expires_at_ms"]) == (
        ["events:write"], T0_MS + 60_000,
    )  # fmt: skip


def test_a_revoked_key_is_refused_at_once(gateway: Gateway) -> None:
    assert gateway.decide(1).status_code == 200
    admin(gateway, do="revoke_key", key=keys(gateway)[0]["id"])
    assert gateway.decide(1).status_code == 401
    again = gateway.post(
        "/v1/admin", {"do": "rotate_key", "merchant": "shop", "key": keys(gateway)[0]["id"]}, key=gateway.admin
    )
    assert again.status_code == 409


def test_keys_and_their_use_survive_a_restart(tmp_path: Path) -> None:
    with opened(tmp_path) as shop:
        shop.create()
        gateway = Gateway(shop)
        gateway.decide(1)
        admin(gateway, do="issue_key", kind="sandbox")
        before = keys(gateway)
        gateway.close()
    with opened(tmp_path) as shop:
        gateway = Gateway(shop)
        assert [k for k in keys(gateway) if k["id"] in {b["id"] for b in before}] == before
        assert {k["last_used_at_ms"] for k in before} == {T0_MS, None}
        gateway.close()


def test_another_merchants_key_is_not_found_by_its_id(gateway: Gateway) -> None:
    gateway.shop.create("rival")
    (ours,) = keys(gateway)
    for do in ("rotate_key", "revoke_key"):
        answer = gateway.post("/v1/admin", {"do": do, "merchant": "rival", "key": ours["id"]}, key=gateway.admin)
        assert answer.status_code == 404
    assert gateway.decide(1).status_code == 200


# --- limits --------------------------------------------------------------------------------------------------------


def test_beyond_its_limit_a_key_is_told_when_to_try_again(gateway: Gateway) -> None:
    key = admin(gateway, do="issue_key", rate_per_s=2)["key"]
    answers = [gateway.decide(n, key=key) for n in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [a.headers["ratelimit"] for a in answers] == ['"key";r=1;t=1', '"key";r=0;t=1', '"key";r=0;t=1']
    assert {answer.headers["ratelimit-policy"] for answer in answers} == {'"key";q=2;w=1'}
    assert (answers[2].headers["retry-after"], answers[2].json()["title"]) == ("1", "Rate limited")
    gateway.shop.clock.ms += 500
    assert gateway.decide(2, key=key).status_code == 200


def test_a_limit_is_one_keys_alone_and_every_endpoints_together(gateway: Gateway) -> None:
    key = admin(gateway, do="issue_key", rate_per_s=1)["key"]
    assert gateway.get("/v1/decisions/p1", key=key).status_code == 404
    assert gateway.post("/v1/events", LOGIN, key=key).status_code == 429
    assert gateway.post("/v1/events", LOGIN).status_code == 200


@pytest.mark.parametrize("ahead_ms", [-HOUR_MS, -400, HOUR_MS])
def test_a_clock_that_somebody_sets_frees_nothing_and_stalls_nobody(gateway: Gateway, ahead_ms: int) -> None:
    key = admin(gateway, do="issue_key", rate_per_s=2)["key"]
    for n in range(2):
        gateway.decide(n, key=key)
    gateway.shop.clock.ahead_ms = ahead_ms
    assert gateway.decide(2, key=key).status_code == 429
    gateway.shop.clock.ms += 500
    assert [gateway.decide(2, key=key).status_code for _ in range(2)] == [200, 429]


def test_refusals_carry_the_limit_too(gateway: Gateway) -> None:
    assert "ratelimit" in gateway.decide(1, amount_minor="x").headers
    assert "ratelimit" in gateway.get("/v1/decisions/nope").headers
    assert "ratelimit" not in gateway.decide(1, key="nonsense").headers

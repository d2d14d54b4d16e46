"""The version of the contract: echoed, pinned, refused; how a part of it is retired; types of problem that resolve."""

from __future__ import annotations

import datetime as dt
import re

import httpx
import pytest

from avalist.api.errors import STATUS, problem_of
from avalist.api.version import CURRENT, DEPRECATED, KNOWN, Deprecation
from avalist.domain import errors
from tests.gateway import Gateway
from tests.shop import payment_json

CALLS = [
    ("POST", "/v1/decisions"), ("GET", "/v1/decisions/p1"), ("POST", "/v1/events"), ("POST", "/v1/admin"),
    ("GET", "/healthz"), ("GET", "/openapi.json"),
]  # fmt: skip


def call(gateway: Gateway, method: str, path: str, **headers: str) -> httpx.Response:
    body = payment_json() if method == "POST" else None
    return gateway.run(gateway.send(method, path, body, **headers))


@pytest.mark.parametrize(("method", "path"), [*CALLS, ("GET", "/nowhere"), ("PUT", "/v1/events")])
def test_every_answer_says_which_version_it_speaks(gateway: Gateway, method: str, path: str) -> None:
    assert call(gateway, method, path).headers.get_list("avalist-version") == [CURRENT]


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_an_unknown_version_is_refused_with_the_known_ones(gateway: Gateway, method: str, path: str) -> None:
    answer = call(gateway, method, path, avalist_version="2020-01-01")
    assert (answer.status_code, answer.json()["type"]) == (400, "/problems#unknown-version")
    assert (answer.json()["expected"], answer.json()["got"]) == (" or ".join(KNOWN), "2020-01-01")
    assert gateway.shop.writer.merchant("shop").seq == 1


def test_a_known_version_may_be_pinned(gateway: Gateway) -> None:
    assert call(gateway, "POST", "/v1/decisions", avalist_version=CURRENT).status_code == 200


@pytest.mark.parametrize(("operation", "path"), [("decide", "/v1/decisions"), ("record_events", "/v1/events")])
def test_a_retired_operation_says_so_and_still_works(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, operation: str, path: str
) -> None:
    end = dt.datetime(2027, 7, 1, tzinfo=dt.UTC)
    monkeypatch.setitem(DEPRECATED, operation, Deprecation(end - dt.timedelta(days=181), end, "/problems"))
    answer = call(gateway, "POST", path)
    assert answer.status_code == 200
    assert answer.headers["deprecation"] == "@1798761600"
    assert answer.headers["sunset"] == "Thu, 01 Jul 2027 00:00:00 GMT"
    assert answer.headers["link"] == '</problems>; rel="deprecation"; type="text/html"'
    assert "sunset" not in call(gateway, "GET", "/healthz").headers


def test_the_type_of_a_problem_leads_to_its_meaning(gateway: Gateway) -> None:
    page = gateway.run(gateway.client.get("/problems"))
    assert page.headers["content-type"].startswith("text/html")
    anchors = {f"/problems#{anchor}" for anchor in re.findall(r"id=([a-z-]+)", page.text)}
    assert anchors == {problem_of(kind("")).type for kind in STATUS}
    assert call(gateway, "GET", "/v1/decisions/p1").json()["type"] in anchors
    assert errors.NotFound in STATUS

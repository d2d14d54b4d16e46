"""Every kind of bad input against every endpoint that takes a body: a 4xx that names the field, and nothing stored.

The service stands behind three doors: called in this process, over HTTP, and over HTTP before a decider over a broker.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from avalist.api.operations import OPERATIONS
from avalist.bootstrap import build
from avalist.config import Settings
from avalist.domain.records import RecordKind
from tests.doors import Answer, Door, InProcess, OverHttp
from tests.roles import Roles, roles
from tests.shop import CARD_NUMBER, T0_MS, FakeClock, Shop, iso, payment_json

SPLIT_NUMBERS = (
    CARD_NUMBER, "4111 1111 1111 1111", "4111-1111-1111-1111", "4111\u00a01111\u20131111 1111",
    "\uff14\uff11\uff11\uff11 1111 1111 1111", "no. 4111111111111111 123",
)  # fmt: skip
DEEP = 40_000


class Endpoint(NamedTuple):
    """An endpoint, a body that it takes, and one of its fields, of text where it has one."""

    path: str
    body: dict[str, Any]
    text: str


ENDPOINTS = (
    Endpoint("/v1/decisions", payment_json("bad"), "payment_id"),
    Endpoint(
        "/v1/events",
        {"type": "login", "event_id": "bad", "occurred_at": iso(T0_MS), "customer": {"id": "ann"}},
        "event_id",
    ),
    Endpoint(
        "/v1/outcomes",
        {"type": "refund", "event_id": "bad", "occurred_at": iso(T0_MS), "payment_id": "p1"},
        "payment_id",
    ),
    Endpoint(
        "/v1/sessions",
        {"event_id": "bad", "occurred_at": iso(T0_MS), "session": {"id": "s1"}},
        "event_id",
    ),
    Endpoint("/v1/lookup", {"by": "payment_id", "value": "p1"}, "value"),
    Endpoint("/v1/admin", {"do": "activate_model", "merchant": "shop", "version": "x", "plan_hash": "y"}, "version"),
    Endpoint("/v1/admin/tables", {"version": 1}, "version"),
    Endpoint(
        "/v1/admin/webhooks", {"do": "remove_webhook", "merchant": "shop", "webhook": "wh_0123456789ab"}, "webhook"
    ),
)


class House(NamedTuple):
    """A shop and a door to it."""

    shop: Shop
    door: InProcess | OverHttp

    def print(self) -> tuple[object, ...]:
        """Return what no refused request may change."""
        merchant, keys = self.shop.writer.merchant("shop"), self.shop.installation.administration.keys
        if isinstance(self.shop, Roles):  # a decider marks in its log how far it read
            return merchant.seq, merchant.features.digest(), len(keys), *self.shop.installation.noted
        return self.shop.installation.log.end, merchant.seq, merchant.features.digest(), len(keys)


@contextmanager
def embedded(folder: Path) -> Iterator[Shop]:
    clock = FakeClock()
    with build(Settings(data=folder, log="memory:", documents="memory:", blobs="memory:"), clock=clock) as here:
        shop = Shop(here, clock)
        shop.create()
        yield shop


@pytest.fixture(scope="module", params=["in process", "over HTTP", "roles"])
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Return a shop with one decided payment, behind each door."""
    folder = tmp_path_factory.mktemp("house")
    opened = roles(folder, request.getfixturevalue("kafka")) if request.param == "roles" else embedded(folder)
    with opened as shop, closing(InProcess(shop) if request.param == "in process" else OverHttp(shop)) as door:
        assert send(door, "/v1/decisions", json.dumps(payment_json(1)).encode()).status == 200
        yield House(shop, door)
        if isinstance(shop, Roles):
            assert [record.kind for _, record in shop.installation.log.read()] == [*map(RecordKind, (2, 1, 3))]


@pytest.fixture(autouse=True)
def nothing_remains(house: House, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Check after each test that the service stands as it stood, is ready, and kept no card number."""
    before = house.print()
    with caplog.at_level(logging.DEBUG, "uvicorn"):
        yield
    assert house.print() == before
    assert house.door.send("GET", "/readyz", b"", {}).status == 200
    assert (
        CARD_NUMBER.encode()
        not in house.door.send(
            "GET", "/metrics", b"", {"Authorization": f"Bearer {house.shop.installation.secrets.metrics_token()}"}
        ).body
    )
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR or CARD_NUMBER in r.getMessage()]


def send(door: Door, path: str, body: bytes, **more: str) -> Answer:
    bearer = door.admin if path.startswith("/v1/admin") else door.key
    named = {name.replace("_", "-").title(): value for name, value in more.items()}
    return door.send("POST", path, body, {"Authorization": f"Bearer {bearer}", **named})


def refused(answer: Answer, *statuses: int) -> dict[str, Any]:
    """Return a problem document, having checked that it is one and repeats no card number."""
    assert answer.status in (statuses or range(400, 500)), answer
    assert answer.media == "application/problem+json"
    assert not any(number in answer.body.decode() for number in SPLIT_NUMBERS)
    problem: dict[str, Any] = json.loads(answer.body)
    assert problem["status"] == answer.status
    assert len(answer.body) < 2000
    return problem


@pytest.mark.sockets  # the house, which is made for every test here, may have a port
def test_every_endpoint_that_takes_a_body_is_here() -> None:
    assert {e.path for e in ENDPOINTS} == {op.path for op in OPERATIONS if op.request is not None}


# --- kinds that fit every endpoint ---------------------------------------------------------------------------------

Made = Callable[[Endpoint], bytes]


def whole(endpoint: Endpoint, **changes: Any) -> bytes:
    return json.dumps({**endpoint.body, **changes}).encode()


def in_text(written: bytes) -> Made:
    """Return what puts bytes into the endpoint's text field as they are."""
    return lambda e: whole(e, **{e.text: "HERE"}).replace(b"HERE", written)


def with_value(written: str) -> Made:
    return lambda e: whole(e, **{e.text: "HERE"}).replace(b'"HERE"', written.encode())


def twice(escape: bool) -> Made:
    """Return what repeats the endpoint's text field, escaped or not."""

    def make(e: Endpoint) -> bytes:
        name = "".join(f"\\u{ord(c):04x}" for c in e.text) if escape else e.text
        first = json.dumps(e.body[e.text])
        return whole(e).replace(b"{", f'{{"{name}": {first}, '.encode(), 1)

    return make


NO_JSON: dict[str, Made] = {
    "nothing": lambda e: b"",
    "white space": lambda e: b" \n",
    "cut short": lambda e: whole(e)[:-1],
    "more after it": lambda e: whole(e) + b"x",
    "a second body": lambda e: whole(e) * 2,
    "a comma too many": lambda e: whole(e).replace(b"}", b",}"),
    "a comment": lambda e: whole(e).replace(b"{", b"{/* */", 1),
    "single quotes": lambda e: whole(e).replace(b'"', b"'"),
    "a byte order mark": lambda e: b"\xef\xbb\xbf" + whole(e),
    "UTF-16": lambda e: whole(e).decode().encode("utf-16"),
    "a NUL after it": lambda e: whole(e) + b"\x00",
    "a form": lambda e: b"event_id=e1&amount=5",
    "not a number": with_value("NaN"),
    "infinity": with_value("-Infinity"),
    "a number with a zero before": with_value("007"),
    "an octal": with_value("0x10"),
    "invalid UTF-8": in_text(b"\xff"),
    "overlong UTF-8": in_text(b"\xc0\xaf"),
    "a surrogate in UTF-8": in_text(b"\xed\xa0\x80"),
    "a lone high surrogate": in_text(b"\\ud800"),
    "a lone low surrogate": in_text(b"\\udc00"),
    "a raw control character": in_text(b"a\x01b"),
    "a raw NUL": in_text(b"a\x00b"),
    "deep objects": lambda e: b'{"a":' * DEEP,
    "deep lists under a key": lambda e: b'{"a":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "invalid UTF-8 in a key": lambda e: b'{"\xff": 1, ' + whole(e)[1:],
}


@pytest.mark.sockets
@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda e: e.path)
@pytest.mark.parametrize("kind", NO_JSON)
def test_what_is_no_json(house: House, endpoint: Endpoint, kind: str) -> None:
    problem = refused(send(house.door, endpoint.path, NO_JSON[kind](endpoint)), 400, 422)
    assert problem["field"].startswith("$")


NO_FIT: dict[str, tuple[Made, str]] = {
    "null": (lambda e: b"null", "$"),
    "a number": (lambda e: b"7", "$"),
    "text": (lambda e: b'"payment"', "$"),
    "true": (lambda e: b"true", "$"),
    "an unknown field": (lambda e: whole(e, surprise=1), "$.surprise"),
    "a very long field": (lambda e: whole(e, **{"k" * 100_000: 1}), "$.k"),
    "a field left out": (lambda e: json.dumps({k: v for k, v in e.body.items() if k != e.text}).encode(), "$.{text}"),
    "a number for text": (with_value("7"), "$.{text}"),
    "an object for text": (with_value('{"a": {}}'), "$.{text}"),
    "a list for text": (with_value("[]"), "$.{text}"),
    "null for text": (with_value("null"), "$.{text}"),
    "a huge integer": (with_value("9" * 5000), "$.{text}"),
    "a huge exponent": (with_value("1e400"), "$.{text}"),
    "a key twice": (twice(False), "$.{text}"),
    "a key twice, escaped once": (twice(True), "$.{text}"),
    "a card number as a field": (lambda e: whole(e, **{CARD_NUMBER: 1}), "$"),
    "an escaped card number": (in_text("".join(f"\\u{ord(c):04x}" for c in CARD_NUMBER).encode()), "$.{text}"),
    **{f"card number {n!a}": (in_text(n.encode()), "$.{text}") for n in SPLIT_NUMBERS},
}


@pytest.mark.sockets
@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda e: e.path)
@pytest.mark.parametrize("kind", NO_FIT)
def test_what_does_not_fit(house: House, endpoint: Endpoint, kind: str) -> None:
    if kind == "a number for text" and isinstance(endpoint.body[endpoint.text], int):
        return
    make, field = NO_FIT[kind]
    problem = refused(send(house.door, endpoint.path, make(endpoint)), 422)
    assert problem["field"].startswith(field.format(text=endpoint.text))
    assert problem["field"] == field.format(text=endpoint.text) or kind == "a very long field"


@pytest.mark.sockets
@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda e: e.path)
def test_ten_megabytes(house: House, endpoint: Endpoint) -> None:
    refused(send(house.door, endpoint.path, b"[" + b" " * 10_000_000), 400, 413, 422)
    refused(send(house.door, endpoint.path, b'{"a":"' + b"x" * 10_000_000 + b'"}'), 413, 422)


HEADERS = (
    ("content_encoding", "gzip", 415),
    ("content_encoding", "br, gzip", 415),
    ("content_type", "application/xml", 415),
    ("content_type", "multipart/form-data; boundary=x", 415),
    ("content_type", "application/json; charset=utf-16", 415),
    ("content_type", "\xe9", 415),
    ("content_type", CARD_NUMBER, 415),
    ("avalist_version", "tomorrow", 400),
    ("avalist_version", CARD_NUMBER, 400),
)


@pytest.mark.sockets
@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda e: e.path)
@pytest.mark.parametrize(("name", "value", "status"), HEADERS)
def test_a_header_that_does_not_fit(house: House, endpoint: Endpoint, name: str, value: str, status: int) -> None:
    problem = refused(send(house.door, endpoint.path, whole(endpoint), **{name: value}), status)
    assert problem["field"] == f"header {name.replace('_', '-').title()}"


@pytest.mark.sockets
@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda e: e.path)
@pytest.mark.parametrize("query", ["?n=4111111111111111", "?4111+1111+1111+1111=1", "?a=%34111-1111-1111-1111"])
def test_a_card_number_in_the_address(house: House, endpoint: Endpoint, query: str) -> None:
    assert refused(send(house.door, endpoint.path + query, whole(endpoint)), 422)["field"] == "address"


@pytest.mark.sockets
@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda e: e.path)
def test_a_parameter_that_no_operation_has(house: House, endpoint: Endpoint) -> None:
    problem = refused(send(house.door, endpoint.path + "?dry_run=1", whole(endpoint)), 422)
    assert (problem["field"], problem["expected"], problem["got"]) == ("query", "no parameter", "dry_run")


@pytest.mark.sockets
@pytest.mark.parametrize(
    ("address", "field", "expected", "got"),
    [
        ("/v1/decisions/p1?checkpont=post_auth", "query", "checkpoint", "checkpont"),
        ("/v1/decisions/p1?checkpoint=pre_auth&checkpoint=post_auth", "checkpoint", "once", "twice"),
        ("/v1/alerts?Limit=5", "query", "limit", "Limit"),
        ("/v1/reviews?limit=5", "query", "no parameter", "limit"),
    ],
)
def test_a_parameter_with_a_slip_is_not_taken_for_an_absent_one(
    house: House, address: str, field: str, expected: str, got: str
) -> None:
    answer = house.door.send("GET", address, b"", {"Authorization": f"Bearer {house.door.key}"})
    problem = refused(answer, 422)
    assert (problem["field"], problem["expected"], problem["got"]) == (field, expected, got)


@pytest.mark.sockets
def test_a_probe_may_say_what_it_likes(house: House) -> None:
    assert house.door.send("GET", "/healthz?_=17", b"", {}).status == 200


@pytest.mark.sockets
@pytest.mark.parametrize("deadline", ["0", "-1", "99999999999999999999", "1e3", "\xb2", "soon", CARD_NUMBER])
def test_a_deadline_that_is_none(house: House, deadline: str) -> None:
    answer = send(house.door, "/v1/decisions", whole(ENDPOINTS[0]), avalist_deadline_ms=deadline)
    assert refused(answer, 422)["field"] == "header Avalist-Deadline-Ms"


@pytest.mark.sockets
@pytest.mark.parametrize(
    "path",
    [
        "/v1/decisions/4111111111111111", "/v1/decisions/4111%201111%201111%201111", "/v1/decisions/%00",
        "/v1/decisions/",
        "/v1/decisions/%ff%fe", "/v1/decisions/../admin", "//v1/decisions/p1", "/v1/decisions/p1/..", "/v1//events",
        "/v1/4111111111111111", "/v1/decisions/p1?checkpoint=4111111111111111", "/v1/decisions/p1?checkpoint=%00",
    ],
)  # fmt: skip
def test_an_address_that_leads_nowhere(house: House, path: str) -> None:
    refused(house.door.send("GET", path, b"", {"Authorization": f"Bearer {house.door.key}"}), 404, 405, 422)


# --- payments ------------------------------------------------------------------------------------------------------

FAR = ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59-14:00")
NO_TIMES = ("2026-06-30T23:59:60Z", "2026-01-01T00:00:00", "2026-13-01T00:00:00Z", "2026-01-01T00:00:00+24:00", "soon")
PAYMENTS: tuple[tuple[dict[str, Any], str], ...] = (
    *(({"amount_minor": n}, "$.amount_minor") for n in (-1, 10**12 + 1, 10**30, 1.5, 1e300, "5", True)),
    *(({"currency": c}, "$.currency") for c in ("XXX", "eur", "EURO", "", "E\u20acR", 978, None, "USD")),
    *(({"occurred_at": t}, "$.occurred_at") for t in (*FAR, *NO_TIMES, 1_790_000_000)),
    *(({"sent_at": t}, "$.sent_at") for t in (*FAR, *NO_TIMES)),
    *(({"customer": {"id": "ann", "created_at": t}}, "$.customer.created_at") for t in (*FAR, *NO_TIMES)),
    ({"custom": {"lat": 1e308}}, "number lat"),
    ({"custom": {"lat": 10**18}}, "number lat"),
    ({"custom": {"lat": 10**9 + 1}}, "number lat"),
    ({"custom": {"lat": "north"}}, "number lat"),
    ({"custom": {"ok": 1, "x": {"deep": 1}}}, "$.custom.x"),
    ({"custom": {"ok": 1, "x": 10**30}}, "$.custom.x"),
    ({"custom": {CARD_NUMBER: 1}}, "$.custom"),
    ({"custom": {"n": int(CARD_NUMBER)}}, "$.custom.n"),
    ({"custom": {"n": float(CARD_NUMBER)}}, "$.custom.n"),
    ({"cart": [{"kind": "other"}, {"kind": CARD_NUMBER}]}, "$.cart[1].kind"),
    ({"cart": [{"kind": "other"}, {"kind": "other", "sku": "4111-1111-1111-1111"}]}, "$.cart[1].sku"),
    ({"customer": {"id": "a\u0000b"}}, "$.customer.id"),
    ({"method": {"kind": "card", "fingerprint": "f", "number": "1"}}, "$.method.number"),
    ({"method": {"kind": "card", "fingerprint": "f", "bin": CARD_NUMBER}}, "$.method.bin"),
)


@pytest.mark.sockets
@pytest.mark.parametrize(("changes", "field"), PAYMENTS)
def test_a_payment_that_does_not_fit(house: House, changes: dict[str, Any], field: str) -> None:
    body = json.dumps({**payment_json("bad"), **changes}).encode()
    assert refused(send(house.door, "/v1/decisions", body), 422)["field"] == field
    assert refused(send(house.door, "/v1/events", body), 422)["field"] == field


@pytest.mark.sockets
@pytest.mark.parametrize(("changes", "field"), PAYMENTS)
def test_a_batch_is_refused_by_the_place_in_it(house: House, changes: dict[str, Any], field: str) -> None:
    late = field.startswith("number") or changes.get("currency") in ("USD", "XXX")  # known when it is recorded
    if late or isinstance(house.door, OverHttp):
        return
    batch = [payment_json("good"), {**payment_json("bad"), **changes}]
    problem = refused(send(house.door, "/v1/events", json.dumps(batch).encode()), 422)
    assert problem["field"] == field.replace("$", "$[1]", 1)


@pytest.mark.sockets
@pytest.mark.parametrize("path", ["$.customer.id", "$.method.bin", "$.custom.x", "$.cart[1].sku"])
def test_a_key_twice_is_named_wherever_it_stands(house: House, path: str) -> None:
    cart = [{"kind": "other", "sku": "a"}, {"kind": "other", "sku": "b"}]
    name = path.rpartition(".")[2]
    body = json.dumps(payment_json("bad", cart=cart, custom={"x": "b"}))
    place = body.rindex(f'"{name}"')
    again = f'{body[:place]}"{name}": "z", {body[place:]}'.encode()
    assert refused(send(house.door, "/v1/decisions", again), 422)["field"] == path
    assert refused(send(house.door, "/v1/events", b"[%b]" % again), 422)["field"] == path.replace("$", "$[0]")


# --- below HTTP ----------------------------------------------------------------------------------------------------

HEAD = "Host: a\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n"
DECIDE = "POST /v1/decisions HTTP/1.1\r\n{head}"
RAW: dict[str, tuple[str, int]] = {
    "two keys": (DECIDE + "Authorization: Bearer x\r\nContent-Length: 2\r\n\r\n{{}}", 422),
    "two types": ("POST /v1/events HTTP/1.1\r\n{head}Content-Type: a\r\ncontent-type: b\r\n\r\n", 422),
    "two lengths": (DECIDE + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{{}}", 400),
    "length and chunks": (DECIDE + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "a bad length": (DECIDE + "Content-Length: -2\r\n\r\n{{}}", 400),
    "chunks": (DECIDE + "Transfer-Encoding: chunked\r\n\r\n1\r\n{{\r\n1\r\n}}\r\n0\r\n\r\n", 422),
    "no key": ("POST /v1/decisions HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{{}}", 401),
    "a key outside ASCII": ("POST /v1/events HTTP/1.1\r\nConnection: close\r\nAuthorization: Bearer \xe9\r\n\r\n", 401),
    "a NUL in a header": ("POST /v1/events HTTP/1.1\r\n{head}X: a\x00\r\n\r\n", 400),
    "a path outside ASCII": ("GET /v1/decisions/\xe9 HTTP/1.1\r\n{head}\r\n", 400),
    "another method": ("BREW /v1/decisions HTTP/1.1\r\n{head}\r\n", 400),
    "no HTTP": ("\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
    "HTTP/2": ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "an endless head": ("GET /healthz HTTP/1.1\r\n{head}X: " + "x" * 90_000, 431),
}  # fmt: skip


@pytest.mark.sockets
@pytest.mark.parametrize("kind", RAW)
def test_what_is_hardly_http(house: House, kind: str) -> None:
    if not isinstance(house.door, OverHttp):
        return
    text, status = RAW[kind]
    head = HEAD.format(key=house.door.key)
    answer = house.door.raw(text.format(head=head).encode("latin-1"))
    first, _, rest = answer.partition(b"\r\n")
    assert int(first.split()[1]) == status, answer
    assert json.loads(rest.partition(b"\r\n\r\n")[2])["status"] == status


@pytest.mark.sockets
@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda e: e.path)
def test_a_caller_who_hangs_up_in_the_middle_is_no_event(house: House, endpoint: Endpoint) -> None:
    if isinstance(house.door, OverHttp):
        bearer = house.door.admin if endpoint.path.startswith("/v1/admin") else house.door.key
        head = f"POST {endpoint.path} HTTP/1.1\r\nAuthorization: Bearer {bearer}\r\nContent-Length: 9999\r\n\r\n"
        assert house.door.raw(head.encode() + whole(endpoint)) == b""

"""Two tenants attack each other through every endpoint (I4); what they try is generated from the OpenAPI document.

Two attackers, alike in all, send the same requests. Where one names a thing of the victim, the other names one that
nobody has. Equal answers tell nothing; and the victim's log, state and documents must stay as they were. A new
operation, parameter or field is attacked as soon as it stands in the document. The service decides by itself, or is a
gateway before a decider.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest

from avalist.api.openapi import document
from avalist.domain.schema import DIGITAL_GOODS
from avalist.follow import Follower
from tests.gateway import Gateway
from tests.roles import Roles, roles

Json = dict[str, Any]
THINGS = {
    "payment": "victim-order", "event": "victim-event", "customer": "victim-customer", "email": "ann@victim.io",
    "card": "victim-token", "ip": "9.9.9.9", "device": "victim-device", "merchant": "victim",
}  # fmt: skip
NOBODYS = {name: thing.replace("victim", "nobody").replace("9.9.9", "9.9.8") for name, thing in THINGS.items()}
NAMES = re.compile(r"victim|nobody|9\.9\.[89]\.9|attacker-[ab]_....")


class Attack(NamedTuple):
    """A request and the place in it (path, query, header or body) where somebody else's thing is named."""

    method: str
    path: str
    body: Any
    place: tuple[Any, ...]


def attacks() -> list[Attack]:
    """Return every place of every operation that may name a thing: each parameter, each text of each example."""
    found = []
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            if operation["security"]:
                bodies = _bodies(operation)
                places = [(p["in"], p["name"]) for p in operation["parameters"]]
                found += [Attack(method.upper(), path, bodies[0], place) for place in places]
                found += [Attack(method.upper(), path, b, ("body", *place)) for b in bodies for place in _texts(b)]
    return found


def _bodies(operation: Json) -> list[Any]:
    """Return an operation's examples, with every text of their schema that they leave out."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return [None]
    return [_completed(example["value"], content["schema"]) for example in content["examples"].values()]


def _completed(value: Any, schema: Json) -> Any:
    schema = _chosen(value, schema)
    if isinstance(value, dict):
        named = schema.get("properties", {})
        absent = {name: "x" for name, inner in named.items() if name not in value and _is_text(inner)}
        return {**{name: _completed(inner, named.get(name, {})) for name, inner in value.items()}, **absent}
    if isinstance(value, list):
        return [_completed(inner, schema.get("items", {})) for inner in value]
    return value


def _chosen(value: Any, schema: Json) -> Json:
    """Return the schema that a value is of, among those that may stand there."""
    if "$ref" in schema:
        return _chosen(value, document()["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    choices = [_chosen(value, inner) for inner in schema.get("anyOf", [])]
    return next((choice for choice in choices if _fits(value, choice)), schema)


def _fits(value: Any, schema: Json) -> bool:
    if not isinstance(value, {"object": dict, "array": list, "string": str}.get(schema.get("type", ""), ())):
        return False
    tags = {
        n: s["enum"] for n, s in schema.get("properties", {}).items() if n in ("type", "kind", "do") and "enum" in s
    }
    return not isinstance(value, dict) or all(value.get(name, tag[0]) in tag for name, tag in tags.items())


def _is_text(schema: Json) -> bool:
    kinds = [kind for kind in schema.get("anyOf", [schema]) if kind.get("type") != "null"]
    return all(kind.get("type") == "string" and not {"format", "enum", "pattern"} & set(kind) for kind in kinds)


def _texts(value: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the places of the texts in a value."""
    if isinstance(value, dict | list):
        for step, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from ((step, *rest) for rest in _texts(inner))
    elif isinstance(value, str):
        yield ()


def kinds_of(attack: Attack, n: int) -> list[str]:
    """Return what to name at a place: what its path speaks of, or all; in a wide body, some in turn."""
    kinds, spoken = list(THINGS), "/".join(map(str, attack.place)).replace("fingerprint", "card")
    if attack.body is None or len(list(_texts(attack.body))) < 5:
        return kinds
    return [kind for kind in kinds if kind in spoken] or [kinds[n % len(kinds)], kinds[(n + 3) % len(kinds)]]


def send(gateway: Gateway, key: str, attack: Attack, thing: str, n: int) -> tuple[int, str]:
    """Send an attack that names `thing`; return the status and the answer without names."""
    request = {"path": {"payment_id": "own"}, "query": {}, "header": {}, "body": _fresh(attack.body, n)}
    place: Any = request
    for step in attack.place[:-1]:
        place = place[step]
    place[attack.place[-1]] = thing
    path = attack.path.replace("{payment_id}", quote(request["path"]["payment_id"], safe=""))
    query = "&".join(f"{name}={quote(value)}" for name, value in request["query"].items())
    sent = gateway.send(attack.method, f"{path}?{query}", request["body"], key=key, **request["header"])
    answer = gateway.run(sent)
    return answer.status_code, NAMES.sub("*", answer.text)


def _fresh(body: Any, n: int) -> Any:
    """Return a body whose events are new."""
    body = copy.deepcopy(body)
    for event in body if isinstance(body, list) else [body]:
        if event and "event_id" in event:
            event["event_id"] += f"-{n}"
            if "amount_minor" in event and "currency" in event:
                event["payment_id"] += f"-{n}"
    return body


@pytest.fixture(params=["embedded", "roles"])
def gateway(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Gateway]:
    if request.param == "embedded":
        yield request.getfixturevalue("gateway")
        return
    with roles(tmp_path, request.getfixturevalue("kafka")) as shop, closing(Gateway(shop)) as gateway:
        yield gateway


@pytest.fixture
def victim(gateway: Gateway) -> Gateway:
    """Return a gateway to a merchant that has one of each thing, folded into documents.

    One payment more is not folded yet, where the service reads the log itself.
    """
    gateway.shop.create("victim", DIGITAL_GOODS)
    gateway.key = gateway.shop.key("victim")
    gateway.know(gateway.key)
    things: Json = {
        "customer": {"id": THINGS["customer"], "email": THINGS["email"]}, "device": {"id": THINGS["device"]},
        "method": {"kind": "card", "fingerprint": THINGS["card"]}, "ip": THINGS["ip"],
    }  # fmt: skip
    gateway.decide(1, payment_id=THINGS["payment"], event_id=THINGS["event"], **things)
    follower = gateway.shop.follower()
    follow(follower)
    gateway.decide(2, **things)
    if isinstance(gateway.shop, Roles):
        follow(follower)
    return gateway


def follow(follower: Follower) -> None:
    while follower.behind_bytes:
        follower.advance()


def attackers(gateway: Gateway, *names: str) -> list[str]:
    """Return keys of new merchants."""
    for name in names:
        gateway.shop.create(name, DIGITAL_GOODS)
    keys = [gateway.shop.key(name) for name in names]
    for key in keys:
        gateway.know(key)
    return keys


def state_of(gateway: Gateway) -> list[object]:
    """Return all that stands of the victim: its inputs, features, documents, records and keys."""
    here = gateway.shop.installation
    merchant = here.writer.merchant("victim")
    records = [(position, record) for position, record in here.log.read() if record.merchant == "victim"]
    found = gateway.post("/v1/lookup", {"by": "email", "value": THINGS["email"]}).json()
    assert [one["decision"]["seq"] for one in found["decisions"]] == [3, 2]
    kept = list(here.documents.find("victim", "decisions")), list(here.documents.find("victim", "keys"))
    return [merchant.seq, merchant.mode, merchant.policy, merchant.features.digest(), records, kept, found]


@pytest.mark.slow
@pytest.mark.sockets
def test_naming_anothers_things_is_like_naming_nobodys_and_changes_nothing(victim: Gateway) -> None:
    keys = attackers(victim, "attacker-a", "attacker-b")
    before, n = state_of(victim), 0
    for attack in attacks():
        for kind in kinds_of(attack, n):
            n += 1
            seen, unseen = (
                send(victim, key, attack, things[kind], n) for key, things in zip(keys, (THINGS, NOBODYS), strict=True)
            )
            assert seen == unseen, (attack, kind)
            assert seen[0] < 500, (attack, seen)
    assert state_of(victim) == before


def test_the_attacks_reach_every_operation_that_takes_a_key_and_what_names_a_payment() -> None:
    made = attacks()
    assert {a.path for a in made} == {p for p, m in document()["paths"].items() for op in m.values() if op["security"]}
    reached = {(a.path, str(a.place[-1])) for a in made}
    assert {
        ("/v1/outcomes", "payment_id"),
        ("/v1/lookup", "value"),
        ("/v1/decisions/{payment_id}", "payment_id"),
    } <= reached


@pytest.mark.sockets
def test_a_leak_would_be_seen(victim: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    (key,) = attackers(victim, "attacker-a")
    for name in ("recent", "stored"):
        read = getattr(victim.service.archive, name)
        monkeypatch.setattr(victim.service.archive, name, lambda merchant, *rest, read=read: read("victim", *rest))
    (attack,) = (a for a in attacks() if a.place == ("path", "payment_id"))
    answers = [send(victim, key, attack, things["payment"], 0) for things in (THINGS, NOBODYS)]
    assert answers[0] != answers[1]

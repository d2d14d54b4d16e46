"""The vault: what it keeps and how long, whose it shows, what it forgets, and what it notes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from avalist.adapters.memory.documents import MemoryDocuments
from avalist.app.vault import ERASURES, READS, VAULT, Asked, By, Vault, by_of, days_of
from avalist.domain.errors import BadInput
from avalist.domain.records import Record, RecordKind
from avalist.enrich.seal import seal

T0_MS, DAY_MS = 1_790_000_000_000, 86_400_000
ANN = {"id": "ann", "email": "Ann+shop@Example.com", "phone": "+33 1"}


def secret(merchant: str) -> bytes:
    return merchant.encode().ljust(32, b"k")


@pytest.fixture
def documents() -> MemoryDocuments:
    return MemoryDocuments()


@pytest.fixture
def vault(documents: MemoryDocuments) -> Vault:
    return Vault(documents, secret, days_of("ip=485,device=485,*=400"))


def record(n: int = 1, merchant: str = "shop", at_ms: int = T0_MS, **event: Any) -> Record:
    whole = {"type": "payment", "event_id": f"e{n}", "payment_id": f"p{n}", "amount_minor": 100, **event}
    clear = msgspec.msgpack.encode({"customer": ANN, "ip": "192.0.2.7", **whole})
    sealed = seal(secret(merchant), at_ms, f"{merchant}/{n}".encode(), clear)
    return Record(merchant, n, RecordKind.EVENT, at_ms, b"", sealed)


def put(vault: Vault, *records: Record) -> int:
    return vault.put(records, ("vault", 1))


def asked(by: By, value: str, at_ms: int = T0_MS + 1) -> Asked:
    return Asked(by=by, value=value, who="eve", why="dispute 7", at_ms=at_ms)


def seen(vault: Vault, by: By, value: str, merchant: str = "shop") -> list[str]:
    return [one.event_id for one in vault.read(merchant, asked(by, value))]


def test_what_was_sent_is_read_back_and_nothing_that_tells_of_nobody(vault: Vault) -> None:
    put(vault, record(device={"id": "d1", "user_agent": "Mozilla"}))
    contact, evidence = sorted(vault.read("shop", asked("payment_id", "p1")), key=lambda one: len(one.fields))
    assert contact.fields == {"customer": ANN}
    assert evidence.fields == {"ip": "192.0.2.7", "device": {"id": "d1", "user_agent": "Mozilla"}}


@pytest.mark.parametrize(
    ("by", "value"),
    [
        ("payment_id", "p1"), ("customer_id", "ann"), ("email", "ann@example.com"), ("phone", "+33 1"),
        ("ip", "192.0.2.7"), ("device_id", "d1"), ("method", "card-1"), ("email", "bob@example.com"),
    ],
)  # fmt: skip
def test_a_person_is_found_by_all_that_tells_of_them(vault: Vault, by: By, value: str) -> None:
    gift = {"kind": "gift_card", "recipient_email": "bob@example.com"}
    put(vault, record(device={"id": "d1"}, method={"kind": "card", "fingerprint": "card-1"}, cart=[gift]))
    assert set(seen(vault, by, value)) == {"e1"}
    assert seen(vault, by, value + "x") == []


def test_no_clear_text_stands_in_the_documents(vault: Vault, documents: MemoryDocuments) -> None:
    put(vault, record())
    vault.read("shop", asked("email", "ann@example.com"))
    stored = repr((documents._collections, documents._keys)).lower()
    assert not any(clear in stored for clear in ("ann", "example", "192.0.2.7", "+33"))


def test_fields_go_when_their_days_are_over(vault: Vault, documents: MemoryDocuments) -> None:
    put(vault, record())
    assert documents.sweep(T0_MS + 400 * DAY_MS - 1) == 0
    assert documents.sweep(T0_MS + 400 * DAY_MS) == 1
    assert [one.fields for one in vault.read("shop", asked("customer_id", "ann"))] == [{"ip": "192.0.2.7"}]
    assert documents.sweep(T0_MS + 485 * DAY_MS) == 1


def test_a_field_may_be_kept_not_at_all(documents: MemoryDocuments) -> None:
    vault = Vault(documents, secret, days_of("customer=0,*=400"))
    put(vault, record())
    assert [one.fields for one in vault.read("shop", asked("customer_id", "ann"))] == [{"ip": "192.0.2.7"}]


def test_erasure_takes_a_persons_rows_and_nobody_elses(vault: Vault) -> None:
    put(vault, record(1), record(2, customer={"id": "bob"}), record(3, merchant="rival"))
    assert vault.erase("shop", asked("customer_id", "ann")) == 2
    assert (seen(vault, "customer_id", "ann"), seen(vault, "payment_id", "p1")) == ([], [])
    assert set(seen(vault, "ip", "192.0.2.7")) == {"e2"}
    assert set(seen(vault, "customer_id", "ann", "rival")) == {"e3"}


def test_what_is_erased_stays_so_when_the_log_is_read_again(vault: Vault, documents: MemoryDocuments) -> None:
    put(vault, record())
    vault.erase("shop", asked("email", "ann@example.com"))
    again = Vault(documents, secret, days_of("*=400"))
    assert put(again, record()) == 0
    assert put(again, record(2, at_ms=T0_MS + 2)) == 1  # she came back
    assert set(seen(vault, "email", "ann@example.com")) == {"e2"}


def test_an_erasure_while_rows_are_on_their_way_takes_them_too(
    vault: Vault, documents: MemoryDocuments, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_many, other = documents.put_many, Vault(documents, secret, days_of("*=400"))

    def late(rows: Any, **rest: Any) -> None:
        monkeypatch.undo()
        other.erase("shop", asked("email", "ann@example.com"))
        put_many(rows, **rest)

    monkeypatch.setattr(documents, "put_many", late)
    put(vault, record())
    assert list(documents.find("shop", VAULT)) == []


def test_the_same_events_put_again_change_nothing(vault: Vault, documents: MemoryDocuments) -> None:
    put(vault, record())
    before = list(documents.find("shop", VAULT))
    put(vault, record())
    assert list(documents.find("shop", VAULT)) == before


def test_reads_and_erasures_are_noted_before_they_happen(
    vault: Vault, documents: MemoryDocuments, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(vault, record())
    vault.read("shop", asked("customer_id", "ann"))
    monkeypatch.setattr(documents, "delete", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        vault.erase("shop", asked("customer_id", "ann"))
    for collection in (READS, ERASURES):
        (noted,) = vault.noted("shop", collection)
        assert (noted.who, noted.why, noted.by, noted.rows) == ("eve", "dispute 7", "customer_id", 2)
        assert "ann" not in noted.key.removeprefix("customer_id")
    assert vault.noted("rival", READS) == []


def test_an_event_of_another_secret_is_told_and_passed_over(documents: MemoryDocuments) -> None:
    said: list[str] = []
    vault = Vault(documents, lambda merchant: b"x" * 32, days_of("*=400"), said.append)
    assert put(vault, record()) == 0
    assert said == ["the sealed part of shop's event 1 does not open with its secret"]


@pytest.mark.parametrize("text", ["", "ip", "ip=x", "name=3", "*=-1", "ip=485;*=400"])
def test_a_retention_that_is_none_is_told(text: str) -> None:
    with pytest.raises(BadInput, match="retention"):
        days_of(text)


def test_rows_are_found_by_nothing_else() -> None:
    with pytest.raises(BadInput, match="not found by that"):
        by_of("name")

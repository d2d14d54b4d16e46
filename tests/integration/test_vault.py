"""The follower fills the vault; the command line reads and erases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from avalist.adapters.sqlite.documents import SqliteDocuments
from avalist.app.vault import ERASURES, VAULT
from avalist.cli import documents as documents_module
from avalist.cli.documents import rebuild
from avalist.cli.vault import erase, log, read
from avalist.config import Settings
from avalist.domain.errors import BadInput
from avalist.ports.documents import Documents
from tests.shop import Shop, event, opened


def follow(shop: Shop) -> None:
    shop.installation.log.sync()
    follower = shop.follower()
    while follower.behind_bytes:
        follower.advance()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    with opened(tmp_path) as shop:
        shop.create()
        shop.decide(1)
        shop.record(event("login", "l1", customer={"id": "bob"}, ip="192.0.2.9"))
        follow(shop)
    return tmp_path


def test_what_was_sent_is_read_and_the_read_is_logged(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    read("shop", "email", "ann@example.com", "dispute 7", data)
    shown = [msgspec.json.decode(line) for line in capsys.readouterr().out.splitlines()]
    assert {name: value for one in shown for name, value in one["fields"].items()} == {
        "customer": {"id": "ann", "email": "ann@example.com"}, "ip": "192.0.2.7",
        "method": {"kind": "card", "fingerprint": "card-1", "bin": "411111"},
    }  # fmt: skip
    log("shop", 50, data)
    assert "dispute 7" in capsys.readouterr().out


def test_an_erased_person_is_gone_from_the_file_and_stays_gone(data: Path) -> None:
    erase("shop", "customer_id", "ann", "request 8", True, data)
    with opened(data) as shop:
        documents = shop.installation.documents
        documents.put_many([], mark=("vault/1", 0))
        follow(shop)
        left = [msgspec.json.decode(body)["event_id"] for _, body in documents.find("shop", VAULT)]
    assert left == ["l1"]


def moved(data: Path) -> list[str]:
    """Return the events that the vault holds."""
    with opened(data) as shop:
        follow(shop)
        found = shop.installation.documents.find("shop", VAULT)
        return [msgspec.json.decode(body)["event_id"] for _, body in found]


def test_an_erasure_outlives_a_move_to_another_store(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    erase("shop", "customer_id", "ann", "request 8", True, data)
    (data / "documents.sqlite").rename(data / "old.sqlite")
    with pytest.raises(BadInput, match="it would hold who was erased"):
        rebuild(data=data)
    monkeypatch.setattr(documents_module, "open_documents", old_or_new(data))
    rebuild(moved_from="sqlite:old", data=data)
    assert moved(data) == ["l1"]
    with opened(data) as shop:
        assert len(list(shop.installation.documents.find("shop", ERASURES))) == 1


def old_or_new(data: Path) -> Callable[[Settings], Documents]:
    """Return what opens the store of before by a URL of its own: SQLite's lies at one place in a data folder."""

    def opening(settings: Settings) -> Documents:
        return SqliteDocuments(data / ("old.sqlite" if settings.documents == "sqlite:old" else "documents.sqlite"))

    return opening


def test_who_was_never_erased_needs_no_old_store(data: Path) -> None:
    (data / "documents.sqlite").unlink()
    rebuild(nobody_erased=True, data=data)
    assert sorted(moved(data)) == ["e1", "l1"]


def test_a_decision_outlives_the_erasure(data: Path) -> None:
    erase("shop", "customer_id", "ann", "request 8", True, data)
    with opened(data) as shop:
        found = shop.installation.service().archive.stored("shop", "p1", "pre_auth")
    assert found is not None
    assert found.decision.payment_id == "p1"

"""Every document store keeps the contract of ports/documents.py."""

from __future__ import annotations

import gc
import os
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path
from typing import cast

import pymongo.errors
import pytest

from avalist.adapters.memory.documents import MemoryDocuments
from avalist.adapters.mongo import documents as mongo
from avalist.adapters.mongo.documents import MongoDocuments
from avalist.adapters.sqlite.documents import SqliteDocuments
from avalist.domain.errors import BadInput, Superseded, Unavailable
from avalist.ports.documents import Documents
from tests.live import free_port
from tests.services import mongodb as mongodb_server
from tests.services.server import Server

Row = tuple[str, str, str, bytes]


def broken_batch() -> Iterator[Row]:
    yield ("shop", "cases", "1", b"new")
    raise RuntimeError("the fold stopped here")


def entries(**at: int) -> list[tuple[str, str, str, int, str]]:
    """Return entries under the key ``k``."""
    return [("shop", "cases", "k", when, id) for id, when in at.items()]


def entries_at(ids: list[str]) -> list[tuple[str, str, str, int, str]]:
    return [("shop", "cases", "k", int(id), id) for id in ids]


FUTURE_MS = 4_000_000_000_000
"""A store that removes by itself what is due must not do so in the middle of a test."""


class DocumentsContract:
    @pytest.fixture
    def documents(self, tmp_path: Path) -> Iterator[Documents]:
        documents = self.open(tmp_path)
        yield documents
        documents.close()

    def open(self, folder: Path) -> Documents:
        raise NotImplementedError

    def test_what_is_put_is_got(self, documents: Documents) -> None:
        documents.put_many([("shop", "cases", "1", b'{"a":1}'), ("shop", "cases", "2", b"{}")])
        assert documents.get("shop", "cases", "1") == b'{"a":1}'

    def test_an_unknown_id_is_none(self, documents: Documents) -> None:
        assert documents.get("shop", "cases", "1") is None
        assert list(documents.find("shop", "cases")) == []

    def test_the_same_id_is_replaced(self, documents: Documents) -> None:
        documents.put_many([("shop", "cases", "1", b"old"), ("shop", "cases", "1", b"new")])
        assert list(documents.find("shop", "cases")) == [("1", b"new")]

    def test_find_is_newest_first_by_first_insertion(self, documents: Documents) -> None:
        documents.put_many([("shop", "cases", id, id.encode()) for id in "bca"])
        documents.put_many([("shop", "cases", "b", b"again")])
        assert [id for id, _ in documents.find("shop", "cases")] == ["a", "c", "b"]

    @pytest.mark.parametrize(("limit", "found"), [(2, ["c", "b"]), (0, []), (-1, []), (9, ["c", "b", "a"])])
    def test_find_gives_at_most_limit(self, documents: Documents, limit: int, found: list[str]) -> None:
        documents.put_many([("shop", "cases", id, b"{}") for id in "abc"])
        assert [id for id, _ in documents.find("shop", "cases", limit=limit)] == found

    def test_a_merchant_sees_and_clears_its_own_alone(self, documents: Documents) -> None:
        documents.put_many([("shop", "cases", "1", b"ours"), ("rival", "cases", "1", b"theirs")])
        documents.clear("rival", "cases")
        assert documents.get("shop", "cases", "1") == b"ours"
        assert documents.get("rival", "cases", "1") is None
        assert list(documents.find("shop", "cases")) == [("1", b"ours")]

    def test_clear_takes_one_collection(self, documents: Documents) -> None:
        documents.put_many([("shop", "cases", "1", b"{}"), ("shop", "claims", "1", b"{}")])
        documents.clear("shop", "cases")
        assert (documents.get("shop", "cases", "1"), documents.get("shop", "claims", "1")) == (None, b"{}")

    def test_a_mark_is_kept_by_name(self, documents: Documents) -> None:
        documents.put_many([], mark=("fold", 7))
        documents.put_many([], mark=("fold", 9))
        assert (documents.mark("fold"), documents.mark("other")) == (9, 0)

    def test_a_broken_batch_stores_neither_rows_nor_mark(self, documents: Documents) -> None:
        documents.put_many([("shop", "cases", "1", b"old")], mark=("fold", 1))
        with pytest.raises(RuntimeError):
            documents.put_many(broken_batch(), mark=("fold", 2))
        assert (documents.get("shop", "cases", "1"), documents.mark("fold")) == (b"old", 1)

    def test_a_batch_counts_only_where_the_mark_is_as_expected(self, documents: Documents) -> None:
        documents.put_many([("shop", "cases", "1", b"first")], mark=("fold", 3), after=0)
        documents.put_many([("shop", "cases", "1", b"newer")], mark=("fold", 9), after=3)
        for after in (0, 3, 10):
            with pytest.raises(Superseded, match="fold"):
                documents.put_many([("shop", "cases", "1", b"a zombie's")], mark=("fold", 5), after=after)
        with pytest.raises(Superseded):
            documents.put_many([], mark=("never seen", 5), after=3)
        assert (documents.get("shop", "cases", "1"), documents.mark("fold")) == (b"newer", 9)

    def test_find_may_be_read_while_documents_are_put(self, documents: Documents) -> None:
        documents.put_many([("shop", "cases", id, b"{}") for id in "ab"])
        found = documents.find("shop", "cases")
        next(found)
        documents.put_many([("shop", "cases", "c", b"{}")])
        assert [id for id, _ in found] == ["a"]

    def test_documents_are_found_by_key_the_highest_first(self, documents: Documents) -> None:
        documents.put_many([("shop", "cases", id, id.encode()) for id in "abc"], keys=entries(a=3, b=9, c=5))
        assert list(documents.find_by("shop", "cases", "k")) == [(9, b"b"), (5, b"c"), (3, b"a")]
        assert list(documents.find_by("shop", "cases", "k", before=9, limit=1)) == [(5, b"c")]
        assert list(documents.find_by("shop", "cases", "other")) == []

    def test_an_entry_may_repeat_and_follows_its_document(self, documents: Documents) -> None:
        documents.put_many([("shop", "cases", "a", b"old")], keys=entries(a=3))
        documents.put_many([("shop", "cases", "a", b"new")], keys=[*entries(a=3), *entries(b=4)])
        assert list(documents.find_by("shop", "cases", "k")) == [(3, b"new")]

    def test_a_key_is_its_merchants_and_collections_alone(self, documents: Documents) -> None:
        documents.put_many([("shop", "cases", "a", b"ours")], keys=entries(a=3))
        assert list(documents.find_by("rival", "cases", "k")) == list(documents.find_by("shop", "claims", "k")) == []
        documents.clear("rival", "cases")
        assert list(documents.find_by("shop", "cases", "k")) == [(3, b"ours")]
        documents.clear("shop", "cases")
        documents.put_many([("shop", "cases", "a", b"again")])
        assert list(documents.find_by("shop", "cases", "k")) == []

    def test_what_is_deleted_is_gone_with_its_entries_and_nothing_else(self, documents: Documents) -> None:
        rows = [("shop", "cases", id, b"{}") for id in "abc"]
        documents.put_many([*rows, ("rival", "cases", "a", b"theirs")], keys=entries(a=3, b=4))
        assert documents.delete("shop", "cases", ["a", "c", "never there"]) == 2
        assert documents.delete("shop", "cases", []) == 0
        assert [id for id, _ in documents.find("shop", "cases")] == ["b"]
        assert documents.get("rival", "cases", "a") == b"theirs"
        documents.put_many([("shop", "cases", "a", b"again")])
        assert list(documents.find_by("shop", "cases", "k")) == [(4, b"{}")]

    def test_documents_go_when_their_end_has_come(self, documents: Documents) -> None:
        rows = [("shop", "cases", id, b"{}") for id in "abc"]
        ends = [("shop", "cases", "a", FUTURE_MS), ("shop", "cases", "b", FUTURE_MS + 1)]
        documents.put_many(rows, keys=entries(a=3, b=4), ends=ends)
        documents.put_many(rows[:1])
        assert documents.sweep(FUTURE_MS - 1) == 0
        assert (documents.sweep(FUTURE_MS), documents.sweep(FUTURE_MS)) == (1, 0)
        assert {id for id, _ in documents.find("shop", "cases")} == {"b", "c"}
        documents.put_many(rows[:1])
        assert list(documents.find_by("shop", "cases", "k")) == [(4, b"{}")]
        assert documents.sweep(FUTURE_MS) == 0

    def test_a_later_end_replaces_the_first(self, documents: Documents) -> None:
        row = ("shop", "cases", "a", b"{}")
        documents.put_many([row], ends=[("shop", "cases", "a", FUTURE_MS)])
        documents.put_many([row], ends=[("shop", "cases", "a", FUTURE_MS + 9)])
        assert (documents.sweep(FUTURE_MS), documents.sweep(FUTURE_MS + 9)) == (0, 1)

    def test_clear_takes_the_ends_along(self, documents: Documents) -> None:
        documents.put_many([("shop", "cases", "a", b"{}")], ends=[("shop", "cases", "a", FUTURE_MS)])
        documents.clear("shop", "cases")
        documents.put_many([("shop", "cases", "a", b"again")])
        assert documents.sweep(FUTURE_MS) == 0

    def test_many_documents_lie_under_one_key(self, documents: Documents) -> None:
        ids = [f"{n:03d}" for n in range(60)]
        documents.put_many([("shop", "cases", id, id.encode()) for id in ids if int(id) % 2], keys=entries_at(ids))
        found = list(documents.find_by("shop", "cases", "k", limit=24))
        assert found[0] == (59, b"059")
        assert [at for at, _ in found] == list(range(59, 12, -2))

    def test_closing_twice_is_harmless(self, documents: Documents) -> None:
        documents.close()
        documents.close()


class TestMemoryDocuments(DocumentsContract):
    def open(self, folder: Path) -> Documents:
        return MemoryDocuments()


class TestSqliteDocuments(DocumentsContract):
    def open(self, folder: Path) -> Documents:
        return SqliteDocuments(folder / "documents.sqlite")

    def test_documents_and_marks_survive_a_reopening(self, documents: Documents, tmp_path: Path) -> None:
        documents.put_many([("shop", "cases", "1", b"{}")], mark=("fold", 7))
        documents.close()
        again = self.open(tmp_path)
        assert (again.get("shop", "cases", "1"), again.mark("fold")) == (b"{}", 7)
        again.close()

    def test_a_reader_sees_the_last_whole_batch_while_another_is_written(
        self, documents: Documents, tmp_path: Path
    ) -> None:
        documents.put_many([("shop", "cases", "1", b"old")], mark=("fold", 1))
        writer = sqlite3.connect(tmp_path / "documents.sqlite", isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE documents SET json = x'6e6577'")
        assert documents.get("shop", "cases", "1") == b"old"
        writer.execute("COMMIT")
        writer.close()
        assert documents.get("shop", "cases", "1") == b"new"

    def test_a_row_refused_by_sqlite_takes_the_batch_with_it(self, documents: Documents) -> None:
        rows: list[Row] = [("shop", "cases", "1", b"{}"), cast(Row, ("shop", "cases", "2", None))]
        with pytest.raises(Unavailable):
            documents.put_many(rows, mark=("fold", 2))
        assert (documents.get("shop", "cases", "1"), documents.mark("fold")) == (None, 0)

    def test_a_closed_store_is_unavailable(self, documents: Documents) -> None:
        documents.close()
        for call in (
            lambda: documents.get("m", "c", "1"),
            lambda: documents.find("m", "c"),
            lambda: documents.mark("n"),
        ):
            with pytest.raises(Unavailable):
                call()

    def test_a_file_that_is_no_database_is_unavailable(self, tmp_path: Path) -> None:
        (tmp_path / "documents.sqlite").write_bytes(b"no database at all, and long enough to be read as one" * 20)
        with pytest.raises(Unavailable, match="not a database"):
            self.open(tmp_path)


@pytest.mark.sockets
class TestMongoDocuments(DocumentsContract):
    @pytest.fixture
    def documents(self, tmp_path: Path, mongodb: Server) -> Iterator[Documents]:
        self.server = os.environ.get("TEST_MONGODB_URL") or f"mongodb://{mongodb.address}"
        documents = self.open(tmp_path)
        yield documents
        documents.close()

    def open(self, folder: Path) -> Documents:
        return MongoDocuments(f"{self.server}/{blake2b(str(folder).encode(), digest_size=8).hexdigest()}")

    def test_documents_and_marks_survive_a_reopening(self, documents: Documents, tmp_path: Path) -> None:
        documents.put_many([("shop", "cases", "1", b"{}")], mark=("fold", 7))
        documents.close()
        again = self.open(tmp_path)
        again.put_many([("shop", "cases", "2", b"{}")])
        assert [id for id, _ in again.find("shop", "cases")] == ["2", "1"]
        assert again.mark("fold") == 7
        again.close()

    def test_a_closed_store_is_unavailable(self, documents: Documents) -> None:
        documents.close()
        for call in (lambda: documents.get("m", "c", "1"), lambda: documents.mark("n")):
            with pytest.raises(Unavailable, match="closed"):
                call()

    def test_closing_ends_what_another_thread_waits_for(self, tmp_path: Path, mongodb: Server) -> None:
        own = mongodb_server.start(tmp_path / "own")
        documents = MongoDocuments(f"mongodb://{own.address}/x?timeoutMS=600000")  # the driver would wait longer
        own.pause()
        with ThreadPoolExecutor() as threads:
            waiting = threads.submit(documents.get, "shop", "cases", "1")
            time.sleep(0.1)
            documents.close()
            with pytest.raises(Unavailable, match="closed"):
                waiting.result(240)
        own.kill()

    def test_a_large_batch_can_be_put_again(self, documents: Documents) -> None:
        rows = [("shop", "cases", str(n), b"{}") for n in range(250)]
        for _ in range(2):
            documents.put_many(rows, keys=entries_at([id for _, _, id, _ in rows]))
        assert len([*documents.find_by("shop", "cases", "k", limit=300)]) == 250

    def test_reads_use_indexes(self, documents: Documents) -> None:
        documents.put_many([("shop", "cases", "1", b"{}")], keys=entries(a=3))
        assert isinstance(documents, MongoDocuments)
        names = documents._run(indexes(documents, "cases")), documents._run(indexes(documents, "cases.entries"))
        assert names == (
            {"_id_", "merchant_1_place_-1", "merchant_1_id_1", "ends_1"},
            {"_id_", "merchant_1_key_1_at_-1_id_-1", "merchant_1_id_1", "ends_1"},
        )


async def indexes(documents: MongoDocuments, name: str) -> set[str]:
    return set(await documents._database[name].index_information())


@pytest.mark.sockets
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the driver leaves a socket whose time ran out to be found
def test_a_mongodb_that_is_not_there_is_unavailable() -> None:
    for limit, said in (("timeoutMS", "check that the server runs"), ("serverSelectionTimeoutMS", r"in 0\.2 s")):
        with pytest.raises(Unavailable, match=said):
            MongoDocuments(f"mongodb://127.0.0.1:{free_port()}/x?{limit}=200")
    gc.collect()


@pytest.mark.parametrize("url", ["mongodb://", "mongodb://host:port/x", "mongodb://host/x?w=never&wtimeoutms=no"])
def test_a_url_that_is_none_of_mongodb_is_told(url: str) -> None:
    with pytest.raises(BadInput, match="MongoDB"):
        MongoDocuments(url)


def vendor_errors(root: type[Exception]) -> list[type[Exception]]:
    return [root, *(e for child in root.__subclasses__() for e in vendor_errors(child))]


@pytest.mark.parametrize("error", vendor_errors(sqlite3.Error))
def test_every_sqlite_error_is_mapped(error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error("injected")

    monkeypatch.setattr(sqlite3, "connect", refuse)
    with pytest.raises(Unavailable, match="injected"):
        SqliteDocuments(tmp_path / "documents.sqlite")


@pytest.mark.parametrize("error", vendor_errors(pymongo.errors.PyMongoError))
def test_every_mongodb_error_is_mapped(error: type[Exception]) -> None:
    unconfigured = issubclass(error, pymongo.errors.ConfigurationError)
    with pytest.raises(BadInput if unconfigured else Unavailable, match="MongoDB"), mongo._mapped():
        raise error.__new__(error)

"""Every document store keeps the contract of ports/documents.py."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from avalist.adapters.memory.documents import MemoryDocuments
from avalist.adapters.sqlite.documents import SqliteDocuments
from avalist.domain.errors import Unavailable
from avalist.ports.documents import Documents

Row = tuple[str, str, str, bytes]


def broken_batch() -> Iterator[Row]:
    yield ("shop", "cases", "1", b"new")
    raise RuntimeError("the fold stopped here")


def entries(**at: int) -> list[tuple[str, str, str, int, str]]:
    """Return entries under the key ``k``."""
    return [("shop", "cases", "k", when, id) for id, when in at.items()]


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


def vendor_errors(root: type[Exception]) -> list[type[Exception]]:
    return [root, *(e for child in root.__subclasses__() for e in vendor_errors(child))]


@pytest.mark.parametrize("error", vendor_errors(sqlite3.Error))
def test_every_sqlite_error_is_mapped(error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error("injected")

    monkeypatch.setattr(sqlite3, "connect", refuse)
    with pytest.raises(Unavailable, match="injected"):
        SqliteDocuments(tmp_path / "documents.sqlite")

"""Documents in SQLite."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from avalist.domain.errors import Superseded, Unavailable

SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
    place INTEGER PRIMARY KEY, merchant TEXT NOT NULL, collection TEXT NOT NULL, id TEXT NOT NULL, json BLOB NOT NULL,
    UNIQUE (merchant, collection, id)
) STRICT;
CREATE INDEX IF NOT EXISTS newest ON documents (merchant, collection, place);
CREATE TABLE IF NOT EXISTS keys (
    merchant TEXT NOT NULL, collection TEXT NOT NULL, key TEXT NOT NULL, at INTEGER NOT NULL, id TEXT NOT NULL,
    PRIMARY KEY (merchant, collection, key, at, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS keys_of ON keys (merchant, collection, id);
CREATE TABLE IF NOT EXISTS ends (
    merchant TEXT NOT NULL, collection TEXT NOT NULL, id TEXT NOT NULL, at INTEGER NOT NULL,
    PRIMARY KEY (merchant, collection, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS due ON ends (at);
CREATE TABLE IF NOT EXISTS marks (name TEXT PRIMARY KEY, position INTEGER NOT NULL) STRICT;
"""
# An upsert keeps the row and so its place: newest first is by the first insertion of an id.
PUT = """
INSERT INTO documents (merchant, collection, id, json) VALUES (?, ?, ?, ?)
ON CONFLICT (merchant, collection, id) DO UPDATE SET json = excluded.json
"""
GET = "SELECT json FROM documents WHERE merchant = ? AND collection = ? AND id = ?"
FIND = "SELECT id, json FROM documents WHERE merchant = ? AND collection = ? ORDER BY place DESC LIMIT ?"
PUT_KEY = "INSERT OR IGNORE INTO keys VALUES (?, ?, ?, ?, ?)"
FIND_BY = """
SELECT keys.at, documents.json FROM keys JOIN documents USING (merchant, collection, id)
WHERE keys.merchant = ? AND keys.collection = ? AND key = ? AND at < ? ORDER BY at DESC, id DESC LIMIT ?
"""
PUT_END = """
INSERT INTO ends VALUES (?, ?, ?, ?) ON CONFLICT (merchant, collection, id) DO UPDATE SET at = excluded.at
"""
DUE = "SELECT merchant, collection, id FROM ends WHERE at <= ? LIMIT ?"
_TABLES = ("documents", "keys", "ends")
CLEAR = [f"DELETE FROM {table} WHERE merchant = ? AND collection = ?" for table in _TABLES]
DELETE = [f"{clear} AND id = ?" for clear in CLEAR]
PUT_MARK = "INSERT INTO marks VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET position = excluded.position"
BEGIN_MARK = "INSERT OR IGNORE INTO marks VALUES (?, 0)"
MOVE_MARK = "UPDATE marks SET position = ? WHERE name = ? AND position = ?"
_HIGHEST = 2**63 - 1
_SWEPT_AT_ONCE = 1_000
GET_MARK = "SELECT position FROM marks WHERE name = ?"


class SqliteDocuments:
    """Keep documents in one SQLite file, in write-ahead mode: other processes may read, and wait to write.

    Usable from several threads. A batch survives the death of the process; after a power loss the last batches may be
    missing, whole, together with their marks (``synchronous=NORMAL``), so a fold resumes where the documents are.

    Raises
    ------
    Superseded
        From ``put_many``, if the mark is not where it was expected.
    Unavailable
        From every method, for any error of SQLite; also when another writer holds the file longer than 10 s.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # A batch is one transaction on the one connection: without the lock another thread would read half of it.
        self._lock = threading.Lock()
        with self._mapped():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=10.0, isolation_level="IMMEDIATE", check_same_thread=False)
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute("PRAGMA synchronous = NORMAL")
                self._connection.execute("PRAGMA secure_delete = ON")  # the vault: what is deleted is overwritten
                self._connection.executescript(SCHEMA)
            except BaseException:
                self._connection.close()
                raise

    def put_many(
        self,
        rows: Iterable[tuple[str, str, str, bytes]],
        *,
        keys: Iterable[tuple[str, str, str, int, str]] = (),
        ends: Iterable[tuple[str, str, str, int]] = (),
        mark: tuple[str, int] | None = None,
        after: int | None = None,
    ) -> None:
        """Store all rows, entries, ends and the mark in one transaction, or nothing."""
        batch, entries, due = list(rows), list(keys), list(ends)
        with self._mapped(), self._lock, self._connection:
            if mark is not None:
                self._put_mark(*mark, after)
            self._connection.executemany(PUT, batch)
            self._connection.executemany(PUT_KEY, sorted(entries))
            self._connection.executemany(PUT_END, due)

    def _put_mark(self, name: str, position: int, after: int | None) -> None:
        if after is None:
            self._connection.execute(PUT_MARK, (name, position))
            return
        self._connection.execute(BEGIN_MARK, (name,))
        if not self._connection.execute(MOVE_MARK, (position, name, after)).rowcount:
            raise Superseded(f"{name} is no longer at {after}: another process went on")

    def get(self, merchant: str, collection: str, id: str) -> bytes | None:
        """Return one document's JSON, or None."""
        with self._mapped(), self._lock:
            row = self._connection.execute(GET, (merchant, collection, id)).fetchone()
        return None if row is None else bytes(row[0])

    def find(self, merchant: str, collection: str, *, limit: int = 100) -> Iterator[tuple[str, bytes]]:
        """Yield ``(id, json)``, newest first; all are read at once, so a slow caller holds no transaction."""
        with self._mapped(), self._lock:
            rows = self._connection.execute(FIND, (merchant, collection, max(limit, 0))).fetchall()
        return iter(rows)

    def find_by(
        self, merchant: str, collection: str, key: str, *, before: int | None = None, limit: int = 100
    ) -> Iterator[tuple[int, bytes]]:
        """Yield ``(at, json)`` of the documents under a key, the highest `at` first; all are read at once."""
        wanted = (merchant, collection, key, _HIGHEST if before is None else before, max(limit, 0))
        with self._mapped(), self._lock:
            rows = self._connection.execute(FIND_BY, wanted).fetchall()
        return iter(rows)

    def mark(self, name: str) -> int:
        """Return the position stored under `name`; 0 if none."""
        with self._mapped(), self._lock:
            row = self._connection.execute(GET_MARK, (name,)).fetchone()
        return 0 if row is None else int(row[0])

    def delete(self, merchant: str, collection: str, ids: Iterable[str]) -> int:
        """Delete documents with their entries; their content is overwritten."""
        wanted = [(merchant, collection, id) for id in ids]
        with self._mapped(), self._lock, self._connection:
            return self._delete(wanted)

    def sweep(self, now_ms: int) -> int:
        """Delete every document whose end has come, a thousand in a transaction."""
        swept = 0
        while True:
            with self._mapped(), self._lock, self._connection:
                due = self._connection.execute(DUE, (now_ms, _SWEPT_AT_ONCE)).fetchall()
                swept += self._delete(due)
            if len(due) < _SWEPT_AT_ONCE:
                return swept

    def _delete(self, wanted: list[tuple[str, str, str]]) -> int:
        found, *_ = [self._connection.executemany(delete, wanted).rowcount for delete in DELETE]
        return max(found, 0)

    def clear(self, merchant: str, collection: str) -> None:
        """Delete one collection of one merchant."""
        with self._mapped(), self._lock, self._connection:
            for clear in CLEAR:
                self._connection.execute(clear, (merchant, collection))

    def close(self) -> None:
        """Close the file. Closing twice is harmless."""
        with self._mapped(), self._lock:
            self._connection.close()

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise Unavailable(
                f"documents at {self._path}: {error}; check the disk and who else uses the file"
            ) from error

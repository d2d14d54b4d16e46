"""Payments that were answered locally and wait to be sent: in memory, or in a file that outlives the process."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_log = logging.getLogger("avalist_client")


class Waiting(NamedTuple):
    """One event, as JSON, and its place in the queue."""

    place: int
    body: bytes


class Outbox:
    """A bounded queue of events, for any number of threads; a file may be shared by any number of processes.

    The same event may be sent by two of them: the service counts it once. Beyond `limit` the oldest are dropped, and
    `dropped` counts them. The file holds what payments hold, in clear text: it is readable by its owner alone. A
    crash of the process loses nothing of it, a crash of the machine perhaps the last moments.
    """

    def __init__(self, path: str | Path | None = None, limit: int = 10_000) -> None:
        self.limit, self.dropped = limit, 0
        self._lock = threading.Lock()
        self._closed, self._left = False, 0
        if path is not None:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._db = sqlite3.connect(path or ":memory:", timeout=0.1, isolation_level=None, check_same_thread=False)
        if path is not None:
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS waiting"
            " (place INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT UNIQUE, body BLOB)"
        )

    def __len__(self) -> int:
        """Return how many events wait, or waited when it was closed."""
        with self._lock:
            if self._closed:
                return self._left
            (count,) = self._db.execute("SELECT count(*) FROM waiting").fetchone()
        return int(count)

    def put(self, event_id: str, body: bytes) -> None:
        """Add an event; one that waits already keeps its place. Raises nothing: a payment is being decided."""
        try:
            with self._lock:
                self._db.execute("INSERT OR IGNORE INTO waiting (event_id, body) VALUES (?, ?)", (event_id, body))
                (beyond,) = self._db.execute("SELECT count(*) - ? FROM waiting", (self.limit,)).fetchone()
                if beyond > 0:
                    self._drop(beyond)
        except sqlite3.Error as error:
            self.dropped += 1
            _log.error("the outbox takes nothing: payment event %s will never be sent: %s", event_id, error)

    def _drop(self, beyond: int) -> None:
        self._db.execute(
            "DELETE FROM waiting WHERE place IN (SELECT place FROM waiting ORDER BY place LIMIT ?)", (beyond,)
        )
        self.dropped += beyond
        _log.error("the outbox is full: %d payments will never be sent", self.dropped)

    def oldest(self, most: int) -> list[Waiting]:
        """Return the events that wait longest, at most so many; none once it is closed."""
        with self._lock:
            return [] if self._closed else [Waiting(*row) for row in self._db.execute(
                "SELECT place, body FROM waiting ORDER BY place LIMIT ?", (most,)
            )]  # fmt: skip

    def remove(self, events: Sequence[Waiting]) -> None:
        """Take events out, unless it is closed: then they are sent once more, and count once."""
        with self._lock:
            if not self._closed:
                self._db.executemany("DELETE FROM waiting WHERE place = ?", [(event.place,) for event in events])

    def put_off(self, event: Waiting) -> None:
        """Move an event to the end of the queue, unless it is closed."""
        with self._lock:
            if not self._closed:
                self._db.execute(
                    "UPDATE waiting SET place = (SELECT max(place) + 1 FROM waiting) WHERE place = ?", (event.place,)
                )

    def close(self) -> None:
        """Close the file; it keeps what waits."""
        left = len(self)
        with self._lock:
            self._closed, self._left = True, left
            self._db.close()

"""What must become an event though no broker may be there: sent, and spooled where that does not succeed at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from avalist.domain.errors import AvalistError
from avalist.domain.records import Record, RecordKind
from avalist.ports.asking import Deciders
from avalist.ports.log import Log

_AGAIN_S: Final = 1.0


class _Entry:
    __slots__ = ("merchant", "partition", "safe", "spooled", "then", "value")

    def __init__(self, partition: int, merchant: str, value: bytes, then: Callable[[], None]) -> None:
        self.partition, self.merchant, self.value, self.then = partition, merchant, value, then
        self.safe = self.spooled = False


class Spooling:
    """Keeps messages until the brokers have them. `open_spool` opens a local log, `clear_spool` makes it empty.

    The brokers may take `grace_s` to make a message safe before it is spooled. What an earlier process left in the
    spool is sent first. A message may be sent twice: deciders know it again.
    """

    def __init__(
        self,
        deciders: Deciders,
        open_spool: Callable[[], Log],
        clear_spool: Callable[[], None],
        now_ms: Callable[[], int],
        grace_s: float,
    ) -> None:
        self._deciders = deciders
        self._open_spool, self._clear_spool, self._now_ms = open_spool, clear_spool, now_ms
        self._grace_s = grace_s
        self._open: set[_Entry] = set()
        self._unsynced: list[_Entry] = []
        self._syncing = False
        self.failures = 0

    @property
    def depth(self) -> int:
        """Return how many messages lie in the spool alone."""
        return sum(entry.spooled for entry in self._open)

    def start(self) -> None:
        """Send what was left; called on the event loop, after the deciders' start."""
        self._loop, self._closed = asyncio.get_running_loop(), False
        self._spool = self._open_spool()
        for _, record in self._spool.read():
            entry = _Entry(record.seq, record.merchant, record.core, lambda: None)
            entry.spooled = True
            self._open.add(entry)
        for entry in list(self._open):
            self._send(entry)

    def keep(self, partition: int, merchant: str, value: bytes, then: Callable[[], None]) -> None:
        """Send a message; call `then` once it is safe, with the brokers or in the spool."""
        entry = _Entry(partition, merchant, value, then)
        self._open.add(entry)
        self._send(entry)
        self._loop.call_later(self._grace_s, self._put, entry)

    def close(self) -> None:
        """Leave what is not safe in the spool."""
        self._closed = True
        for entry in self._open:
            if not entry.spooled:
                self._append(entry)
        self._sync()
        self._spool.close()

    def _send(self, entry: _Entry) -> None:
        if not self._deciders.send(
            entry.partition, entry.merchant, entry.value, lambda safe: self._delivered(entry, safe)
        ):
            self._loop.call_later(_AGAIN_S, self._send, entry)

    def _delivered(self, entry: _Entry, safe: bool) -> None:
        if not safe:
            self._loop.call_later(_AGAIN_S, self._send, entry)
            return
        self._open.discard(entry)
        self._finish(entry)
        if entry.spooled and not self.depth and not self._syncing and not self._closed:
            self._spool.close()
            self._clear_spool()
            self._spool = self._open_spool()

    def _finish(self, entry: _Entry) -> None:
        if not entry.safe:
            entry.safe = True
            entry.then()

    def _put(self, entry: _Entry) -> None:
        """Spool a message that the brokers did not take in time."""
        if entry.safe:
            return
        self._append(entry)
        self._unsynced.append(entry)
        if not self._syncing:
            self._sync_later()

    def _sync_later(self) -> None:
        self._syncing = True
        batch, self._unsynced = self._unsynced, []
        self._loop.run_in_executor(None, self._sync).add_done_callback(lambda _: self._synced(batch))

    def _synced(self, batch: list[_Entry]) -> None:
        """Let those go that were spooled; where the disk failed too, their answers must leave all the same."""
        self._syncing = False
        for entry in batch:
            self._finish(entry)
        if self._unsynced:
            self._sync_later()

    def _append(self, entry: _Entry) -> None:
        record = Record(entry.merchant, entry.partition, RecordKind.FALLBACK, self._now_ms(), entry.value)
        try:
            self._spool.append([record])
            entry.spooled = True
        except AvalistError:
            self.failures += 1

    def _sync(self) -> None:
        try:
            self._spool.sync()
        except AvalistError:
            self.failures += 1

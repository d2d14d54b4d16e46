"""What must become an event though no broker may be there: sent, and spooled where that does not succeed at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
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
    spool is sent first. A message may be sent twice: deciders know it again. Where the disk fails too, answers leave
    all the same, and the spool is tried again each second.
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
        self._unwritten: list[_Entry] = []
        self._writing = threading.Lock()
        self._busy = False
        self._spool: Log | None = None
        self.failures = 0

    @property
    def depth(self) -> int:
        """Return how many messages lie in the spool alone."""
        return sum(entry.spooled for entry in self._open)

    def start(self) -> None:
        """Send what was left; called on the event loop, after the deciders' start."""
        self._loop, self._closed = asyncio.get_running_loop(), False
        self._spool = spool = self._open_spool()
        for _, record in spool.read():
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
        rest = [entry for entry in self._open if not entry.spooled]
        if rest:
            self._write(rest)
        with self._writing:
            self._close_spool()

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
        self._tidy()

    def _tidy(self) -> None:
        """Make the spool empty once the brokers have all that lies in it."""
        if self._spool is not None and not (self.depth or self._busy or self._closed):
            self._close_spool()
            self._clear_spool()

    def _finish(self, entry: _Entry) -> None:
        if not entry.safe:
            entry.safe = True
            entry.then()

    def _put(self, entry: _Entry) -> None:
        """Spool a message that the brokers did not take in time."""
        if entry in self._open and not entry.spooled and not self._closed:
            self._unwritten.append(entry)
            if not self._busy:
                self._write_later()

    def _write_later(self) -> None:
        self._busy = True
        batch, self._unwritten = self._unwritten, []
        writing = self._loop.run_in_executor(None, self._write, batch)
        writing.add_done_callback(lambda done: self._written(batch, spooled=done.result()))

    def _write(self, batch: Sequence[_Entry]) -> bool:
        """Write to the spool, opened again if it failed before; tell whether all lies there."""
        now_ms = self._now_ms()
        records = [Record(one.merchant, one.partition, RecordKind.FALLBACK, now_ms, one.value) for one in batch]
        with self._writing:
            try:
                self._spool = self._spool or self._open_spool()
                self._spool.append(records)
                self._spool.sync()
            except AvalistError:
                self.failures += 1
                self._close_spool()
                return False
        return True

    def _written(self, batch: Sequence[_Entry], *, spooled: bool) -> None:
        """Let those go that were spooled; where the disk failed too, their answers must leave all the same."""
        self._busy = False
        for entry in batch:
            entry.spooled = spooled
            self._finish(entry)
            if not spooled:
                self._loop.call_later(_AGAIN_S, self._put, entry)
        if self._unwritten and not self._closed:
            self._write_later()
        self._tidy()

    def _close_spool(self) -> None:
        spool, self._spool = self._spool, None
        if spool is not None:
            with suppress(AvalistError):
                spool.close()

"""The event log: the one truth (architecture §1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from avalist.domain.records import Record


class Log(Protocol):
    """One physical log: an append-only sequence of records, with one writer.

    Positions are opaque integers that grow; a record's position never changes. Contract:

    - ``append`` gives the records contiguous places, in order, and returns the position of each. It may only buffer;
    it never blocks on the disk.
    - ``sync`` makes everything appended before the call durable and returns the durable end. It may run on another
      thread than ``append``. After a failed ``sync`` or ``append`` every later call raises ``LogFailed``.
    - ``read`` yields ``(position, record)`` from `start` up to `stop` (default: everything appended), in order.
    - ``get`` returns one record; one that was appended and not yet synced is found too.
    - ``begin`` is the position of the first record that it still holds: what lay before was removed, and ``read`` and
    ``get`` raise ``NotFound`` for it. ``end`` is the position the next record will get; ``durable_end`` is how far a
    crash cannot reach.
    """

    @property
    def begin(self) -> int:
        """Return the position from which on every record is held."""
        ...

    @property
    def end(self) -> int:
        """Return the position after the last appended record."""
        ...

    @property
    def durable_end(self) -> int:
        """Return the position up to which everything is durable."""
        ...

    def append(self, records: Sequence[Record]) -> list[int]:
        """Append records and return their positions."""
        ...

    def sync(self) -> int:
        """Make all that was appended durable and return ``durable_end``."""
        ...

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, Record]]:
        """Yield records from `start` on."""
        ...

    def get(self, position: int) -> Record:
        """Return one record. Raises ``NotFound`` where none begins, ``LogCorrupt`` where it is damaged."""
        ...

    def close(self) -> None:
        """Sync and release every resource. Closing twice is harmless."""
        ...

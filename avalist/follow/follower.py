"""One reading of the log, passed to every fold."""

from __future__ import annotations

from typing import Protocol

from avalist.app.followed import Followed
from avalist.app.merchant import decode_event_core
from avalist.domain.records import Record, RecordKind
from avalist.follow.learning import LearningFold
from avalist.follow.state import MerchantStates
from avalist.ports.log import Log

_BATCH = 4000


class Fold(Protocol):
    """What is made of the log, and lasts: `position` is how far.

    ``take`` is called with each record from `position` on, in order; ``keep`` with a position that all records before
    it were taken. It comes between whole groups: an event and its answer are never parted.
    """

    @property
    def position(self) -> int:
        """Return how far it is."""
        ...

    def take(self, record: Record, position: int) -> None:
        """Take one record."""
        ...

    def keep(self, stop: int) -> int:
        """Make what was taken last, and set `position` to `stop`; return the number of documents written."""
        ...


class Follower:
    """Reads the durable log once for all its folds, `states` first. Call :meth:`advance` again and again."""

    def __init__(self, log: Log, states: MerchantStates, learning: LearningFold, *folds: Fold) -> None:
        self._log = log
        self.states, self.learning = states, learning
        self._folds: tuple[Fold, ...] = (states, learning, *folds)

    @property
    def position(self) -> int:
        """Return how far all folds are."""
        return min(fold.position for fold in self._folds)

    @property
    def behind_bytes(self) -> int:
        """Return how much durable log is not yet folded."""
        return max(self._log.durable_end - self.position, 0)

    def status(self, at_ms: int) -> Followed:
        """Return how far it is and what it found."""
        states, waves = self.states, self.states.waves
        return Followed(
            at_ms=at_ms,
            position=self.position,
            snapshot=states.saved,
            parity=states.parity.merchants,
            waves_open=waves.going_on if waves is not None else 0,
        )

    def advance(self) -> int:
        """Fold what became durable, at most one batch; return the number of documents written."""
        stop, taken = self._log.durable_end, 0
        records = self._log.read(self.position, stop)
        held = next(records, None)
        while held is not None:
            after = next(records, None)
            position, record = held
            if _begins(record) and (taken >= _BATCH or (after is None and _asks(record))):
                stop = position
                break
            taken += 1
            for fold in self._folds:
                if position >= fold.position:
                    fold.take(record, position)
            held = after
        return sum(fold.keep(stop) for fold in self._folds if stop > fold.position)


def _begins(record: Record) -> bool:
    return record.kind in (RecordKind.EVENT, RecordKind.CONTROL)


def _asks(record: Record) -> bool:
    """Tell whether an answer must follow. Where it is the log's last record a crash tore the two; recovery mends it."""
    return record.kind == RecordKind.EVENT and decode_event_core(record.core).asked

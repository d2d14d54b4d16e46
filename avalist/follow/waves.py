"""The fold that keeps waves: each as a document, and an alert that says in words what it shares."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal

import msgspec

from avalist.app.merchant import Merchant
from avalist.app.waves import ALERTS, MOST_IN_ALERT, WAVES, Alert, StoredWave, Wave, WaveBook, alert_id, read_waves
from avalist.domain.core import EventCore
from avalist.domain.records import Record
from avalist.features.layout import I64
from avalist.follow.place import Place
from avalist.ports.documents import Documents
from avalist.render.waves import in_words

_MOST_OPEN = 100
Row = tuple[str, str, str, bytes]


def waves_mark(generation: int) -> str:
    """Return the name of the mark of how far a generation's log is folded into waves."""
    return f"waves/1@{generation}"


class WaveDocuments:
    """Writes waves and alerts as payments are told of them; the position is stored with each batch.

    It goes on where the last one was: waves that went on then are found among the documents.
    """

    def __init__(self, documents: Documents, end: int, generation: int = 1, part: str = "") -> None:
        self._documents = documents
        self._place = Place(documents, waves_mark(generation) + part, end)
        self._books: dict[str, WaveBook] = {}
        self._merchants: dict[str, Merchant] = {}
        self._opened: set[tuple[str, str]] = set()

    @property
    def position(self) -> int:
        """Return how far it is."""
        return self._place.position

    def begin(
        self, position: int, merchants: Mapping[str, Merchant], read: Callable[[str], Iterable[tuple[int, Record]]]
    ) -> None:
        """Catch up with merchants whose state is folded to `position` already: from the records before it."""
        if self.position >= position:
            return
        for id, merchant in merchants.items():
            if merchant.features.watch:
                before = ((at, record) for at, record in read(id) if at < position)
                self._books[id], self._merchants[id] = read_waves(before, id).book, merchant
        self.keep(position)

    def told(
        self, merchant: Merchant, cores: Sequence[EventCore], positions: Sequence[int], rows: I64, marks: I64
    ) -> None:
        """Take in what events of a merchant were told, in order; of those before `position` the documents know."""
        first = bisect_left(positions, self.position)
        if first == len(cores):
            return
        if merchant.id not in self._books:
            self._books[merchant.id], self._merchants[merchant.id] = self._resumed(merchant), merchant
        self._books[merchant.id].note(cores[first:], rows[first:], marks[first:])

    def _resumed(self, merchant: Merchant) -> WaveBook:
        assert merchant.features.watch is not None
        book = WaveBook(merchant.schema, merchant.features.watch)
        found = self._documents.find(merchant.id, WAVES, limit=_MOST_OPEN)
        stored = [msgspec.json.decode(body, type=StoredWave) for _, body in found]
        going_on = [one for one in stored if not one.wave.closed]
        book.resume(going_on)
        self._opened |= {(merchant.id, one.wave.raised_by) for one in going_on}
        return book

    def take(self, record: Record, position: int) -> None:
        """Take one record: what is needed of it comes by :meth:`told`."""

    def keep(self, stop: int) -> int:
        """Write the waves that changed, and how far they are."""
        rows = [row for id, book in self._books.items() for row in self._rows(id, book)]
        self._place.put(rows, stop)
        return len(rows)

    def _rows(self, id: str, book: WaveBook) -> Iterable[Row]:
        merchant = self._merchants[id]
        book.settle(merchant.at_ms)
        for stored in book.changed():
            wave = stored.wave
            self._opened.discard((id, wave.raised_by)) if wave.closed else self._opened.add((id, wave.raised_by))
            yield id, WAVES, wave.raised_by, msgspec.json.encode(stored)
            for alert in _alerts(wave, merchant.schema.base_currency):
                yield id, ALERTS, alert_id(alert), msgspec.json.encode(alert)

    @property
    def going_on(self) -> int:
        """Return how many waves go on."""
        return len(self._opened)


def _alerts(wave: Wave, currency: str) -> Iterator[Alert]:
    """Yield what is to be said of a wave: that it was opened, which grows while it goes on, and that it is over.

    Of one that is over both: the same alerts stand whether it was followed or read from the log later.
    """
    yield _alert("wave.opened", wave, in_words(msgspec.structs.replace(wave, closed=False), currency), currency)
    if wave.closed:
        words = f"It is part of wave {wave.merged_into}." if wave.merged_into else in_words(wave, currency)
        yield _alert("wave.closed", wave, words, currency)


def _alert(type: Literal["wave.opened", "wave.closed"], wave: Wave, words: str, currency: str) -> Alert:
    return Alert(
        type=type,
        wave=wave.raised_by,
        at_ms=wave.opened_ms if type == "wave.opened" else wave.last_ms,
        words=words,
        payments=wave.count,
        amount_minor=wave.amount_minor,
        currency=currency,
        first_ms=wave.first_ms,
        last_ms=wave.last_ms,
        patterns=tuple(wave.patterns),
        shared=tuple(wave.shared),
        listed=tuple(wave.payments[:MOST_IN_ALERT]),
    )

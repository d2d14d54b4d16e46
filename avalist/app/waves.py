"""Waves as incidents: alarms of patterns that share payments, which payments they hold, and what these share."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal, NamedTuple

import msgspec
import numpy as np

from avalist.app.merchant import created_by, decode_event_core, plan_of
from avalist.domain.core import EventCore
from avalist.domain.errors import NotFound
from avalist.domain.facts import Facts
from avalist.domain.records import Record, RecordKind
from avalist.domain.row import AT
from avalist.domain.schema import WAVE_SOURCES, Schema
from avalist.enrich.patterns import age_class
from avalist.features.layout import I64
from avalist.features.wave import ALARMS, OPEN, QUIET_MS, RUN, Watch

WAVES: Final = "waves"
ALERTS: Final = "alerts"
"""Collections of a merchant's waves and of the alerts of them."""
MOST_IN_ALERT: Final = 100
MOST_LISTED: Final = 1_000
"""Payments that an incident lists; later ones are counted."""
_RECENT: Final = 4_000
_BATCH: Final = 8_192
_LEAST_SHARE, _LEAST_LIFT = 0.5, 2.0
_SMALL: Final = 8
"""A wave is compared at each of its first payments, then whenever it has doubled: each time costs milliseconds."""
_SHARED: Final = (
    "product", "item_kind", "method_kind", "bin", "issuer_country", "billing_country", "email_domain", "email_shape",
    "device_class", "device_shape",
)  # fmt: skip


class Listed(msgspec.Struct, frozen=True):
    """A payment of a wave; the amount is in base minor units."""

    payment_id: str
    at_ms: int
    amount_minor: int


class Shared(msgspec.Struct, frozen=True):
    """What a wave shares: a fact's value, the share of the wave's payments that have it, and of the merchant's others
    shortly before.
    """

    fact: str
    value: str
    share: float
    usual: float


class Wave(msgspec.Struct, kw_only=True):
    """A wave: from its first payment that is listed to its last; `opened_ms` is when the alarm was raised.

    `patterns` are the entities that were in alarm; it is over when `closed`. `raised_by` is the payment that raised the
    alarm; a wave that turned out to be part of another one names that one's.
    """

    id: int
    first_ms: int
    opened_ms: int
    last_ms: int
    count: int = 0
    amount_minor: int = 0
    closed: bool = False
    patterns: list[str] = []
    payments: list[Listed] = []
    shared: list[Shared] = []
    raised_by: str = ""
    merged_into: str = ""


class StoredWave(msgspec.Struct, frozen=True, kw_only=True):
    """A wave as a document: with the places and keys of its patterns, so that it can go on."""

    wave: Wave
    keys: tuple[tuple[int, int], ...]


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be said of a wave: that it began, and that it is over.

    `wave` is the payment that raised it, and names the wave; `words` say what its payments share, `listed` are the
    first hundred of them.
    """

    type: Literal["wave.opened", "wave.closed"]
    wave: str
    at_ms: int
    words: str
    payments: int
    amount_minor: int
    currency: str
    first_ms: int
    last_ms: int
    patterns: tuple[str, ...]
    shared: tuple[Shared, ...]
    listed: tuple[Listed, ...]


def alert_id(alert: Alert) -> str:
    """Return the id that an alert is stored under."""
    return f"{alert.type}/{alert.wave}"


class _Paid(NamedTuple):
    listed: Listed
    facts: Facts
    keys: tuple[int, ...]


class _Open:
    """A wave that goes on, with the values of its payments: those that are listed."""

    def __init__(self, wave: Wave) -> None:
        self.wave = wave
        self.patterns: set[tuple[int, int]] = set()
        self.listed: dict[str, _Paid] = {}
        self.resumed = False

    def add(self, paid: _Paid) -> None:
        listed, wave = paid.listed, self.wave
        if listed.payment_id in self.listed:
            return
        wave.first_ms, wave.last_ms = min(wave.first_ms, listed.at_ms), max(wave.last_ms, listed.at_ms)
        wave.count += 1
        wave.amount_minor += listed.amount_minor
        if len(self.listed) < MOST_LISTED:
            self.listed[listed.payment_id] = paid

    def absorb(self, other: _Open) -> None:
        """Take in another wave that turns out to be the same."""
        unlisted = other.wave.count - len(other.listed)
        rest_minor = other.wave.amount_minor - sum(paid.listed.amount_minor for paid in other.listed.values())
        for paid in other.listed.values():
            self.add(paid)
        self.patterns |= other.patterns
        self.wave.count += unlisted
        self.wave.amount_minor += rest_minor

    def tell(self) -> None:
        """List the payments in order of time."""
        self.wave.payments = sorted((paid.listed for paid in self.listed.values()), key=lambda one: one.at_ms)


class WaveBook:
    """Keeps one merchant's `waves` in the order in which they were opened: a fold of payments and their marks."""

    def __init__(self, schema: Schema, watch: Watch) -> None:
        self._places = [place for _, place in watch.watched]
        self._names = [name for name, _ in watch.watched]
        self._recent: deque[_Paid] = deque(maxlen=_RECENT)
        self._open: list[_Open] = []
        self._changed: dict[str, _Open] = {}
        self.waves: list[Wave] = []

    def resume(self, stored: Iterable[StoredWave]) -> None:
        """Go on with waves that were stored; what they share stays as it was told."""
        for one in stored:
            wave = _Open(one.wave)
            wave.patterns, wave.resumed = set(one.keys), True
            wave.listed = {listed.payment_id: _Paid(listed, Facts(), ()) for listed in one.wave.payments}
            self.waves.append(one.wave)
            self._open.append(wave)

    def changed(self) -> list[StoredWave]:
        """Return the waves that changed since this was asked last, their payments listed."""
        found = [*self._changed.values()]
        self._changed.clear()
        for one in found:
            one.tell()
        return [StoredWave(wave=one.wave, keys=tuple(sorted(one.patterns))) for one in found]

    def note(self, cores: Sequence[EventCore], rows: I64, marks: I64) -> None:
        """Take in payments with their rows int64 [n, width] and marks int64 [n, MARKS], in order."""
        keys, ats = rows[:, self._places].tolist(), rows[:, AT].tolist()
        told = marks[:, [RUN, ALARMS, OPEN]].tolist()
        for core, mine, at_ms, (run, alarms, open) in zip(cores, keys, ats, told, strict=True):
            facts = core.facts
            if facts is None or not core.payment_id:
                continue
            paid = _Paid(Listed(core.payment_id, at_ms, facts.amount_base_minor), facts, tuple(mine))
            if alarms:
                self._alarm(paid, open, run)
            self._recent.append(paid)

    def settle(self, at_ms: int) -> None:
        """Close what was quiet for long."""
        for one in self._open:
            one.tell()
            one.wave.closed = at_ms - one.wave.last_ms > QUIET_MS
            if one.wave.closed:
                self._changed[one.wave.raised_by] = one
        self._open = [one for one in self._open if not one.wave.closed]

    def _alarm(self, paid: _Paid, open: int, run: int) -> None:
        at_ms = paid.listed.at_ms
        if any(at_ms - one.wave.last_ms > QUIET_MS for one in self._open):
            self.settle(at_ms)
        patterns = {(n, key) for n, key in enumerate(paid.keys) if open >> n & 1}
        held = [one for one in self._open if one.patterns & patterns]
        wave = held[0] if held else self._begun(at_ms, paid.listed.payment_id)
        for other in held[1:]:
            wave.absorb(other)
            self._open.remove(other)
            self.waves.remove(other.wave)
            other.wave.closed, other.wave.merged_into = True, wave.wave.raised_by
            self._changed[other.wave.raised_by] = other
        for n, key in sorted(patterns - wave.patterns):
            before = [past for past in self._recent if past.keys[n] == key and at_ms - past.listed.at_ms <= QUIET_MS]
            for past in before[-max(run - 1, 0) :] if run > 1 else []:
                wave.add(past)
        wave.patterns |= patterns
        wave.add(paid)
        wave.wave.patterns = sorted({self._names[n] for n, _ in wave.patterns})
        self._changed[wave.wave.raised_by] = wave
        self._compare(wave)

    def _begun(self, at_ms: int, raised_by: str) -> _Open:
        wave = Wave(id=len(self.waves) + 1, first_ms=at_ms, opened_ms=at_ms, last_ms=at_ms, raised_by=raised_by)
        self.waves.append(wave)
        self._open.append(_Open(wave))
        return self._open[-1]

    def _compare(self, one: _Open) -> None:
        """Say what the wave shares; once it is large, not at every payment."""
        wave, mine = one.wave, len(one.listed)
        if one.resumed or (wave.count > _SMALL and wave.count & (wave.count - 1)):
            return
        values = Counter(value for paid in one.listed.values() for value in _values(paid.facts))
        others = [paid for paid in self._recent if paid.listed.payment_id not in one.listed]
        usual = Counter(value for paid in others for value in _values(paid.facts))
        found = [
            Shared(fact, value, count / mine, usual[fact, value] / max(len(others), 1))
            for (fact, value), count in values.items()
            if count >= _LEAST_SHARE * mine
        ]
        lifted = [shared for shared in found if shared.share >= _LEAST_LIFT * shared.usual]
        wave.shared = sorted(lifted, key=lambda shared: shared.usual / shared.share)


def _values(facts: Facts) -> list[tuple[str, str]]:
    found = [(name, getattr(facts, name)) for name in _SHARED]
    found.append(("amount_base_minor", str(facts.amount_base_minor)))
    found.append(("account_age", age_class(facts.account_age_s)))
    return [(name, value) for name, value in found if value]


def waves_of(
    records: Iterable[tuple[int, Record]], merchant: str, progress: Callable[[int], None] = lambda position: None
) -> tuple[Schema, list[Wave]]:
    """Return a merchant's schema and waves. Raises as :func:`read_waves`."""
    reader = read_waves(records, merchant, progress)
    return reader.schema, reader.book.waves


def read_waves(
    records: Iterable[tuple[int, Record]], merchant: str, progress: Callable[[int], None] = lambda position: None
) -> WaveReader:
    """Return a reader with a merchant's waves in its `book`, from its records alone: no column is read, so it is fast.

    Raises ``NotFound`` if the merchant is not in the log.
    """
    reader: WaveReader | None = None
    for position, record in records:
        if record.merchant != merchant:
            continue
        if reader is None:
            created = created_by(record)
            reader = WaveReader(created.schema, plan_of(created).width)
        elif record.kind == RecordKind.EVENT:
            reader.add(decode_event_core(record.core))
        progress(position)
    if reader is None:
        raise NotFound(f"no merchant {merchant!r} in the log")
    reader.finish()
    return reader


def watches(schema: Schema) -> bool:
    """Tell whether a schema asks for waves."""
    return any(number.source in WAVE_SOURCES for number in schema.numbers)


class WaveReader:
    """Folds a merchant's records into its `book`, and nothing else."""

    def __init__(self, schema: Schema, width: int) -> None:
        self.schema = schema
        self._width = width
        self._watch = Watch(schema)
        self.book = WaveBook(schema, self._watch)
        self._waiting: list[EventCore] = []
        self._at_ms = 0

    def add(self, core: EventCore) -> None:
        """Take one event."""
        self._waiting.append(core)
        if len(self._waiting) == _BATCH:
            self._fold()

    def finish(self) -> None:
        """Fold what waits, and close what was quiet for long."""
        self._fold()
        self.book.settle(self._at_ms)

    def _fold(self) -> None:
        if not self._waiting:
            return
        rows = np.frombuffer(b"".join([core.row for core in self._waiting]), dtype="<i8").reshape(-1, self._width)
        self._at_ms = int(rows[-1, AT])
        if self._watch:
            self._watch.fold(rows)
            self.book.note(self._waiting, rows, self._watch.marks)
        self._waiting.clear()

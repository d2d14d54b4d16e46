"""The vault: clear personal fields in rows that can be erased, each with an end; every read is noted (architecture §7).

A row holds the fields of one event that are kept equally long, sealed anew. It is found by the hashes of what it tells
of a person, keyed with the merchant's secret: without the secret nobody can ask for a person.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final, Literal, TypeVar, get_args

import msgspec
from cryptography.exceptions import InvalidTag

from avalist.domain.errors import BadInput
from avalist.domain.records import Record
from avalist.enrich.seal import Secret, seal, unseal
from avalist.enrich.shapes import normal_email
from avalist.ports.documents import Documents

VAULT: Final = "vault"
READS: Final = "vault_reads"
ERASURES: Final = "vault_erasures"

FIELDS: Final = ("billing", "cart", "custom", "customer", "device", "ip", "method", "payee", "session")
"""The parts of an event that may tell of a person; the rest of it stands in the log's facts."""
REST: Final = "*"
By = Literal["payment_id", "customer_id", "email", "phone", "ip", "device_id", "method"]

_DAY_MS: Final = 86_400_000
_AT_ONCE: Final = 500
_MOST_NOTED: Final = 100_000

T = TypeVar("T")
Row = tuple[str, str, str, bytes]
Entry = tuple[str, str, str, int, str]
End = tuple[str, str, str, int]


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A row: which fields of which event, sealed. It arrived at `at_ms`."""

    id: str
    at_ms: int
    type: str
    event_id: str
    fields: tuple[str, ...]
    sealed: bytes


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """What a row holds, in clear."""

    at_ms: int
    type: str
    event_id: str
    fields: dict[str, Any]


class Noted(msgspec.Struct, frozen=True, kw_only=True):
    """A read, or an erasure: who asked when for what, and why. The value itself is not kept, but its keyed hash."""

    at_ms: int
    who: str
    why: str
    by: By
    key: str
    rows: int


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Whose rows are wanted, and who asks why."""

    by: By
    value: str
    who: str
    why: str
    at_ms: int


class Vault:
    """The vault of every merchant, in a store of documents. `days` are kept by field; ``*`` stands for the others.

    `say` is told, in a sentence, of events that cannot be opened. `unwrap` opens what a log wrapped around sealed
    parts; None where nobody can any more.
    """

    def __init__(
        self,
        documents: Documents,
        secret: Secret,
        days: Mapping[str, int],
        say: Callable[[str], None] = lambda sentence: None,
        unwrap: Callable[[bytes], bytes | None] = lambda sealed: sealed,
    ) -> None:
        self._documents = documents
        self._secret = secret
        self._days = days
        self._say = say
        self._unwrap = unwrap
        self._applied: set[tuple[str, int]] = set()

    def put(self, records: Sequence[Record], mark: tuple[str, int], after: int | None = None) -> int:
        """Store the personal fields of events, and the mark with them; return how many rows. Raises ``Superseded``.

        What was erased stays so, though its event is read again.
        """
        erased = {merchant: self._erased(merchant) for merchant in {record.merchant for record in records}}
        rows: list[Row] = []
        entries: list[Entry] = []
        ends: list[End] = []
        for record in records:
            event = self._opened(record)
            secret, merchant, at_ms = self._secret(record.merchant), record.merchant, record.received_at_ms
            keys = sorted({key_of(secret, by, value) for by, value in told_of(event)})
            if any(at_ms <= erased[merchant].get(key, -1) for key in keys):
                continue
            for days, kept in self._kept(secret, at_ms, event):
                rows.append((merchant, VAULT, kept.id, msgspec.json.encode(kept)))
                entries += [(merchant, VAULT, key, at_ms, kept.id) for key in keys]
                ends.append((merchant, VAULT, kept.id, at_ms + days * _DAY_MS))
        self._documents.put_many(rows, keys=entries, ends=ends, mark=mark, after=after)
        for merchant in erased:
            self._erase_again(merchant)
        return len(rows)

    def read(self, merchant: str, asked: Asked) -> list[Shown]:
        """Return what is kept of a person, newest first; the read is noted before."""
        secret = self._secret(merchant)
        key = key_of(secret, asked.by, asked.value)
        found = self._find(merchant, key, _MOST_NOTED)
        self._note(merchant, READS, asked, key, len(found))
        return [
            Shown(
                at_ms=one.at_ms, type=one.type, event_id=one.event_id,
                fields=msgspec.msgpack.decode(unseal(secret, one.at_ms, one.sealed)),
            )
            for one in found
        ]  # fmt: skip

    def erase(self, merchant: str, asked: Asked) -> int:
        """Delete what is kept of a person, up to now, and note it; return how many rows."""
        key = key_of(self._secret(merchant), asked.by, asked.value)
        # Noted first: what the follower writes in this moment is then erased by the follower.
        self._note(merchant, ERASURES, asked, key, len(self._find(merchant, key, _MOST_NOTED)))
        return self._delete(merchant, key, asked.at_ms)

    def noted(self, merchant: str, collection: str) -> list[Noted]:
        """Return the reads or the erasures that are noted, the newest first."""
        found = self._documents.find(merchant, collection, limit=_MOST_NOTED)
        return [msgspec.json.decode(body, type=Noted) for _, body in found]

    def _note(self, merchant: str, collection: str, asked: Asked, key: str, rows: int) -> None:
        note = Noted(at_ms=asked.at_ms, who=asked.who, why=asked.why, by=asked.by, key=key, rows=rows)
        body = msgspec.json.encode(note)
        id = f"{asked.at_ms:013d}-{blake2b(body, digest_size=8).hexdigest()}"
        self._documents.put_many([(merchant, collection, id, body)])

    def _find(self, merchant: str, key: str, limit: int) -> list[Kept]:
        found = self._documents.find_by(merchant, VAULT, key, limit=limit)
        return [msgspec.json.decode(body, type=Kept) for _, body in found]

    def _delete(self, merchant: str, key: str, at_ms: int) -> int:
        gone = 0
        while found := [
            body for _, body in self._documents.find_by(merchant, VAULT, key, before=at_ms + 1, limit=_AT_ONCE)
        ]:
            gone += self._documents.delete(merchant, VAULT, [msgspec.json.decode(body, type=Kept).id for body in found])
        return gone

    def _erased(self, merchant: str) -> dict[str, int]:
        """Return until when a key's rows are erased."""
        return {one.key: one.at_ms for one in reversed(self.noted(merchant, ERASURES))}

    def _erase_again(self, merchant: str) -> None:
        """Carry out erasures that were noted while rows were on their way."""
        for key, at_ms in self._erased(merchant).items():
            if (merchant + key, at_ms) not in self._applied:
                self._applied.add((merchant + key, at_ms))
                self._delete(merchant, key, at_ms)

    def _opened(self, record: Record) -> dict[str, Any]:
        """Return a record's event as it was sent; nothing where its secret is another one, or its day's key is gone."""
        sealed = self._unwrap(record.sealed)
        if sealed is None:
            return {}
        try:
            clear = unseal(self._secret(record.merchant), record.received_at_ms, sealed)
        except InvalidTag:
            self._say(f"the sealed part of {record.merchant}'s event {record.seq} does not open with its secret")
            return {}
        event: dict[str, Any] = msgspec.msgpack.decode(clear)
        return event

    def _kept(self, secret: bytes, at_ms: int, event: dict[str, Any]) -> Iterator[tuple[int, Kept]]:
        """Yield an event's rows, each with the days that it is kept."""
        by_days: dict[int, dict[str, Any]] = {}
        for name in FIELDS:
            days = self._days.get(name, self._days.get(REST, 0))
            if days and event.get(name) not in (None, {}, []):
                by_days.setdefault(days, {})[name] = event[name]
        for days, fields in by_days.items():
            id, clear = f"{at_ms}/{event['event_id']}/{days}", msgspec.msgpack.encode(fields)
            content = blake2b(clear, digest_size=16, key=secret, person=b"avalist-vault").digest() + id.encode()
            sealed = seal(secret, at_ms, content, clear)
            yield (
                days,
                Kept(
                    id=id, at_ms=at_ms, type=event["type"], event_id=event["event_id"], fields=(*fields,), sealed=sealed
                ),
            )


def copy_erasures(old: Documents, new: Documents, merchants: Iterable[str]) -> int:
    """Take along what was noted of erasures and reads to another store; return how many erasures there are.

    What is read from the log again there stays erased.
    """
    erasures = 0
    for merchant in merchants:
        for collection in (ERASURES, READS):
            found = [*old.find(merchant, collection, limit=_MOST_NOTED)]
            new.put_many([(merchant, collection, id, body) for id, body in reversed(found)])
            erasures += len(found) if collection == ERASURES else 0
    return erasures


def key_of(secret: bytes, by: By, value: str) -> str:
    """Return the keyed hash by which a person's rows are found. An e-mail address counts however it is spelt."""
    text = normal_email(value) if by == "email" else value
    return f"{by}:{blake2b(text.encode(), digest_size=16, key=secret, person=b'avalist-vault').hexdigest()}"


def told_of(event: Mapping[str, Any]) -> Iterator[tuple[By, str]]:
    """Yield what an event tells of persons that they can be found by.

    >>> list(told_of({"customer": {"id": "ann", "email": "a@b.c"}, "ip": "192.0.2.7"}))
    [('customer_id', 'ann'), ('email', 'a@b.c'), ('ip', '192.0.2.7')]
    """
    customer, device, method = (event.get(name) or {} for name in ("customer", "device", "method"))
    told: list[tuple[By, Any]] = [
        ("payment_id", event.get("payment_id")),
        *((by, customer.get(name)) for by, name in _OF_CUSTOMER),
        ("ip", event.get("ip")),
        ("device_id", device.get("id")),
        *(("method", method.get(name)) for name in ("fingerprint", "account", "address")),
        *(("email", item.get("recipient_email")) for item in event.get("cart") or ()),
    ]
    return ((by, value) for by, value in told if value)


_OF_CUSTOMER: Final[tuple[tuple[By, str], ...]] = (("customer_id", "id"), ("email", "email"), ("phone", "phone"))


def days_of(text: str) -> dict[str, int]:
    """Return how many days the fields are kept. Raises ``BadInput``.

    >>> days_of("ip=485,device=485,*=400")
    {'ip': 485, 'device': 485, '*': 400}
    """
    days: dict[str, int] = {}
    for part in text.split(","):
        name, _, number = (piece.strip() for piece in part.partition("="))
        if name not in (*FIELDS, REST) or not number.isdecimal():
            expected = f"name=days with commas between; names: {', '.join(FIELDS)}, or * for the others"
            raise BadInput("not a retention", field="vault_retention_d", expected=expected, got=part[:64])
        days[name] = int(number)
    return days


def by_of(text: str) -> By:
    """Return what rows are found by. Raises ``BadInput``."""
    if text not in get_args(By):
        raise BadInput("rows are not found by that", field="--by", expected=" or ".join(get_args(By)), got=text[:32])
    by: By = text  # type: ignore[assignment]
    return by

"""What gateways ask of deciders, and what these reply: messages of the topics ``events`` and ``replies``, msgpack.

What may hold clear personal data is sealed with the merchant's secret: the brokers keep it for days.
"""

from __future__ import annotations

import hashlib
import zlib
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag

from avalist.app.stored import StoredDecision
from avalist.domain import errors
from avalist.domain.core import Why
from avalist.domain.decisions import Decision
from avalist.domain.errors import AvalistError, BadInput, Unavailable
from avalist.domain.keys import owner_of
from avalist.enrich.seal import seal, unseal


class _Message(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Every message: `request` is by what its gateway knows the reply again; empty where it wants none."""

    request: bytes


class _Sealed(_Message, frozen=True, array_like=True, gc=False):
    """A message with a sealed part; `at_ms` is the gateway's time, which names the month's key."""

    merchant: str
    at_ms: int
    sealed: bytes

    def clear(self, secret: bytes) -> bytes:
        """Return the sealed part. Raises ``BadInput`` if it does not open."""
        return opened(secret, self.at_ms, self.sealed)


class Decide(_Sealed, frozen=True, array_like=True, gc=False, tag="decide"):
    """Decide a payment; its JSON is sealed."""


class Fallen(_Sealed, frozen=True, array_like=True, gc=False, tag="fallen"):
    """The gateway gave this answer to a payment by itself; it is the first answer, unless there was a fallback before.

    The payment comes with it, for nobody else may have got it.
    """

    answer: Decision
    why: Why


class Record(_Sealed, frozen=True, array_like=True, gc=False, tag="record"):
    """Record events without deciding; a JSON list of them is sealed."""


class Administer(_Sealed, frozen=True, array_like=True, gc=False, tag="administer"):
    """Carry out an operator's request; its JSON is sealed."""


class PutTables(_Message, frozen=True, array_like=True, gc=False, tag="put_tables"):
    """Put reference tables in force for every merchant of the partition."""

    version: int


class Find(_Message, frozen=True, array_like=True, gc=False, tag="find"):
    """Find the decision on a payment at a checkpoint, while the follower has not made it a document yet."""

    merchant: str
    payment_id: str
    checkpoint: str


Asked = Decide | Fallen | Record | Administer | PutTables | Find


class Told(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An error of ours, on its way to the gateway."""

    kind: str
    message: str
    field: str = ""
    expected: str = ""
    got: str = ""


class Decided(_Message, frozen=True, array_like=True, gc=False, tag="decided"):
    """The first answer to a payment; it is durable."""

    answer: Decision


class Refused(_Message, frozen=True, array_like=True, gc=False, tag="refused"):
    """What was wrong with all that was asked."""

    error: Told


class Recorded(_Message, frozen=True, array_like=True, gc=False, tag="recorded"):
    """Events are recorded, but for those at these places of the list."""

    errors: tuple[tuple[int, Told], ...] = ()


class CarriedOut(_Message, frozen=True, array_like=True, gc=False, tag="carried_out"):
    """An operator's request was carried out; what it answers is JSON, sealed: it may hold a new key."""

    at_ms: int
    sealed: bytes


class TablesPut(_Message, frozen=True, array_like=True, gc=False, tag="tables_put"):
    """The tables are in force; for so many merchants of the partition that was news."""

    changed: int


class Found(_Message, frozen=True, array_like=True, gc=False, tag="found"):
    """A decision that was looked for, as it is stored."""

    stored: StoredDecision


Reply = Decided | Refused | Recorded | CarriedOut | TablesPut | Found

encode_message: Final = msgspec.msgpack.Encoder().encode
_ASKED: Final[msgspec.msgpack.Decoder[Asked]] = msgspec.msgpack.Decoder(Asked)
_OFFICE: Final = (b"administer", b"put_tables")
_REPLY: Final[msgspec.msgpack.Decoder[Reply]] = msgspec.msgpack.Decoder(Reply)
decode_reply: Final = _REPLY.decode


def decode_asked(value: bytes) -> Asked:
    """Decode what a gateway asks. Raises ``BadInput``."""
    try:
        return _ASKED.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadInput(
            f"no message of this version: {error}", field="value", expected="what a gateway of this version asks"
        ) from None


def is_office(value: bytes) -> bool:
    """Tell whether a message is an operator's, without decoding it: its tag stands behind the heads of array and text.

    >>> is_office(encode_message(PutTables(b"", 7))), is_office(encode_message(Find(b"", "shop", "p1", "pre_auth")))
    (True, False)
    """
    return value[2:12] in _OFFICE


def sealed(secret: bytes, at_ms: int, clear: bytes) -> bytes:
    """Seal a part of a message."""
    return seal(secret, at_ms, hashlib.blake2b(clear, digest_size=16).digest(), clear)


def opened(secret: bytes, at_ms: int, part: bytes) -> bytes:
    """Open a sealed part. Raises ``BadInput`` if it was sealed with another secret, or altered."""
    try:
        return unseal(secret, at_ms, part)
    except (InvalidTag, ValueError):
        raise BadInput(
            "a sealed part does not open: gateway and decider must have the same secrets",
            field="sealed",
            expected="sealed with the merchant's secret",
        ) from None


def tell(error: AvalistError) -> Told:
    """Return an error as it travels.

    >>> raised(tell(BadInput("no such currency", field="$.currency"))).field
    '$.currency'
    """
    return Told(type(error).__name__, str(error), error.field, error.expected, error.got)


def raised(told: Told) -> AvalistError:
    """Return the error that travelled."""
    kind: type[AvalistError] = getattr(errors, told.kind, Unavailable)
    return kind(told.message, field=told.field, expected=told.expected, got=told.got)


def partition_of(merchant: str, partitions: int) -> int:
    """Return the partition that a merchant's messages go to, and its sandbox twins' too. It must never change.

    >>> partition_of("shop", 12) == partition_of("shop~3", 12) == 6
    True
    """
    return zlib.crc32(owner_of(merchant).encode()) % partitions

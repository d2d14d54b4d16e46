"""What stands in the log: records, and the kinds of event the kernel tells apart."""

from __future__ import annotations

from enum import IntEnum

import msgspec

from avalist.domain.errors import LogCorrupt


class RecordKind(IntEnum):
    """Inputs are folded into state; outputs are compared by replay."""

    EVENT = 1
    CONTROL = 2
    DECISION = 3
    FALLBACK = 4


class Record(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One entry of the log.

    `seq` is the merchant's own counter over inputs (events, control events, fallbacks); a decision carries the ``seq``
    of the event it answers. `core` is all that ``decide()`` can read, msgpack; `sealed` is encrypted clear text, or
    empty.
    """

    merchant: str
    seq: int
    kind: int
    received_at_ms: int
    core: bytes
    sealed: bytes = b""


encode_record = msgspec.msgpack.Encoder().encode
"""Return a record as every log keeps it: msgpack, an array."""

_decode = msgspec.msgpack.Decoder(Record).decode


def decode_record(payload: bytes | memoryview, position: int) -> Record:
    """Return the record that stands at `position`. Raises ``LogCorrupt`` where its bytes are none.

    >>> record = Record("shop", 1, RecordKind.EVENT, 0, b"core")
    >>> decode_record(encode_record(record), position=7) == record
    True
    """
    try:
        return _decode(payload)
    except msgspec.MsgspecError as error:
        raise LogCorrupt(
            f"the record at position {position} does not decode as this version's Record: {error}"
        ) from error


class FoldKind(IntEnum):
    """How the kernel folds an event; features select kinds by bit mask ``1 << kind``."""

    PAYMENT = 0
    SIGN_UP = 1
    LOGIN_OK = 2
    LOGIN_FAILED = 3
    PROFILE_CHANGE = 4
    KYC_STEP = 5
    SESSION = 6
    AUTH_APPROVED = 7
    AUTH_DECLINED = 8
    OUTCOME = 9
    READ_ONLY = 10

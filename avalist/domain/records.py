"""What stands in the log: records, and the kinds of event the kernel tells apart."""

from __future__ import annotations

from enum import IntEnum

import msgspec


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

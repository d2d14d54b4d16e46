"""The error tree. Every error the product raises on purpose is one of these.

::

    AvalistError
    ├── BadInput                 the caller can mend it               HTTP 400/422
    │   ├── CardNumberRefused    a card number stands in the payload  HTTP 422
    │   ├── BodyTooLarge         more bytes than the settings allow   HTTP 413
    │   ├── UnsupportedMedia     a body that is not plain UTF-8 JSON  HTTP 415
    │   ├── UnknownVersion       a version of the contract not known  HTTP 400
    │   ├── UnknownCurrency      no rate from it to the base currency HTTP 422
    │   └── ClockWentBack        supplied received_at decreases       HTTP 422
    ├── NotAuthenticated         no key, or not a known one           HTTP 401
    ├── NotAllowed               the key lacks the scope              HTTP 403
    ├── NotFound                 no such merchant, payment, decision  HTTP 404
    ├── Conflict                 same id, other content               HTTP 409
    ├── Overloaded               the bounded queue is full            HTTP 429
    │   └── RateLimited          the key sends more than its limit    HTTP 429
    ├── Unavailable              not ready, or the log has failed     HTTP 503
    │   ├── LogFailed            an append failed; the decider stops
    │   └── Superseded           another process does this work now
    ├── LogCorrupt               a record before the tail is damaged
    ├── DataFolderLocked         another process owns the data folder
    ├── ReplayMismatch           replay and log disagree
    └── ArtefactInvalid          a model artefact does not check out
"""

from __future__ import annotations

from typing import Self


class AvalistError(Exception):
    """Base of every deliberate error; its message says what to do next.

    Parameters
    ----------
    detail
        One sentence: what is wrong and how to mend it.
    field
        Path of the offending field, such as ``$.cart[0].kind``; empty if none.
    expected
        What was expected there.
    got
        What came, shortened; never a card number.
    """

    def __init__(self, detail: str = "", *, field: str = "", expected: str = "", got: str = "") -> None:
        super().__init__(detail)
        self.detail, self.field, self.expected, self.got = detail, field, expected, got

    def alone(self) -> Self:
        """Return self without traceback and context, to be kept: their frames would hold whatever keeps it, a cycle."""
        self.__context__ = None
        return self.with_traceback(None)


class BadInput(AvalistError):
    """Input the caller can mend."""


class CardNumberRefused(BadInput):
    """A card number stands in the payload; it was neither stored nor logged."""


class BodyTooLarge(BadInput):
    """The body has more bytes than the settings allow."""


class UnsupportedMedia(BadInput):
    """The headers say that the body is something else than JSON in UTF-8, or compressed."""


class UnknownVersion(BadInput):
    """The request pins a version of the contract that this service does not speak."""


class UnknownCurrency(BadInput):
    """The payment's currency has no rate to the merchant's base currency."""


class ClockWentBack(BadInput):
    """A supplied ``received_at`` is earlier than one already given."""


class NotAuthenticated(AvalistError):
    """The request carries no key, or one nobody issued."""


class NotAllowed(AvalistError):
    """The key is known but lacks the scope."""


class NotFound(AvalistError):
    """The named thing does not exist for this merchant."""


class Conflict(AvalistError):
    """An id was used before with other content."""


class Overloaded(AvalistError):
    """The bounded queue is full; try again after a moment."""


class RateLimited(Overloaded):
    """The key sends more requests than its limit; try again after a moment."""


class Unavailable(AvalistError):
    """The service cannot answer now."""


class LogFailed(Unavailable):
    """An append failed: memory is ahead of the log, so the decider must stop."""


class Superseded(Unavailable):
    """Another process does this work now: what this one would have written is old, and was not written."""


class LogCorrupt(AvalistError):
    """A record that was once durable no longer checks out."""


class DataFolderLocked(AvalistError):
    """Another process owns the data folder."""


class ReplayMismatch(AvalistError):
    """Replay gave another decision or state than the log holds."""


class ArtefactInvalid(AvalistError):
    """A model artefact is damaged, or was made for another plan."""

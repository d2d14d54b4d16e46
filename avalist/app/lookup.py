"""Look-up: a merchant's decisions by what it knows in clear text, hashed on the way (architecture §7)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from avalist.domain.decisions import Decision
from avalist.domain.facts import Facts

By = Literal["payment_id", "customer_id", "email", "fingerprint", "ip", "device_id"]


class Lookup(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which decisions are wanted: those on payments with this `value`, in clear text; it is hashed and not kept.

    `before` is the ``next`` of an earlier answer: it continues where that one ended.
    """

    by: By
    value: Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
    limit: Annotated[int, msgspec.Meta(ge=1, le=200)] = 50
    before: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)] | None = None


class FoundDecision(msgspec.Struct, frozen=True, kw_only=True):
    """A decision that was found, and the facts it was made from; its features are at ``GET /v1/decisions/{id}``."""

    decision: Decision
    facts: Facts | None


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """The decisions found, newest first. `next` continues the list; None where it ends."""

    decisions: tuple[FoundDecision, ...]
    next: int | None = None

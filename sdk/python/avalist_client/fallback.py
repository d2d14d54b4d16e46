"""The merchant's own answer when the service gives none in time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from avalist_client import types

Mode = Literal["live", "observe", "off"]


class Decision(types.Decision, frozen=True, kw_only=True):
    """A decision, of the service or of the local fallback.

    `local` is true for the fallback's: it is ``degraded``, not ``durable``, and `why` says what went wrong.
    """

    local: bool = False
    why: str = ""


class Fallback(msgspec.Struct, frozen=True, kw_only=True):
    """What to answer without the service: approve up to an amount in the payment's own currency, else `beyond`.

    A currency that is not named has no such amount.

    >>> fallback = Fallback(approve_up_to_minor={"EUR": 2_000}, beyond="decline")
    >>> [fallback.action(*amount) for amount in [(2_000, "EUR"), (2_001, "EUR"), (5, "JPY")]]
    ['approve', 'decline', 'decline']
    """

    approve_up_to_minor: Mapping[str, int] = {}
    beyond: Literal["review", "decline"] = "review"

    def __post_init__(self) -> None:
        """Check it now, for an outage is a bad time to learn of a slip. Raises ``ValueError``."""
        for currency, amount in self.approve_up_to_minor.items():
            check_number(f"approve_up_to_minor[{currency!r}]", amount, 0, 2**63 - 1)
        if self.beyond not in ("review", "decline"):
            raise ValueError(f"beyond: expected 'review' or 'decline', got {self.beyond!r}")

    def action(self, amount_minor: int, currency: str) -> types.Action:
        """Return the action for an amount; what is no amount is not approved."""
        most = self.approve_up_to_minor.get(currency, -1)
        return "approve" if isinstance(amount_minor, int) and 0 <= amount_minor <= most else self.beyond


def check_number(name: str, value: object, least: int, most: int) -> None:
    """Raise ``ValueError`` for what is no whole number from `least` to `most`."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{name}: expected a whole number from {least} to {most}, got {value!r}")


def fall_back(payment: types.DecisionRequest, fallback: Fallback, mode: Mode, why: str) -> Decision:
    """Return the local answer to a payment. In a mode other than ``live`` it is ``not_reviewed``, as the service's."""
    live = mode == "live"
    return Decision(
        payment_id=payment["payment_id"],
        event_id=payment["event_id"],
        checkpoint=payment.get("checkpoint", "pre_auth"),
        action=fallback.action(payment["amount_minor"], payment["currency"]) if live else "not_reviewed",
        seq=0,
        engine=0,
        mode=mode,
        degraded=True,
        durable=False,
        generation=0,
        local=True,
        why=why,
    )

"""What each action is expected to earn (modelling §4, without budgets)."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from avalist.domain.decisions import Action
from avalist.domain.events import UNDECODABLE, bad_body

Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Minor = Annotated[int, msgspec.Meta(ge=0, le=10**9)]
Number = TypeVar("Number", float, npt.NDArray[np.float64])
"""One payment, or many at once."""


class Fallback(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The answer when no decision can be had in time: approve up to an amount (base minor units), else `beyond`."""

    approve_up_to_minor: Minor = 2_000
    beyond: Literal["review", "decline"] = "review"

    def action(self, amount_base_minor: int) -> Action:
        """Return the fallback's action for an amount."""
        return Action.APPROVE if amount_base_minor <= self.approve_up_to_minor else Action(self.beyond)


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A merchant's economics, in base minor units.

    `margin` is the contribution margin (share of the amount), `chargeback_cost_minor` φ, `lifetime_value_minor` L:
    what declining an honest customer loses beyond the sale; `dispute_share` the share of fraud reports that become
    chargebacks; `deadline_ms` the time a request is given unless it says otherwise.
    """

    margin: Share = 0.08
    chargeback_cost_minor: Minor = 2_000
    lifetime_value_minor: Minor = 300
    dispute_share: Share = 1.0
    deadline_ms: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 50
    fallback: Fallback = Fallback()


def expected_profit(p_fraud: Number, amount_minor: Number, policy: Policy) -> tuple[Number, Number]:
    """Return the expected profit of approving and of declining, in base minor units.

    Approve: (1−p)·m·a − p·[(1−m)·a + φ]; decline: −(1−p)·L, with p the probability of a fraud *chargeback*.

    >>> expected_profit(0.0, 10_000, Policy(margin=0.1))
    (1000.0, -300.0)
    """
    p = p_fraud * policy.dispute_share
    margin = policy.margin * amount_minor
    approve = (1.0 - p) * margin - p * (amount_minor - margin + policy.chargeback_cost_minor)
    return approve, -(1.0 - p_fraud) * policy.lifetime_value_minor


def choose(p_fraud: float, amount_minor: int, policy: Policy) -> tuple[Action, dict[str, int]]:
    """Return the more profitable action, ties approving, and both profits rounded to minor units."""
    approve, decline = expected_profit(p_fraud, amount_minor, policy)
    action = Action.APPROVE if approve >= decline else Action.DECLINE
    return action, {"approve": round(approve), "decline": round(decline)}


def decode_policy(policy: bytes) -> Policy:
    """Decode a policy from JSON. Raises ``BadInput`` naming the field."""
    try:
        return msgspec.json.decode(policy, type=Policy)
    except UNDECODABLE as error:
        raise bad_body(error, kind=Policy) from None


def policy_version(policy: Policy) -> str:
    """Return the version of a policy: a hash of its content."""
    return hashlib.blake2b(msgspec.json.encode(policy), digest_size=6).hexdigest()

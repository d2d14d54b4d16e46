"""A merchant's policy, and what each action is expected to earn under it (modelling §4)."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from avalist.domain.decisions import Action
from avalist.domain.events import UNDECODABLE, bad_body

Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Minor = Annotated[int, msgspec.Meta(ge=0, le=10**9)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
BasisPoints = Annotated[float, msgspec.Meta(gt=0.0, le=10_000.0)]
Number = TypeVar("Number", float, npt.NDArray[np.float64])
"""One payment, or many at once."""


class Fallback(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The answer when no decision can be had in time: approve up to an amount (base minor units), else `beyond`."""

    approve_up_to_minor: Minor = 2_000
    beyond: Literal["review", "decline"] = "review"

    def action(self, amount_base_minor: int) -> Action:
        """Return the fallback's action for an amount."""
        return Action.APPROVE if amount_base_minor <= self.approve_up_to_minor else Action(self.beyond)


class IssuerRates(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How 3-D Secure goes at one issuer country: the shares of honest customers and of fraud that get through.

    `shift` replaces the challenge's own where it is said.
    """

    passes_honest: Share
    passes_fraud: Share
    shift: Share | None = None


class Challenge(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What 3-D Secure costs and does; the defaults are guesses to replace.

    `shift` is the share of fraud that got through whose liability lies with the issuer; `by_issuer_country` replaces
    the rates where the issuer's country is known.
    """

    cost_minor: Minor = 10
    passes_honest: Share = 0.9
    passes_fraud: Share = 0.3
    shift: Share = 0.9
    by_issuer_country: dict[Name, IssuerRates] = {}


class Review(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a look by a person costs and finds.

    `catches` is the share of fraud that is found, `passes` that of honest payments let through; `in_time` the share
    of reviews done before `deadline_s`: the rest get `default`.
    """

    cost_minor: Minor = 300
    catches: Share = 0.8
    passes: Share = 0.95
    capacity_per_day: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 50
    deadline_s: Annotated[int, msgspec.Meta(ge=1, le=30 * 86_400)] = 3_600
    in_time: Share = 0.9
    default: Literal["approve", "decline"] = "decline"


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Amounts (base minor units) above which a payment is not approved just so, whatever it is expected to earn.

    `by_product` goes before `by_item_kind`; `new_account_minor` is for accounts younger than `new_account_s` or of
    unknown age.
    """

    by_product: dict[Name, Minor] = {}
    by_item_kind: dict[Name, Minor] = {}
    new_account_minor: Minor | None = None
    new_account_s: Annotated[int, msgspec.Meta(ge=1, le=10**9)] = 86_400


class Budgets(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The most fraud chargebacks a merchant will have, in basis points of what is approved: by count, by value.

    To hold them, a chargeback is priced at `price_cap` times its amount more at most: a budget that cannot be held does
    not stop the shop.
    """

    count_bps: BasisPoints | None = None
    value_bps: BasisPoints | None = None
    price_cap: Annotated[float, msgspec.Meta(ge=0.0, le=100.0)] = 3.0


class Exploration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether some would-be declines are released, to learn what they were.

    `share` is about how many of them, on average; one payment's chance lies between `floor` and `cap`. Nothing above
    `order_limit_minor` is released, and the expected net cost stays within `daily_cost_minor`.
    """

    on: bool = False
    share: Share = 0.02
    floor: Share = 0.002
    cap: Annotated[float, msgspec.Meta(gt=0.0, le=0.5)] = 0.05
    order_limit_minor: Minor = 10_000
    daily_cost_minor: Minor = 5_000


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A merchant's economics, in base minor units.

    `margin` is the contribution margin (share of the amount), `chargeback_cost_minor` φ, `lifetime_value_minor` L:
    what declining an honest customer loses beyond the sale; `dispute_share` the share of fraud reports that become
    chargebacks; `deadline_ms` the time a request is given unless it says otherwise. A margin by product goes before one
    by kind of item, and that before `margin`. `attempt_cost_minor` is what each authorisation costs. Without
    `challenge` or `review` the merchant cannot do that.
    """

    margin: Share = 0.08
    chargeback_cost_minor: Minor = 2_000
    lifetime_value_minor: Minor = 300
    dispute_share: Share = 1.0
    deadline_ms: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 50
    fallback: Fallback = Fallback()
    margin_by_item_kind: dict[Name, Share] = {}
    margin_by_product: dict[Name, Share] = {}
    attempt_cost_minor: Minor = 0
    challenge: Challenge | None = None
    review: Review | None = None
    limits: Limits = Limits()
    budgets: Budgets = Budgets()
    exploration: Exploration = Exploration()

    @property
    def to_solve(self) -> bool:
        """Tell whether something of it is held by prices that the log's past tells."""
        budgets = self.budgets.count_bps, self.budgets.value_bps
        return budgets != (None, None) or self.review is not None or self.exploration.on


_SINCE_ENGINE_1: Final = ("margin", "chargeback_cost_minor", "lifetime_value_minor", "dispute_share", "deadline_ms",
                          "fallback")  # fmt: skip
"""Always part of a policy's version; a later field is only where it says something: old versions stand."""

PRESETS: Final = {
    "protect": Budgets(count_bps=20.0, value_bps=20.0),
    "balance": Budgets(count_bps=50.0, value_bps=50.0),
    "grow": Budgets(),
}
"""Few chargebacks, whatever it costs; a usual level; whatever earns most."""


def margin_of(policy: Policy, item_kind: str, product: str) -> float:
    """Return the margin on a product.

    >>> margin_of(Policy(margin_by_item_kind={"gift_card": 0.05}), "gift_card", "any")
    0.05
    """
    of_product = policy.margin_by_product.get(product)
    return policy.margin_by_item_kind.get(item_kind, policy.margin) if of_product is None else of_product


def expected_profit(
    p_fraud: Number, amount_minor: Number | int, policy: Policy, margin: Number | float | None = None
) -> tuple[Number, Number]:
    """Return the expected profit of approving and of declining, in base minor units.

    Approve: (1−p)·m·a − p·[(1−m)·a + φ], less the cost of the attempt; decline: −(1−p)·L, with p the probability of a
    fraud *chargeback*. `margin` replaces the policy's.

    >>> expected_profit(0.0, 10_000, Policy(margin=0.1))
    (1000.0, -300.0)
    """
    p = p_fraud * policy.dispute_share
    earned = (policy.margin if margin is None else margin) * amount_minor
    approve = (1.0 - p) * earned - p * (amount_minor - earned + policy.chargeback_cost_minor)
    return approve - policy.attempt_cost_minor, -(1.0 - p_fraud) * policy.lifetime_value_minor


class Rates(NamedTuple):
    """How 3-D Secure goes: of one payment, or float64 [n] of many."""

    passes_honest: Any
    passes_fraud: Any
    shift: Any


def rates_of(challenge: Challenge, issuer: str) -> Rates:
    """Return how 3-D Secure goes at an issuer's country: its own rates, where they are declared.

    >>> rates_of(Challenge(by_issuer_country={"DE": IssuerRates(0.8, 0.1, 0.5)}), "DE")
    Rates(passes_honest=0.8, passes_fraud=0.1, shift=0.5)
    """
    found = challenge.by_issuer_country.get(issuer, challenge)
    return Rates(found.passes_honest, found.passes_fraud, challenge.shift if found.shift is None else found.shift)


def challenged(
    p_fraud: Number,
    amount_minor: Number | int,
    policy: Policy,
    challenge: Challenge,
    margin: Number | float,
    rates: Rates,
) -> tuple[Number, Number]:
    """Return the expected profit of asking for 3-D Secure, and the chargebacks to expect.

    (1−p)·s_g·m·a − (1−p)·(1−s_g)·L − p·s_f·(1−shift)·[(1−m)·a + φ] − c: an honest customer who gives up is lost as
    one declined.
    """
    p = p_fraud * policy.dispute_share
    lost = p * rates.passes_fraud * (1.0 - rates.shift)
    earned, honest = margin * amount_minor, rates.passes_honest
    profit = (1.0 - p) * honest * earned - (1.0 - p_fraud) * (1.0 - honest) * policy.lifetime_value_minor
    profit = profit - lost * (amount_minor - earned + policy.chargeback_cost_minor)
    return profit - challenge.cost_minor - policy.attempt_cost_minor, lost


def reviewed(
    p_fraud: Number, amount_minor: Number | int, policy: Policy, review: Review, margin: Number | float
) -> tuple[Number, Number]:
    """Return the expected profit of a person's look, and the chargebacks to expect.

    In time, fraud is approved with 1 − `catches` and honest payments with `passes`; else the default is done.
    """
    p = p_fraud * policy.dispute_share
    lost, earned = p * (1.0 - review.catches), margin * amount_minor
    done = (1.0 - p) * review.passes * earned - lost * (amount_minor - earned + policy.chargeback_cost_minor)
    done = done - (1.0 - p_fraud) * (1.0 - review.passes) * policy.lifetime_value_minor
    approve, decline = expected_profit(p_fraud, amount_minor, policy, margin)
    approves = review.default == "approve"
    late = 1.0 - review.in_time
    profit = review.in_time * done + late * (approve if approves else decline) - review.cost_minor
    return profit, review.in_time * lost + (late * p if approves else 0.0)


def decode_policy(policy: bytes) -> Policy:
    """Decode a policy from JSON. Raises ``BadInput`` naming the field."""
    try:
        return msgspec.json.decode(policy, type=Policy)
    except UNDECODABLE as error:
        raise bad_body(error, kind=Policy) from None


def policy_version(policy: Policy) -> str:
    """Return the version of a policy: a hash of its content."""
    said = {name: getattr(policy, name) for name in Policy.__struct_fields__}
    kept = {name: value for name, value in said.items() if name in _SINCE_ENGINE_1 or value != getattr(_DEFAULT, name)}
    return hashlib.blake2b(msgspec.json.encode(kept), digest_size=6).hexdigest()


_DEFAULT: Final = Policy()

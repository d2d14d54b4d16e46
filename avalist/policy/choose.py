"""From a probability to an action: profits, prices of the budgets, limits, capabilities (modelling §4)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from avalist.domain.core import Solved
from avalist.domain.decisions import Action, Factor
from avalist.domain.facts import Facts
from avalist.models.trees import F64, I64
from avalist.policy.economics import (
    Number,
    Policy,
    Rates,
    challenged,
    expected_profit,
    margin_of,
    policy_version,
    rates_of,
    reviewed,
)
from avalist.policy.explore import chance

UNSOLVED: Final = Solved(policy="")
_APPROVE, _CHALLENGE, _REVIEW, _DECLINE = Action.APPROVE, Action.CHALLENGE, Action.REVIEW, Action.DECLINE
ORDER: Final = (_APPROVE, _CHALLENGE, _REVIEW, _DECLINE)
"""Equal worth: the first of these is taken."""


class Choice(msgspec.Struct, frozen=True, gc=False):
    """What economics choose: the action, each possible action's expected profit (base minor units), what held back."""

    action: Action
    profits: dict[str, int]
    factors: tuple[Factor, ...] = ()


class Sold(NamedTuple):
    """What a policy asks of a payment besides its amount."""

    item_kind: str
    product: str
    account_age_s: float | None
    issuer_country: str = ""


def sold_of(facts: Facts) -> Sold:
    """Return what a policy asks of a payment with these facts."""
    return Sold(facts.item_kind, facts.product, facts.account_age_s, facts.issuer_country)


class Offers(NamedTuple):
    """Payments as a policy sees them: P(fraud report), amount in base minor units, margin, float64 [n]; `barred` [n]
    may not be approved just so. `rates` are those of 3-D Secure at the issuers, the policy's own if None.
    """

    p: F64
    amount: F64
    margin: F64
    barred: F64
    rates: Rates | None = None


class Chosen(NamedTuple):
    """What a policy does with many payments, [n]: the action's place in ``ORDER``, the profit and chargebacks to
    expect.
    """

    action: I64
    profit: F64
    chargebacks: F64

    @property
    def kept(self) -> npt.NDArray[np.bool_]:
        """Tell which payments are not declined."""
        return np.asarray(self.action != ORDER.index(_DECLINE))


class Desk:
    """A policy with its budgets solved, ready to choose. Made once per policy, not per payment."""

    def __init__(self, policy: Policy, solved: Solved = UNSOLVED) -> None:
        self.policy, self.solved = policy, solved
        name = policy_version(policy)
        self.version = name if solved is UNSOLVED else f"{name}.{_short(solved)}"
        budgets = policy.budgets
        self._count = solved.count_minor if budgets.count_bps is not None else 0.0
        self._value = solved.value if budgets.value_bps is not None else 0.0
        self._review = solved.review_minor if policy.review is not None else 0.0
        limits = policy.limits
        self._limited = bool(limits.by_product or limits.by_item_kind or limits.new_account_minor is not None)
        self._issuers = bool(policy.challenge and policy.challenge.by_issuer_country)
        self._margins = bool(policy.margin_by_item_kind or policy.margin_by_product)
        priced = self._count or self._value
        self._plain = not (self._margins or priced or self._limited or policy.challenge or policy.review)

    def under(self, policy: Policy) -> Desk:
        """Return a desk for a new policy; what was solved stands while what it was solved for does."""
        old = self.policy
        same = (policy.budgets, policy.review, policy.exploration) == (old.budgets, old.review, old.exploration)
        return Desk(policy, self.solved if same else UNSOLVED)

    def choose(self, p_fraud: float, facts: Facts) -> Choice:
        """Return the action that is worth most, and every possible action's expected profit."""
        amount, policy = facts.amount_base_minor, self.policy
        if self._plain:
            approve, decline = expected_profit(p_fraud, amount, policy)
            action = _APPROVE if approve >= decline else _DECLINE
            return Choice(action, {"approve": round(approve), "decline": round(decline)})
        margin = margin_of(policy, facts.item_kind, facts.product)
        found = prospects(p_fraud, amount, policy, margin, self._rates(facts.issuer_country))
        barred = self._barred(facts) if self._limited else None
        if barred:
            del found[_APPROVE]
        best = max(found, key=lambda action: found[action][0])
        action = max(found, key=lambda action: self._worth(action, *found[action], amount))
        profits = {action.value: round(profit) for action, (profit, _) in found.items()}
        factors = () if action is best else ((Factor.CAPACITY if best is _REVIEW else Factor.BUDGET),)
        return Choice(action, profits, (barred, *factors) if barred else factors)

    def release_chance(self, p_fraud: float, facts: Facts) -> float:
        """Return the chance with which a would-be decline that is not in a wave is released: never past a limit."""
        if self._limited and self._barred(facts):
            return 0.0
        policy, amount = self.policy, facts.amount_base_minor
        margin = margin_of(policy, facts.item_kind, facts.product)
        return self.solved.explore_share * chance(p_fraud, amount, margin, policy, self.solved.explore_scale)

    @property
    def explores(self) -> bool:
        """Tell whether any would-be decline may be released."""
        return self.policy.exploration.on and self.solved.explore_share > 0.0

    def choose_many(self, offers: Offers) -> Chosen:
        """Choose for many payments at once."""
        worth = np.full((len(ORDER), len(offers.p)), -np.inf)
        for action, found in prospects(offers.p, offers.amount, self.policy, offers.margin, offers.rates).items():
            worth[ORDER.index(action)] = self._worth(action, *found, offers.amount)
        worth[0][offers.barred > 0] = -np.inf
        return taken(self.policy, worth.argmax(axis=0), offers)

    def _worth(self, action: Action, profit: Number, chargebacks: Number, amount: Number | int) -> Number:
        priced = profit - chargebacks * (self._count + self._value * amount)
        return priced - self._review if action is _REVIEW else priced

    def _barred(self, facts: Facts) -> Factor | None:
        return self._bars(facts.amount_base_minor, facts.item_kind, facts.product, facts.account_age_s)

    def _bars(self, amount: float, item_kind: str, product: str, account_age_s: float | None) -> Factor | None:
        """Return the limit that bars approving, if one does."""
        limits = self.policy.limits
        most = limits.by_product.get(product)
        if most is None:
            most = limits.by_item_kind.get(item_kind)
        if most is not None and amount > most:
            return Factor.PRODUCT_LIMIT
        young = account_age_s is None or account_age_s < limits.new_account_s
        if limits.new_account_minor is not None and young and amount > limits.new_account_minor:
            return Factor.NEW_ACCOUNT_LIMIT
        return None

    def offers(self, p: F64, amount: F64, sold: Sequence[Sold]) -> Offers:
        """Return payments as :meth:`choose_many` takes them."""
        margin = np.full(len(p), self.policy.margin)
        if self._margins:
            margin[:] = [margin_of(self.policy, one.item_kind, one.product) for one in sold]
        barred = np.zeros(len(p))
        if self._limited:
            barred[:] = [self._bars(a, *one[:3]) is not None for a, one in zip(amount.tolist(), sold, strict=True)]
        own = [self._rates(one.issuer_country) for one in sold] if self._issuers else []
        rates = Rates(*np.array(own, np.float64).T) if own else None
        return Offers(p, amount, margin, barred, rates)

    def _rates(self, issuer: str) -> Rates | None:
        challenge = self.policy.challenge
        return None if challenge is None else rates_of(challenge, issuer)


def prospects(
    p_fraud: Number, amount: Number | int, policy: Policy, margin: Number | float, rates: Rates | None = None
) -> dict[Action, tuple[Number, Number]]:
    """Return what each action within the merchant's capabilities is expected to earn, and its chargebacks, in order."""
    approve, decline = expected_profit(p_fraud, amount, policy, margin)
    found = {_APPROVE: (approve, p_fraud * policy.dispute_share)}
    if policy.challenge is not None:
        found[_CHALLENGE] = challenged(
            p_fraud, amount, policy, policy.challenge, margin, rates or rates_of(policy.challenge, "")
        )
    if policy.review is not None:
        found[_REVIEW] = reviewed(p_fraud, amount, policy, policy.review, margin)
    found[_DECLINE] = (decline, p_fraud * 0.0)
    return found


def taken(policy: Policy, action: I64, offers: Offers) -> Chosen:
    """Return what actions [n], places in ``ORDER``, are expected to bring in a policy's money."""
    profit, lost = np.zeros((2, len(ORDER), len(action)))
    for one, found in prospects(offers.p, offers.amount, policy, offers.margin, offers.rates).items():
        profit[ORDER.index(one)], lost[ORDER.index(one)] = found
    every = np.arange(len(action))
    return Chosen(action, profit[action, every], lost[action, every])


def in_words(profits_minor: dict[str, int], exponent: int) -> str:
    """Return what each action is expected to earn, for a person to read.

    >>> in_words({"approve": 310, "decline": -4}, 2)
    'approve earns 3.10, decline earns -0.04'
    """
    return ", ".join(f"{name} earns {minor / 10**exponent:.{exponent}f}" for name, minor in profits_minor.items())


def _short(solved: Solved) -> str:
    return hashlib.blake2b(msgspec.json.encode(solved), digest_size=3).hexdigest()

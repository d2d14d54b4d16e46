"""Prices that hold a merchant's budgets: what one more fraud chargeback, or one more review, has to cost."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec
import numpy as np

from avalist.domain.core import Solved
from avalist.domain.decisions import Action
from avalist.policy.choose import ORDER, Chosen, Desk, Offers
from avalist.policy.economics import Budgets, Policy

_ROUNDS, _STEPS = 4, 24
_COSTLIEST: Final = 20.0
"""Where the frontier ends: a chargeback's price in times its amount."""
_ROUND: Final = 1.01
_REVIEW: Final = ORDER.index(Action.REVIEW)


class Expected(NamedTuple):
    """What a policy is expected to bring: fraud chargebacks in basis points of what is not declined, by count and by
    value, the share not declined, the number of reviews, and the profit in base minor units.
    """

    count_bps: float
    value_bps: float
    approval_rate: float
    reviews: float
    profit_minor: float


def expected(desk: Desk, offers: Offers) -> Expected:
    """Return what a policy is expected to bring of payments."""
    return summed(desk.choose_many(offers), offers)


def summed(chosen: Chosen, offers: Offers) -> Expected:
    """Return what choices are expected to bring."""
    kept, lost = chosen.kept, chosen.chargebacks
    return Expected(
        1e4 * float(lost.sum()) / max(float(kept.sum()), 1.0),
        1e4 * float(lost @ offers.amount) / max(float(offers.amount[kept].sum()), 1.0),
        float(kept.mean()) if len(kept) else 1.0,
        float((chosen.action == _REVIEW).sum()),
        float(chosen.profit.sum()),
    )


def held(budgets: Budgets, count_bps: float, value_bps: float) -> bool:
    """Tell whether chargebacks are within budgets, but for rounding; else prices have reached their cap."""
    pairs = (budgets.count_bps, count_bps), (budgets.value_bps, value_bps)
    return all(limit is None or reached <= limit * _ROUND for limit, reached in pairs)


def trace(policy: Policy, offers: Offers) -> tuple[Expected, ...]:
    """Return the frontier: what is to be expected at dearer and dearer chargebacks, from no budget at all on."""
    priced = msgspec.structs.replace(policy, budgets=Budgets(value_bps=1.0))
    prices = (0.0, *np.geomspace(0.02, _COSTLIEST, 24).tolist())
    return tuple(expected(Desk(priced, Solved(policy="", value=price)), offers) for price in prices)


def solve(policy: Policy, offers: Offers, days: float, tighter: tuple[float, float] = (1.0, 1.0)) -> Solved:
    """Return the least prices under which the policy is expected to hold its budgets on payments of some `days`.

    `tighter` scales the budgets by count and by value, for what was overspent. A price that is not needed is 0. Each is
    found by bisection with the others held, in rounds.
    """
    budgets, review = policy.budgets, policy.review
    solved = Solved(policy=Desk(policy).version)
    if not len(offers.p):
        return solved
    mean = float(offers.amount.mean())
    aims: list[_Aim] = []
    if budgets.count_bps is not None:
        aims.append(_Aim("count_minor", budgets.price_cap * mean, "count_bps", budgets.count_bps * tighter[0]))
    if budgets.value_bps is not None:
        aims.append(_Aim("value", budgets.price_cap, "value_bps", budgets.value_bps * tighter[1]))
    if review is not None:
        aims.append(_Aim("review_minor", 10.0 * mean, "reviews", review.capacity_per_day * days))
    for _ in range(_ROUNDS if len(aims) > 1 else 1):
        for aim in aims:
            solved = _least(policy, offers, solved, aim)
    found = expected(Desk(policy, solved), offers)
    return msgspec.structs.replace(solved, expected_count_bps=found.count_bps, expected_value_bps=found.value_bps)


class _Aim(NamedTuple):
    """A price between 0 and `most`, and what of :class:`Expected` it holds at `limit`."""

    price: str
    most: float
    held: str
    limit: float


def _least(policy: Policy, offers: Offers, solved: Solved, aim: _Aim) -> Solved:
    """Return the solution with the least value of one price that holds its limit, the others as they are."""

    def at(value: float) -> Solved:
        return msgspec.structs.replace(solved, **{aim.price: value})

    def holds(value: float) -> bool:
        return float(getattr(expected(Desk(policy, at(value)), offers), aim.held)) <= aim.limit

    if holds(0.0):
        return at(0.0)
    low, high = 0.0, aim.most
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return at(high)

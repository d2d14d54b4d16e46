"""Solve a policy's budgets on what the log says by now, and say what another policy would change (modelling §4).

What is known of a payment is its probability when it was decided, its reports so far, and how many reports of its age
are still to come. The answer enters the log as one event: decisions depend on it from its ``seq`` on.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Final

import msgspec
import numpy as np

from avalist.app.dataset import Dataset
from avalist.app.grade import Bools
from avalist.app.train import delay_at
from avalist.domain.core import Solved
from avalist.domain.decisions import Action
from avalist.domain.errors import BadInput
from avalist.domain.schema import DAY_MS
from avalist.models.artefact import Artefact
from avalist.models.score import Model
from avalist.models.trees import F64, I64
from avalist.policy.budgets import Expected, expected, solve, summed, trace
from avalist.policy.choose import ORDER, Desk, Offers, taken
from avalist.policy.economics import PRESETS, Policy, expected_profit
from avalist.policy.explore import solve_chances

DAYS: Final = 28
_OLDEST_D: Final = 180
_CREDIBLE: Final = 20.0
"""So many expected frauds, and the merchant's own count weighs as much as the model's word."""
_TIGHTEST: Final = 0.5


@dataclass(frozen=True, eq=False)
class Recent:
    """Payments of the last days, in order.

    `p` is P(fraud report), corrected by how many came; `ultimate` the reports that came or are expected, of payments
    that were taken (NaN else); `approved` those that a decision approved. All float64 [n]; `rows` their places in the
    data.
    """

    p: F64
    amount: F64
    ultimate: F64
    approved: F64
    rows: slice
    from_ms: int
    to_ms: int
    odds: float

    @property
    def days(self) -> float:
        """Return how many days they are."""
        return max((self.to_ms - self.from_ms) / DAY_MS, 1.0)


def recent(data: Dataset, artefact: Artefact, days: float = DAYS) -> Recent:
    """Return the payments of the last `days`; those that were not decided get the active model's probability.

    The level is corrected by how many of the payments decided so far that are worth approving were reported, for how
    many that were expected by now.

    Raises ``BadInput`` where there is none.
    """
    if not len(data.t_ms):
        raise BadInput("there is no payment to go by: bring some history", field="history", expected="payments")
    said = data.background.decided[:, 0].astype(np.float64)
    silent = np.isnan(said)
    oldest = int(np.searchsorted(data.t_ms, data.cut_ms - _OLDEST_D * DAY_MS))
    unsaid = np.flatnonzero(silent[oldest:]) + oldest
    said[unsaid] = artefact.p_fraud(data.x[unsaid])
    captured, fraud = data.known_at(data.cut_ms)
    known = delay_at(data, data.cut_ms).reported_by((data.cut_ms - data.t_ms) / DAY_MS)
    judged = np.flatnonzero(captured & ~silent)
    judged = judged[_unpriced(data, said, judged)]
    odds = (_CREDIBLE + fraud[judged].sum()) / (_CREDIBLE + said[judged] @ known[judged])
    p = odds * said / (1.0 - said + odds * said)
    begin = int(np.searchsorted(data.t_ms, data.cut_ms - round(days * DAY_MS)))
    rest = p * (1.0 - known) / (1.0 - p * known)
    rows = slice(begin, len(p))
    return Recent(
        p=p[rows],
        amount=data.amount_minor[rows].astype(np.float64),
        ultimate=np.where(captured, np.where(fraud, 1.0, rest), np.nan)[rows],
        approved=(data.background.decided[rows, 1] == 1.0).astype(np.float64),
        rows=rows,
        from_ms=int(data.t_ms[begin]) if begin < len(p) else data.cut_ms,
        to_ms=data.cut_ms + 1,
        odds=float(odds),
    )


def _unpriced(data: Dataset, said: F64, rows: I64) -> Bools:
    """Tell which payments the economics alone would not decline. There the level matters: whoever is far above the
    threshold has most of the fraud, and would hide it. Payments that a model learnt from say nothing of its level.
    """
    desk = Desk(data.background.policy)
    sold = [data.background.sold[row] for row in rows.tolist()]
    return desk.choose_many(desk.offers(said[rows], data.amount_minor[rows].astype(np.float64), sold)).kept


def solve_budgets(data: Dataset, model: Model, policy: Policy | None = None, days: float = DAYS) -> Solved:
    """Return the prices that hold a merchant's budgets, and the chances of exploration, by what is known now.

    Where the payments that decisions approved are expected to overspend a budget, the aim is as much below it.
    """
    policy = data.background.policy if policy is None else policy
    seen = recent(data, model.artefact, days)
    offers = offered(policy, data, seen)
    solved = solve(policy, offers, seen.days, _tighter(policy, seen))
    may = ~Desk(policy, solved).choose_many(offers).kept & (offers.barred == 0)
    scale, share = solve_chances(seen.p[may], seen.amount[may], offers.margin[may], policy, seen.days)
    return msgspec.structs.replace(
        solved, explore_scale=scale, explore_share=share, from_ms=seen.from_ms, to_ms=seen.to_ms
    )


def _tighter(policy: Policy, seen: Recent) -> tuple[float, float]:
    taken = (seen.approved > 0) & ~np.isnan(seen.ultimate)
    if not taken.any():
        return 1.0, 1.0
    lost, amount = policy.dispute_share * seen.ultimate[taken], seen.amount[taken]
    spent = 1e4 * float(lost.mean()), 1e4 * float(lost @ amount) / max(float(amount.sum()), 1.0)
    budgets = policy.budgets.count_bps, policy.budgets.value_bps
    found = [min(max(2.0 - s / b, _TIGHTEST), 1.0) if b else 1.0 for s, b in zip(spent, budgets, strict=True)]
    return found[0], found[1]


class Changed(msgspec.Struct, frozen=True):
    """Payments that another policy would treat otherwise; money in base minor units.

    `profit_minor` is the expected change of profit; of those that were taken, `reported` were reported as fraud so far.
    """

    was: Action
    becomes: Action
    payments: int
    amount_minor: int
    profit_minor: int
    reported: int


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """Two policies on the same payments, as they were seen then. What customers would have done otherwise is not in
    it.
    """

    payments: int
    from_ms: int
    to_ms: int
    old: Expected
    new: Expected
    changes: tuple[Changed, ...]


def preview(data: Dataset, model: Model, old: Desk, new: Desk, days: float = DAYS) -> Preview:
    """Return what a policy would change on the payments of the last days; both are counted in the new one's money."""
    seen = recent(data, model.artefact, days)
    money = msgspec.structs.replace(
        new.policy,
        challenge=new.policy.challenge or old.policy.challenge,
        review=new.policy.review or old.policy.review,
    )
    offers = offered(money, data, seen)
    before, after = (
        taken(money, desk.choose_many(offered(desk.policy, data, seen)).action, offers) for desk in (old, new)
    )
    gained = after.profit - before.profit
    fraud = data.known_at(data.cut_ms)[1][seen.rows]
    changes = []
    for was, becomes in permutations(range(len(ORDER)), 2):
        rows = (before.action == was) & (after.action == becomes)
        if rows.any():
            amount, profit = round(float(seen.amount[rows].sum())), round(float(gained[rows].sum()))
            counted = int(rows.sum()), amount, profit, int(fraud[rows].sum())
            changes.append(Changed(ORDER[was], ORDER[becomes], *counted))
    return Preview(
        payments=len(seen.p),
        from_ms=seen.from_ms,
        to_ms=seen.to_ms,
        old=summed(before, offers),
        new=summed(after, offers),
        changes=tuple(changes),
    )


class Frontier(msgspec.Struct, frozen=True, kw_only=True):
    """What a merchant may choose between on the payments of the last days.

    `curve` makes chargebacks dearer and dearer, from the economics alone on; `now` is the policy as it stands,
    `presets` what each would be solved to; `decided` the share of payments whose probability is a decision's: that of
    others is the active model's, which may have learnt from them.
    """

    payments: int
    days: float
    decided: float
    approve_all: Expected
    now: Expected
    presets: dict[str, Expected]
    curve: tuple[Expected, ...]


def frontier(data: Dataset, model: Model, days: float = DAYS) -> Frontier:
    """Return a merchant's frontier."""
    policy, seen = data.background.policy, recent(data, model.artefact, days)
    offers = offered(policy, data, seen)
    presets = {}
    for name, budgets in PRESETS.items():
        preset = msgspec.structs.replace(policy, budgets=budgets)
        presets[name] = expected(Desk(preset, solve(preset, offers, seen.days)), offers)
    profit = expected_profit(offers.p, offers.amount, policy, offers.margin)[0]
    lost, money = policy.dispute_share * offers.p, max(float(offers.amount.sum()), 1.0)
    everything = Expected(
        1e4 * float(lost.mean()), 1e4 * float(lost @ offers.amount) / money, 1.0, 0.0, float(profit.sum())
    )
    return Frontier(
        payments=len(seen.p),
        days=seen.days,
        decided=float((~np.isnan(data.background.decided[seen.rows, 0])).mean()),
        approve_all=everything,
        now=expected(Desk(policy, data.background.solved), offers),
        presets=presets,
        curve=trace(policy, offers),
    )


def offered(policy: Policy, data: Dataset, seen: Recent) -> Offers:
    """Return recent payments as a policy sees them."""
    return Desk(policy).offers(seen.p, seen.amount, data.background.sold[seen.rows])

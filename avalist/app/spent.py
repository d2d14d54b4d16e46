"""What decisions have cost by now, and will have cost when all reports are in: beside budgets, schemes, exploration.

*Matured* is what was reported by the end of the log, *projected* that and what is expected still to come, of the same
payments.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import msgspec
import numpy as np

from avalist.app.dataset import Dataset
from avalist.app.solve import DAYS, Recent, recent
from avalist.domain.events import from_ms
from avalist.domain.schema import DAY_MS
from avalist.models.artefact import Artefact
from avalist.models.judge import Draws
from avalist.models.metrics import Interval
from avalist.models.trees import F64, I64
from avalist.policy.choose import Desk
from avalist.policy.economics import expected_profit

MONTH_D: Final = 30
"""So many days stand for the calendar month of a scheme's programme."""


class Spent(msgspec.Struct, frozen=True):
    """Fraud chargebacks of payments, in basis points of their count or value, and the budget that they have."""

    budget: float | None
    matured: float
    projected: Interval


class ExploredMonth(msgspec.Struct, frozen=True, kw_only=True):
    """What was released in a calendar month (UTC, ``2026-11``), and what that cost against declining, in base minor
    units; below 0 it earned. `budget_minor` is what the policies of its days allowed.

    Of the `released`, `taken` were captured and `reported` of these as fraud so far.
    """

    month: str
    released: int
    taken: int
    reported: int
    matured_minor: float
    projected_minor: Interval
    budget_minor: float


class Monitor(msgspec.Struct, frozen=True, kw_only=True):
    """From where on a scheme's programme takes a merchant for excessive: so many cases a month, and so many basis
    points of sales.

    `cases` of fraud reports count where `reports`; sales are those of the month before where `before`.
    """

    programme: str
    cases: int
    bps: float
    reports: bool
    before: bool


MONITORS: Final = {
    "visa": Monitor(programme="VAMP, excessive merchant", cases=1_500, bps=150.0, reports=True, before=False),
    "mastercard": Monitor(programme="ECM", cases=100, bps=150.0, reports=False, before=True),
}
"""Read on 2026-11-26 in what acquirers publish, for the schemes' own rules are not public: of both
docs.antom.com/ac/merchant_service/card_monitor, of Mastercard paymentsandrisk.com/docs/chargebacks/reference too.
Regions differ, and thresholds change: your acquirer's word counts.
"""


class SchemeSpent(msgspec.Struct, frozen=True, kw_only=True):
    """Captured payments with cards of one scheme, and their fraud chargebacks by count and by value.

    `cases` are what its programme counts of the last 30 days, `cases_bps` that over the programme's sales; NaN where
    there were none.
    """

    scheme: str
    payments: int
    amount_minor: int
    count: Spent
    value: Spent
    cases: int
    cases_bps: float
    monitor: Monitor | None

    @property
    def excessive(self) -> bool:
        """Tell whether the programme would take the merchant for excessive."""
        limit = self.monitor
        return limit is not None and self.cases >= limit.cases and self.cases_bps >= limit.bps


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """What the last `days` spent by budget, and by scheme; and exploration, month by month, of the whole log.

    `spent` is empty where no decision approved a payment that was taken.
    """

    days: float
    spent: dict[str, Spent]
    explored: tuple[ExploredMonth, ...]
    schemes: tuple[SchemeSpent, ...]


def ledger(data: Dataset, artefact: Artefact, days: float = DAYS) -> Ledger:
    """Return what a replayed log's decisions spent. Payments that were not decided have the artefact's probability.

    Raises ``BadInput`` where there is no payment.
    """
    seen = recent(data, artefact, (data.cut_ms - int(data.t_ms.min(initial=data.cut_ms))) / DAY_MS + 1.0)
    last = data.t_ms >= data.cut_ms - round(days * DAY_MS)
    return Ledger(
        days=days,
        spent=_budgets(data, seen, np.flatnonzero(last & (seen.approved > 0) & ~np.isnan(seen.ultimate))),
        explored=tuple(_explored(data, seen)),
        schemes=tuple(_schemes(data, seen, np.flatnonzero(last & ~np.isnan(seen.ultimate)))),
    )


def _budgets(data: Dataset, seen: Recent, rows: I64) -> dict[str, Spent]:
    if not len(rows):
        return {}
    budgets = data.background.policy.budgets
    count, value = _rates(data, seen, rows, (budgets.count_bps, budgets.value_bps))
    return {"count": count, "value": value}


def _rates(data: Dataset, seen: Recent, rows: I64, budgets: tuple[float | None, float | None]) -> tuple[Spent, Spent]:
    """Return the fraud chargebacks of payments that were taken, by count and by value."""
    came, expected = (column[rows] for column in _charged_back(data, seen))
    draws = Draws(data.t_ms[rows] // DAY_MS)

    def spent(each: F64, budget: float | None) -> Spent:
        matured = float(came @ each) / max(float(each.sum()), 1.0)
        return Spent(budget, 1e4 * matured, draws.ratio(1e4 * expected * each, each))

    return spent(np.ones(len(rows)), budgets[0]), spent(seen.amount[rows], budgets[1])


def _charged_back(data: Dataset, seen: Recent) -> tuple[F64, F64]:
    """Return the fraud chargebacks of each payment by now, and in the end; where the log has none, but other reports,
    the policy's share of these stands for them.
    """
    share, disputes = data.background.policy.dispute_share, data.background.disputes
    expected = share * seen.ultimate
    if not len(disputes):
        return share * data.known_at(data.cut_ms)[1].astype(np.float64), expected
    came = np.zeros(len(data.t_ms))
    came[disputes[disputes[:, 2] > 0, 0]] = 1.0
    return came, np.maximum(came, expected)


def _explored(data: Dataset, seen: Recent) -> Iterator[ExploredMonth]:
    rows = data.background.released
    if not len(rows):
        return
    captured, fraud = (column[rows] for column in data.known_at(data.cut_ms))
    by_now, in_the_end = (_cost(data, seen, label) for label in (fraud.astype(np.float64), seen.ultimate[rows]))
    first = np.array([_month(at) for at in data.t_ms[rows].tolist()])
    for begin in np.unique(first).tolist():
        here = first == begin
        yield ExploredMonth(
            month=f"{from_ms(begin):%Y-%m}",
            released=int(here.sum()),
            taken=int(captured[here].sum()),
            reported=int((captured & fraud)[here].sum()),
            matured_minor=float(by_now[here & captured].sum()),
            projected_minor=Draws(data.t_ms[rows[here]] // DAY_MS).total(np.where(captured, in_the_end, 0.0)[here]),
            budget_minor=_allowed(data.background.exploring, begin, min(_month(begin + 32 * DAY_MS), data.cut_ms)),
        )


def _cost(data: Dataset, seen: Recent, label: F64) -> F64:
    """Return what letting in each released payment costs more than declining it, had it been taken, [released]."""
    rows, policy = data.background.released, data.background.policy
    sold = [data.background.sold[row] for row in rows.tolist()]
    offers = Desk(policy).offers(seen.p[rows], seen.amount[rows], sold)
    approve, decline = expected_profit(label, offers.amount, policy, offers.margin)
    return np.asarray(decline - approve, dtype=np.float64)


def _month(at_ms: int) -> int:
    """Return the first millisecond of a time's month."""
    at = from_ms(at_ms)
    return round(dt.datetime(at.year, at.month, 1, tzinfo=dt.UTC).timestamp() * 1000)


def _allowed(exploring: tuple[tuple[int, int], ...], begin_ms: int, end_ms: int) -> float:
    """Return the money budget of a stretch of time, under the policies of its days.

    >>> _allowed(((0, 100), (2 * DAY_MS, 0)), DAY_MS, 5 * DAY_MS)
    100.0
    """
    stretches = pairwise([*exploring, (end_ms, 0)])
    return sum(a * max(min(end, end_ms) - max(at, begin_ms), 0) for (at, a), (end, _) in stretches) / DAY_MS


def _schemes(data: Dataset, seen: Recent, rows: I64) -> Iterator[SchemeSpent]:
    """Yield each scheme's, that of most payments first."""
    of = np.array(data.background.scheme, np.str_)
    names, counts = np.unique(of[rows], return_counts=True)
    for name in names[np.argsort(-counts, kind="stable")].tolist():
        if not name:
            continue
        own = rows[of[rows] == name]
        count, value = _rates(data, seen, own, (None, None))
        monitor = MONITORS.get(name)
        cases, sales = _watched(data, of == name, monitor)
        yield SchemeSpent(
            scheme=name, payments=len(own), amount_minor=int(data.amount_minor[own].sum()), count=count, value=value,
            cases=cases, cases_bps=1e4 * cases / sales if sales else float("nan"), monitor=monitor,
        )  # fmt: skip


def _watched(data: Dataset, own: I64, monitor: Monitor | None) -> tuple[int, int]:
    """Return what a programme counts of the last 30 days (disputes where there is none), and the sales it holds that
    against.
    """
    begin_ms, disputes = data.cut_ms - MONTH_D * DAY_MS, data.background.disputes
    cases = int((own[disputes[:, 0]] & (disputes[:, 1] > begin_ms)).sum())
    if monitor is not None and monitor.reports:
        reports = data.changes[(data.changes[:, 2] > 0) & (data.changes[:, 3] > begin_ms), 0]
        cases += int(own[np.unique(reports)].sum())
    end_ms = begin_ms if monitor is not None and monitor.before else data.cut_ms
    sold = data.known_at(data.cut_ms)[0] & own & (data.t_ms > end_ms - MONTH_D * DAY_MS) & (data.t_ms <= end_ms)
    return cases, int(sold.sum())

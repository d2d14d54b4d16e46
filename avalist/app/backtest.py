"""Backtest: what another policy or model would have done in a period, in money, beside what was done (modelling §4, §6).

Every figure is a sum of labels, and a payment that was declined has none. Where exploration might have released it, the
released ones speak for it (doubly robust); where nothing could, the model does, and the figures say how much is its word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import msgspec
import numpy as np

from avalist.app.again import UNKNOWN, Again, Bools, Payment
from avalist.app.train import reported_by
from avalist.domain.decisions import Action
from avalist.domain.delay import DelayLaw
from avalist.domain.schema import DAY_MS
from avalist.models.judge import Draws, blocks
from avalist.models.metrics import Interval
from avalist.models.off_policy import Estimate, Logged, Worth, evaluate, false_declines, pseudo
from avalist.models.train import LEAST_REPORTED
from avalist.models.trees import F64, I64
from avalist.policy.economics import Policy, expected_profit

FORMAT: Final = 1
_MOST_VALUES: Final = 8
_NEW_S: Final = ((86_400, "younger than a day"), (30 * 86_400, "younger than 30 days"))


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """Payments under one way to decide.

    `let_in` counts those not declined. `matured` are fraud chargebacks that are reported and were let in then, so known
    of both ways; `projected` what will have come when all reports are in, and `projected_share` that as a share of the
    money let in. `caught_minor` is fraud money declined, `caught` its share of all fraud money; `good_declined_minor`
    honest money declined. Money in base minor units.
    """

    let_in: int
    approval_rate: float
    matured: float
    matured_minor: float
    projected: Interval
    projected_minor: Interval
    projected_share: Interval
    caught_minor: Interval
    caught: Interval
    good_declined: Interval
    good_declined_minor: Interval


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """A group of payments before and after, and what the change earns (base minor units)."""

    name: str
    payments: int
    changed: int
    before: Side
    after: Side
    gain_minor: Interval


class Segment(msgspec.Struct, frozen=True):
    """One way to cut the payments into groups, the largest first."""

    by: str
    groups: tuple[Compared, ...]


class Unknown(msgspec.Struct, frozen=True, kw_only=True):
    """What nobody can know: payments that were not let in then, and that the candidate lets in.

    `explored` of them a draw could have released and `released` it did; for the others, `expected_fraud_minor` of
    `minor` is the model's own word.
    """

    payments: int
    minor: float
    explored: int
    released: int
    expected_fraud_minor: float


class Week(msgspec.Struct, frozen=True, kw_only=True):
    """A week from `start_ms`: projected fraud money let in as a share of money let in, before and after, and the gain."""

    start_ms: int
    before: float
    after: float
    gain_minor: float


class OffPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What exploration says: both ways' profit a payment over declining all, the false declines among economic ones."""

    before: Estimate
    after: Estimate
    false_declines: Estimate | None
    released: int


class Backtest(msgspec.Struct, frozen=True, kw_only=True):
    """A backtest, as data. `asked` says what was; `policy` holds the economics that count the money.

    `undecided` payments had no live decision: what became of them stands for it. `learnt` payments are older than the
    last that the candidate's model learnt from: there it is judged on what it knew. `block` is what intervals draw.
    """

    format: int = FORMAT
    merchant: str
    asked: str
    from_ms: int
    to_ms: int
    cut_ms: int
    currency: str
    policy: Policy
    model: str
    reused: bool
    undecided: int
    learnt: int
    reported: float
    block: str
    whole: Compared
    segments: tuple[Segment, ...]
    weeks: tuple[Week, ...]
    unknown: Unknown
    off_policy: OffPolicy | None
    moves: dict[str, int]
    simulated: bool = False


class _Book(NamedTuple):
    """Columns [n]: what was and would be let in (1 or 0), amounts, labels known, and what taking and fraud come to.

    `taken` and `fraud` are doubly robust: the label where it is known, the released ones' word or the model's elsewhere.
    """

    before: F64
    after: F64
    amount: F64
    known: F64
    taken: F64
    fraud: F64
    worth: Worth
    logged: Logged


def backtest(
    again: Again, merchant: str, asked: str, *, policy: Policy | None = None, model: str = "", learnt_ms: int = 0
) -> Backtest:
    """Grade payments that were decided again. `policy` counts the money, the merchant's own if None.

    `model` names the candidate's model, which learnt from payments up to `learnt_ms`.
    """
    policy = policy or again.policy
    reported = reported_by(DelayLaw(*again.schema.report_delay_d), (again.cut_ms - again.t_ms) / DAY_MS)
    book = _book(again, policy, reported)
    draw, block = blocks(again.t_ms)
    draws = Draws(draw)
    everything = np.ones(len(again.payments), np.bool_)
    return Backtest(
        merchant=merchant,
        asked=asked,
        from_ms=int(again.t_ms[0]),
        to_ms=int(again.t_ms[-1]),
        cut_ms=again.cut_ms,
        currency=again.schema.base_currency,
        policy=policy,
        model=model,
        reused=again.reused,
        undecided=sum(payment.before == UNKNOWN for payment in again.payments),
        learnt=int((again.t_ms <= learnt_ms).sum()),
        reported=float(reported.mean()),
        block=block,
        whole=_compared("all payments", book, everything, policy, draws),
        segments=tuple(_segments(again, book, policy, draws)),
        weeks=tuple(_weeks(again.t_ms, book, policy)),
        unknown=_unknown(book),
        off_policy=_off_policy(book),
        moves=dict(Counter(f"{was(again, n)} -> {p.after}" for n, p in enumerate(again.payments) if _moved(book, n))),
    )


def was(again: Again, n: int) -> str:
    """Return what was done with a payment: the live decision, or what became of it where there was none."""
    before = again.payments[n].before
    if before != UNKNOWN:
        return before
    return "taken" if again.captured[n] else "failed at the issuer" if again.issuer_declined[n] else "not taken"


def changes(again: Again) -> Iterator[tuple[int, Payment]]:
    """Yield the payments that would be let in and were not, or the other way round, with their places."""
    before, after = _let_in(again)
    for n in np.flatnonzero(before != after).tolist():
        yield n, again.payments[n]


def _let_in(again: Again) -> tuple[Bools, Bools]:
    """Return which payments were let in, and which would be. An issuer's decline had been let in."""
    tried = again.captured | again.issuer_declined
    decided = np.array([p.before != UNKNOWN for p in again.payments])
    declined = np.array([p.before == Action.DECLINE for p in again.payments])
    return np.where(decided, ~declined, tried), np.array([p.after != Action.DECLINE for p in again.payments])


def _book(again: Again, policy: Policy, reported: F64) -> _Book:
    let_in, after = _let_in(again)
    amount = again.amount_minor
    taken = (let_in & again.captured).astype(np.float64)
    rate = float(taken[let_in].mean()) if let_in.any() else 1.0
    p = np.array([payment.p_after if np.isnan(payment.p_before) else payment.p_before for payment in again.payments])
    young = reported < LEAST_REPORTED
    label = np.where(young, p, again.fraud / np.maximum(reported, LEAST_REPORTED)) * taken
    logged = Logged(
        let_in, _propensity(again, let_in), taken, label, np.full(len(p), rate), rate * p, again.t_ms // DAY_MS
    )
    ones = np.ones(len(p))
    return _Book(
        let_in.astype(np.float64),
        after.astype(np.float64),
        amount,
        again.fraud * taken,
        pseudo(logged, Worth(ones, 0.0 * ones)),
        pseudo(logged, Worth(0.0 * ones, ones)),
        _worth(amount, policy),
        logged,
    )


def _propensity(again: Again, let_in: Bools) -> F64:
    """Return the chance of being let in."""
    taken = np.array([payment.propensity for payment in again.payments])
    return np.where(let_in, taken, 1.0 - taken)


def _worth(amount: F64, policy: Policy) -> Worth:
    """Return what letting in earns more than declining; the economics are linear in the label."""
    honest, fraud = (np.subtract(*expected_profit(np.full(len(amount), y), amount, policy)) for y in (0.0, 1.0))
    return Worth(honest, fraud - honest)


def _compared(name: str, book: _Book, rows: Bools, policy: Policy, draws: Draws) -> Compared:
    earned = (book.after - book.before) * book.worth.of(book.taken, book.fraud)
    return Compared(
        name=name,
        payments=int(rows.sum()),
        changed=int((book.before != book.after)[rows].sum()),
        before=_side(book, book.before, rows, policy, draws),
        after=_side(book, book.after, rows, policy, draws),
        gain_minor=draws.total(rows * earned),
    )


def _side(book: _Book, let_in: F64, rows: Bools, policy: Policy, draws: Draws) -> Side:
    kept, out = rows * let_in, rows * (1.0 - let_in)
    disputes = policy.dispute_share * book.fraud
    honest, money = book.taken - book.fraud, book.amount
    return Side(
        let_in=int(kept.sum()),
        approval_rate=float(kept.sum() / max(rows.sum(), 1)),
        matured=float(policy.dispute_share * (kept @ book.known)),
        matured_minor=float(policy.dispute_share * (kept @ (book.known * money))),
        projected=draws.total(kept * disputes),
        projected_minor=draws.total(kept * disputes * money),
        projected_share=draws.ratio(kept * disputes * money, kept * book.taken * money),
        caught_minor=draws.total(out * book.fraud * money),
        caught=draws.ratio(out * book.fraud * money, rows * book.fraud * money),
        good_declined=draws.total(out * honest),
        good_declined_minor=draws.total(out * honest * money),
    )


def _segments(again: Again, book: _Book, policy: Policy, draws: Draws) -> Iterator[Segment]:
    cuts: dict[str, Callable[[Payment], str]] = {
        "product": lambda payment: payment.facts.product or payment.facts.item_kind,
        "country": lambda payment: payment.facts.issuer_country or payment.facts.billing_country,
        "age of the account": lambda payment: age(payment.facts.account_age_s),
    }
    for by, of in cuts.items():
        values = np.array([of(payment) or "unknown" for payment in again.payments], dtype=object)
        largest = [name for name, _ in Counter(values.tolist()).most_common(_MOST_VALUES)]
        if len(largest) > 1:
            groups = (_compared(str(name), book, values == name, policy, draws) for name in largest)
            yield Segment(by, tuple(groups))


def age(age_s: int | None) -> str:
    """Return the band of an account's age.

    >>> age(3600), age(10**9), age(None)
    ('younger than a day', '30 days or older', 'unknown')
    """
    if age_s is None:
        return "unknown"
    return next((name for limit, name in _NEW_S if age_s < limit), "30 days or older")


def _weeks(t_ms: I64, book: _Book, policy: Policy) -> Iterator[Week]:
    week = t_ms // (7 * DAY_MS)
    first, place = np.unique(week, return_inverse=True)
    earned = (book.after - book.before) * book.worth.of(book.taken, book.fraud)
    lost, sold = policy.dispute_share * book.fraud * book.amount, book.taken * book.amount
    shares = [
        np.bincount(place, s * lost) / np.maximum(np.bincount(place, s * sold), 1.0) for s in (book.before, book.after)
    ]
    for start, before, after, gain in zip(first.tolist(), *shares, np.bincount(place, earned), strict=True):
        yield Week(start_ms=start * 7 * DAY_MS, before=float(before), after=float(after), gain_minor=float(gain))


def _unknown(book: _Book) -> Unknown:
    chance, let_in = book.logged.propensity, book.logged.let_in
    new = (book.after > 0.0) & (~let_in | (chance < 1.0))
    dark = new & (chance == 0.0)
    return Unknown(
        payments=int(new.sum()),
        minor=float(book.amount[dark].sum()),
        explored=int((new & (chance > 0.0)).sum()),
        released=int((new & let_in).sum()),
        expected_fraud_minor=float((book.fraud * book.amount)[dark].sum()),
    )


def _off_policy(book: _Book) -> OffPolicy | None:
    """Return the off-policy estimates, where a draw released anything. The old way is as it was, its draws included."""
    logged = book.logged
    released = logged.explored & logged.let_in
    if not released.any():
        return None
    return OffPolicy(
        before=evaluate(logged, logged.propensity, book.worth),
        after=evaluate(logged, book.after, book.worth),
        false_declines=false_declines(logged, logged.explored),
        released=int(released.sum()),
    )


def _moved(book: _Book, n: int) -> bool:
    return bool(book.before[n] != book.after[n])

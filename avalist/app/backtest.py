"""Backtest: what another policy or model would have done in a period, in money, beside what was done (modelling §4).

Every figure is a sum of labels, and a payment that was declined has none. Where exploration might have released it, the
released ones speak for it (doubly robust); where nothing could, the model does, and the figures say for how much.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np

from avalist.app.compared import Backtest, Compared, OffPolicy, Segment, Side, Unknown, Week
from avalist.app.past import UNDECIDED, Bools, Past
from avalist.domain.decisions import Action
from avalist.domain.delay import DelayLaw
from avalist.domain.errors import BadInput
from avalist.domain.schema import DAY_MS
from avalist.models.delay import LEAST_REPORTED, ReportDelay, as_declared
from avalist.models.judge import Draws, blocks
from avalist.models.metrics import Interval
from avalist.models.off_policy import Logged, Worth, difference, false_declines, pseudo
from avalist.models.off_policy import evaluate as evaluate_off_policy
from avalist.models.trees import F64, I64
from avalist.policy.choose import ORDER, Desk
from avalist.policy.economics import Policy, expected_profit

_MOST_VALUES: Final = 8
_DECLINE: Final = Action.DECLINE.value


class _Book(NamedTuple):
    """Columns [n]: what was and would be let in (1 or 0), amounts, disputes known, and what taking and fraud come to.

    `taken` and `fraud` are doubly robust: the label where known, the released ones' word or the model's elsewhere.
    `worth` is what letting in earns more than declining; `block` is drawn together.
    """

    before: F64
    after: F64
    amount: F64
    disputed: F64
    taken: F64
    fraud: F64
    worth: F64
    block: I64

    def only(self, rows: I64) -> _Book:
        return _Book(*(column[rows] for column in self))  # type: ignore[arg-type]


def threshold(p_fraud: float) -> Policy:
    """Return the policy that approves up to a probability, whatever the amount: a margin that is all that counts.

    Approving is then worth (threshold − p)·amount, declining nothing.

    Raises
    ------
    BadInput
        If it is not between 0 and 1.
    """
    if not 0.0 < p_fraud < 1.0:
        raise BadInput("not a threshold", field="threshold", expected="between 0 and 1", got=f"{p_fraud}")
    return Policy(margin=p_fraud, chargeback_cost_minor=0, lifetime_value_minor=0)


def decide_again(past: Past, policy: Policy | None = None) -> list[Action]:
    """Return what each payment would be answered under a policy, or under that of its time: many are chosen for at
    once, as a decision chooses for one. Nothing is released: a candidate is judged by what it means to do.
    """
    chosen = np.empty(len(past.payments), np.int64)
    for desk, rows in _desks(past, policy):
        sold = [past.sold[row] for row in rows.tolist()]
        chosen[rows] = desk.choose_many(desk.offers(past.p[rows], past.amount_minor[rows], sold)).action
    return [ORDER[place] for place in chosen.tolist()]


def _desks(past: Past, policy: Policy | None) -> Iterator[tuple[Desk, I64]]:
    """Yield desks with the payments that each chooses for."""
    if policy is not None:
        yield Desk(policy), np.arange(len(past.payments))
        return
    places: dict[int, list[int]] = {}
    for place, seen in enumerate(past.payments):
        places.setdefault(id(seen.desk), []).append(place)
    for rows in places.values():
        yield past.payments[rows[0]].desk, np.array(rows)


def backtest(
    past: Past,
    after: Sequence[Action],
    merchant: str,
    asked: str,
    *,
    policy: Policy | None = None,
    model: str = "",
    learnt_ms: int = 0,
    delay: ReportDelay | None = None,
) -> Backtest:
    """Grade payments that were decided again. `policy` counts the money, the merchant's own if None.

    `model` names the candidate's model, which learnt from payments up to `learnt_ms`.
    `delay` is how long reports take as the active model estimated it; the schema's declared law if None.
    """
    policy = policy or past.policy
    delay = delay or as_declared(DelayLaw(*past.schema.report_delay_d))
    reported = delay.reported_by((past.cut_ms - past.t_ms) / DAY_MS)
    logged, worth = logged_of(past, reported), worth_of(past, policy)
    block, name = blocks(past.t_ms)
    book = _book(past, after, logged, worth, block, policy)
    return Backtest(
        merchant=merchant,
        asked=asked,
        from_ms=int(past.t_ms[0]),
        to_ms=int(past.t_ms[-1]),
        cut_ms=past.cut_ms,
        currency=past.schema.base_currency,
        policy=policy,
        model=model,
        replayed=past.replayed,
        undecided=sum([seen.action == UNDECIDED for seen in past.payments]),
        learnt=int((past.t_ms <= learnt_ms).sum()),
        reported=float(reported.mean()),
        delay_reports=delay.reports,
        block=name,
        whole=_compared("all payments", book, policy, _gain(logged, book, worth)),
        segments=tuple(_segments(past, book, policy, logged, worth)),
        weeks=tuple(_weeks(past.t_ms, book, policy)),
        unknown=_unknown(book, logged),
        off_policy=_off_policy(logged, book.after, worth),
        moves=dict(Counter(f"{was(past, n)} -> {after[n]}" for n in changed(past, after))),
    )


def was(past: Past, n: int) -> str:
    """Return what was done with a payment: the decision in force, or what became of it where there was none."""
    if past.payments[n].action != UNDECIDED:
        return past.payments[n].action
    return "taken" if past.captured[n] else "failed at the issuer" if past.issuer_declined[n] else "not taken"


def changed(past: Past, after: Sequence[Action]) -> list[int]:
    """Return the places of payments that would be let in and were not, or the other way round."""
    found: list[int] = np.flatnonzero(let_in(past) != kept_by(after)).tolist()
    return found


def let_in(past: Past) -> Bools:
    """Return which payments were let in: not declined; where nothing was decided, captured or failed at the issuer."""
    decided = np.array([seen.action != UNDECIDED for seen in past.payments])
    declined = np.array([seen.action == _DECLINE for seen in past.payments])
    return np.where(decided, ~declined, past.captured | past.issuer_declined)


def kept_by(after: Sequence[Action]) -> Bools:
    """Return which payments are not declined."""
    return np.array([action is not Action.DECLINE for action in after])


def logged_of(past: Past, reported: F64, least: float = LEAST_REPORTED) -> Logged:
    """Return the decisions as off-policy evaluation takes them.

    A reported fraud counts 1/F, so that sums come to what will have been reported; where F is below `least`, too young
    to say anything, what was expected stands for it. Draws are shared by a key and a day, so days are the clusters.
    """
    entered = let_in(past)
    chance = np.array([seen.propensity for seen in past.payments])
    taken = (entered & past.captured).astype(np.float64)
    rate = float(taken[entered].mean()) if entered.any() else 1.0
    before = np.array([seen.p_fraud for seen in past.payments])
    p = np.where(np.isnan(before), past.p, before)
    label = np.where(reported < least, p, past.fraud / np.maximum(reported, least))
    return Logged(
        let_in=entered,
        propensity=np.where(entered, chance, 1.0 - chance),
        taken=taken,
        fraud=label * taken,
        p_taken=np.full(len(p), rate),
        p_fraud=rate * p,
        reported=np.maximum(reported, least),
        cluster=past.t_ms // DAY_MS,
    )


def _book(past: Past, after: Sequence[Action], logged: Logged, worth: Worth, block: I64, policy: Policy) -> _Book:
    ones, none = np.ones(len(block)), np.zeros(len(block))
    taken, fraud = pseudo(logged, Worth(ones, none)), pseudo(logged, Worth(none, ones))
    return _Book(
        logged.let_in.astype(np.float64),
        kept_by(after).astype(np.float64),
        past.amount_minor,
        (policy.dispute_share * past.fraud if past.charged_back is None else past.charged_back) * logged.taken,
        taken,
        fraud,
        worth.of(taken, fraud),
        block,
    )


def worth_of(past: Past, policy: Policy) -> Worth:
    """Return what letting in earns more than declining; the economics are linear in the label."""
    amount = past.amount_minor
    margin = Desk(policy).offers(past.p, amount, past.sold).margin
    honest, fraud = (np.subtract(*expected_profit(np.full(len(amount), y), amount, policy, margin)) for y in (0.0, 1.0))
    return Worth(honest, fraud - honest)


def _gain(logged: Logged, book: _Book, worth: Worth) -> Interval:
    """Return what the change earns, by the estimator that ``bench ope`` holds against the truth."""
    found, n = difference(logged, book.after - book.before, worth), len(book.block)
    return Interval(n * found.value, n * found.low, n * found.high)


def _compared(name: str, book: _Book, policy: Policy, gain: Interval) -> Compared:
    draws, more = Draws(book.block), book.after - book.before
    return Compared(
        name=name,
        payments=len(book.block),
        changed=int(np.count_nonzero(more)),
        before=_side(book, book.before, policy, draws),
        after=_side(book, book.after, policy, draws),
        gain_minor=gain,
    )


def _side(book: _Book, kept: F64, policy: Policy, draws: Draws) -> Side:
    out, disputes, honest = 1.0 - kept, policy.dispute_share * kept * book.fraud, book.taken - book.fraud
    money = book.amount
    caught, lost = out * book.fraud * money, disputes * money
    return Side(
        let_in=int(kept.sum()),
        approval_rate=float(kept.mean()),
        matured=float(kept @ book.disputed),
        matured_minor=float(kept @ (book.disputed * money)),
        projected=draws.total(disputes),
        projected_minor=draws.total(lost),
        projected_share=draws.ratio(lost, kept * book.taken * money),
        caught_minor=draws.total(caught),
        caught=draws.ratio(caught, book.fraud * money),
        good_declined=draws.total(out * honest),
        good_declined_minor=draws.total(out * honest * money),
    )


def _segments(past: Past, book: _Book, policy: Policy, logged: Logged, worth: Worth) -> Iterator[Segment]:
    def group(name: str, rows: I64) -> Compared:
        some = book.only(rows)
        return _compared(name, some, policy, _gain(logged.only(rows), some, worth.only(rows)))

    for by, (names, place) in past.groups.items():
        largest = np.argsort(-np.bincount(place), kind="stable")[:_MOST_VALUES].tolist()
        if len(largest) > 1:
            groups = (group(names[k], np.flatnonzero(place == k)) for k in largest)
            yield Segment(by, tuple(groups))


def _weeks(t_ms: I64, book: _Book, policy: Policy) -> Iterator[Week]:
    first, place = np.unique(t_ms // (7 * DAY_MS), return_inverse=True)
    lost, sold = policy.dispute_share * book.fraud * book.amount, book.taken * book.amount
    sides = [
        np.bincount(place, kept * lost) / np.maximum(np.bincount(place, kept * sold), 1.0)
        for kept in (book.before, book.after)
    ]
    gains = np.bincount(place, (book.after - book.before) * book.worth)
    for start, before, after, gain in zip(first.tolist(), *(s.tolist() for s in sides), gains.tolist(), strict=True):
        yield Week(start_ms=start * 7 * DAY_MS, before=before, after=after, gain_minor=gain)


def _unknown(book: _Book, logged: Logged) -> Unknown:
    new = (book.after > 0.0) & (~logged.let_in | logged.explored)
    dark = new & ~logged.explored
    return Unknown(
        payments=int(new.sum()),
        minor=float(book.amount[dark].sum()),
        explored=int((new & logged.explored).sum()),
        released=int((new & logged.let_in).sum()),
        expected_fraud_minor=float((book.fraud * book.amount)[dark].sum()),
    )


def _off_policy(logged: Logged, after: F64, worth: Worth) -> OffPolicy | None:
    """Return the off-policy estimates, where a draw released anything. The old way is as it was, its draws included."""
    released = logged.explored & logged.let_in
    if not released.any():
        return None
    return OffPolicy(
        before=evaluate_off_policy(logged, logged.propensity, worth),
        after=evaluate_off_policy(logged, after, worth),
        false_declines=false_declines(logged, logged.explored),
        released=int(released.sum()),
        cost_minor=-float(worth.of(logged.taken, logged.fraud)[released].sum()),
    )

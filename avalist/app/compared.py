"""A backtest as data: payments as they were decided and as they would be, in money."""

from __future__ import annotations

from typing import Final

import msgspec

from avalist.models.metrics import Interval
from avalist.models.off_policy import Estimate
from avalist.policy.economics import Policy

FORMAT: Final = 1


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
    """A week from `start_ms`: projected chargebacks as a share of the money let in, before and after, and the gain."""

    start_ms: int
    before: float
    after: float
    gain_minor: float


class OffPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What exploration says: both ways' profit a payment over declining all, the false declines among economic ones.

    `cost_minor` is what the `released` lost against declining them, by their labels; less than 0 if they earned.
    """

    before: Estimate
    after: Estimate
    false_declines: Estimate | None
    released: int
    cost_minor: float


class Backtest(msgspec.Struct, frozen=True, kw_only=True):
    """A backtest, as data. `asked` says what was; `policy` holds the economics that count the money.

    `undecided` payments had no live decision: what became of them stands for it. `learnt` payments are older than the
    last that the candidate's model learnt from: there it is judged on what it knew. `block` is what intervals draw, but
    for gains and off-policy estimates: there days are the clusters. The delay law was estimated from `delay_reports` of
    the merchant's reports; 0 is the declared law.
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
    replayed: bool
    undecided: int
    learnt: int
    reported: float
    delay_reports: int
    block: str
    whole: Compared
    segments: tuple[Segment, ...]
    weeks: tuple[Week, ...]
    unknown: Unknown
    off_policy: OffPolicy | None
    moves: dict[str, int]
    simulated: bool = False

"""The frontier: what a merchant would have approved, stopped and earned at each approval rate (modelling §4)."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec
import numpy as np

from avalist.models.judge import Draws, declined_share, interval, quotient
from avalist.models.metrics import Interval, value_recalls
from avalist.models.trees import F64
from avalist.policy.economics import Policy, expected_profit

_THOUSANDTHS: Final = (*range(11), 12, 14, 16, 18, 20, 25, 30, 35, 40, 45, 50, 60, 70, 80, 90, 100)
RESAMPLES: Final = 100
"""Draws in which payments are ranked again; the report of the metrics uses as many, so that both agree."""
RATES: Final = tuple((1000 - n) / 1000 for n in _THOUSANDTHS)
"""Approval rates of the curve, from approve-all down."""


class Judged(NamedTuple):
    """Captured payments whose labels are known, float64 [n]: probability, label, amount in base minor units, margin."""

    p: F64
    y: F64
    amount: F64
    margin: F64


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What would have become of the payments under a way to decide.

    `declined` and `false_declines` are payments (shares of tied ones count), the latter without a fraud report.
    `stopped` is the share of the fraud money that would have been declined, `stopped_minor` that money. `chargebacks`
    and `chargebacks_value` are expected chargebacks over approved payments, by count and by value. `gain_minor` is the
    profit less that of approving all.
    """

    approval_rate: float
    declined: float
    false_declines: float
    stopped: Interval
    stopped_minor: float
    chargebacks: Interval
    chargebacks_value: Interval
    profit_minor: float
    gain_minor: Interval


def outcome(declined: F64, judged: Judged, policy: Policy, draws: Draws) -> Outcome:
    """Return what declining a share [n] of each payment would have brought.

    The profit is that of the economics with what is known now: a reported fraud is lost with the policy's share of
    reports that become chargebacks.
    """
    _, y, amount, margin = judged
    fraud, kept = y * amount, 1.0 - declined
    approve, decline = expected_profit(y, amount, policy, margin)
    disputed = policy.dispute_share * kept * y
    return Outcome(
        approval_rate=float(kept.mean()),
        declined=float(declined.sum()),
        false_declines=float(declined @ (1.0 - y)),
        stopped=draws.ratio(declined * fraud, fraud),
        stopped_minor=float(declined @ fraud),
        chargebacks=draws.ratio(disputed, kept),
        chargebacks_value=draws.ratio(disputed * amount, kept * amount),
        profit_minor=float(kept @ approve + declined @ decline),
        gain_minor=draws.total(declined * (decline - approve)),
    )


def frontier(judged: Judged, policy: Policy, draws: Draws, rates: tuple[float, ...] = RATES) -> tuple[Outcome, ...]:
    """Return the outcome at each approval rate, the riskiest payments declined first.

    The interval of `stopped` keeps the approval rate in every draw; those of other fields keep the threshold.
    """
    p, y, amount, _ = judged
    stopped = value_recalls(y, p, amount, rates, groups=draws.block, resamples=RESAMPLES)
    found = (outcome(declined_share(p, rate), judged, policy, draws) for rate in rates)
    return tuple(msgspec.structs.replace(o, stopped=s) for o, s in zip(found, stopped, strict=True))


def by_profit(judged: Judged, policy: Policy, draws: Draws) -> Outcome:
    """Return the outcome of the policy itself: decline where that is expected to earn more."""
    approve, decline = expected_profit(judged.p, judged.amount, policy, judged.margin)
    return outcome((approve < decline).astype(np.float64), judged, policy, draws)


class AsBefore(msgspec.Struct, frozen=True, kw_only=True):
    """The model at the approval rate of the decisions made then.

    Payments that were not taken have no label. `stopped` is the share of the fraud money among those *taken* that the
    model would have declined; `let_in` counts payments not taken that it would have approved; `let_in_fraud_minor` is
    the fraud money that it expects among them, its own word, and `balance` the share of fraud money stopped less that.
    """

    approval_rate: float
    taken: int
    refused: int
    stopped: Interval
    stopped_minor: float
    fraud_minor: float
    let_in: float
    let_in_fraud_minor: float
    balance: Interval


def as_before(judged: Judged, refused: tuple[F64, F64], draws: Draws) -> AsBefore:
    """Compare at an equal approval rate; `refused` are probability and amount of the payments not taken.

    `draws` are over the judged payments, then the refused ones.
    """
    p, amount = refused
    taken, rate = len(judged.p), len(judged.p) / (len(judged.p) + len(p))
    declined = declined_share(np.concatenate((judged.p, p)), rate)
    fraud = np.concatenate((judged.y * judged.amount, np.zeros(len(p))))
    doubted = np.concatenate((np.zeros(taken), p * amount))
    let_in = (1.0 - declined) * doubted
    stopped = draws.sums(declined * fraud)
    return AsBefore(
        approval_rate=rate,
        taken=taken,
        refused=len(p),
        stopped=interval(quotient(stopped, draws.sums(fraud))),
        stopped_minor=float(stopped[0]),
        fraud_minor=float(fraud.sum()),
        let_in=float((1.0 - declined)[taken:].sum()),
        let_in_fraud_minor=float(let_in.sum()),
        balance=interval(quotient(stopped - draws.sums(let_in), draws.sums(fraud))),
    )

"""What becomes of a payment: its label, drawn last, then what the issuer and the schemes say."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np

from avalist.domain.delay import DelayLaw
from avalist.domain.events import OutcomeEvent, Payment
from avalist.simulator.config import WorldConfig
from avalist.simulator.draws import DAY_MS, F64, I64, Bools, Rng, below, chance
from avalist.simulator.slots import Process

Kind = Literal["honest", "friendly", "takeover", "lone", "wave"]
Due = tuple[int, OutcomeEvent]
"""An event and when it is received, in milliseconds since 1970."""

_CODES = 5
_UTC_0 = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_NEVER = -1


class Truth(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the world knows of a payment and the merchant does not.

    `p_fraud` is P(fraud | all that was drawn before the label); `fraud` is drawn from it. `process` made the payment;
    `kind` is what it is: a wave's honest look-alike has process ``wave`` and kind ``honest``. `reported_at_ms` is when
    the first fraud report comes if the payment is captured; None if it never can be.
    """

    p_fraud: float
    fraud: bool
    process: Process
    kind: Kind
    wave_id: int | None = None
    issuer_approves: bool = True
    reported_at_ms: int | None = None


class Attempt(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A payment, the truth about it, and what follows if the merchant approves it, in order."""

    payment: Payment
    truth: Truth
    follow_ups: tuple[Due, ...]


@dataclass(slots=True)
class Fates:
    """The drawn outcomes of `n` payments; delays in milliseconds after the payment, -1 for never."""

    fraud: Bools
    friendly: Bools
    approved: Bools
    code: I64
    address_matches: Bools
    secured: Bools
    answer_ms: I64
    warned_ms: I64
    disputed_ms: I64

    @property
    def first_report_ms(self) -> I64:
        """Return the delay of the first report, whichever it is."""
        return np.where(self.warned_ms >= 0, self.warned_ms, self.disputed_ms)


class Oracle:
    """Draws fates. The label comes first, from p alone; everything else follows from the label."""

    def __init__(self, config: WorldConfig) -> None:
        self._outcomes, self._friendly = config.outcomes, config.fraud.friendly_share
        self._law = DelayLaw(config.outcomes.report_median_d, config.outcomes.report_p95_d)

    def draw(self, rng: Rng, p: F64) -> Fates:
        """Draw the fates of payments with these probabilities of fraud."""
        n, outcomes = len(p), self._outcomes
        fraud = chance(rng, n, p)
        honest_match, fraud_match = outcomes.address_matches
        warned_ms, disputed_ms = self._reports(rng, fraud)
        return Fates(
            fraud=fraud,
            friendly=chance(rng, n, self._friendly),
            approved=chance(rng, n, np.where(fraud, outcomes.approved_fraud, outcomes.approved_honest)),
            code=below(rng, _CODES, n),
            address_matches=chance(rng, n, np.where(fraud, fraud_match, honest_match)),
            secured=chance(rng, n, outcomes.three_d_secure_share),
            answer_ms=400 + (rng.standard_gamma(2.0, n) * 600).astype(np.int64),
            warned_ms=warned_ms,
            disputed_ms=disputed_ms,
        )

    def _reports(self, rng: Rng, fraud: Bools) -> tuple[I64, I64]:
        """Draw when an early warning and a chargeback come; the first of them obeys the delay law."""
        n = len(fraud)
        first = self._law.median_d * np.exp(self._law.sigma * rng.standard_normal(n))
        later = first + self._outcomes.disputed_after_d * rng.standard_gamma(2.0, n) / 2.0
        warned, disputed = chance(rng, n, self._outcomes.warning_share), chance(rng, n, self._outcomes.disputed_share)
        warned_d = np.where(fraud & warned, first, _NEVER)
        disputed_d = np.where(fraud, np.where(~warned, first, np.where(disputed, later, _NEVER)), _NEVER)
        return _days_to_ms(warned_d), _days_to_ms(disputed_d)


def _days_to_ms(days: F64) -> I64:
    return np.where(days < 0, _NEVER, np.maximum(days * DAY_MS, 60_000)).astype(np.int64)


def instant(ms: int) -> dt.datetime:
    """Return the instant `ms` milliseconds after 1970.

    >>> instant(1500).isoformat()
    '1970-01-01T00:00:01.500000+00:00'
    """
    return _UTC_0 + dt.timedelta(0, 0, 0, ms)

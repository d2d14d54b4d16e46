"""``decide()``: the one function that live, shadow, backtest and replay share. Pure: (state, event, model, policy) ->
decision.

It reads no clock, no network, no log and no unseeded randomness: what it may know is the merchant as of `seq`.
"""

from __future__ import annotations

import numpy as np

from avalist.app.merchant import Merchant
from avalist.app.rehearse import rehearsed
from avalist.domain.core import DecisionCore, EventCore
from avalist.domain.decisions import Reason
from avalist.domain.row import AT
from avalist.policy.evaluate import evaluate


def decide(merchant: Merchant, event: EventCore, seq: int) -> DecisionCore:
    """Read the features of `event`, fold it into the merchant's state, score and evaluate.

    Examples
    --------
    See ``docs/concepts/life-of-a-payment.md``.
    """
    row = np.frombuffer(event.row, dtype="<i8")
    features = merchant.features.step(row)
    scored = None
    reasons: tuple[Reason, ...] = ()
    if merchant.model is not None and merchant.mode != "off":
        scored = merchant.model.score(features)
        reasons = merchant.model.top_reasons(features)
    warnings = merchant.past.warnings(event.facts, int(row[AT])) if event.facts is not None else ()
    decision = evaluate(event, seq, scored, reasons, merchant.policy, merchant.mode, merchant.versions, warnings)
    if merchant.sandbox:
        decision = rehearsed(decision, event)
    return DecisionCore(decision, features.tobytes())

"""``decide()``: the one function that live, shadow, backtest and replay share. Pure: (state, event, model, policy) ->
decision.

It reads no clock, no network, no log and no unseeded randomness: what it may know is the merchant as of `seq`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import numpy as np

from avalist.app.merchant import Merchant
from avalist.app.rehearse import rehearsed
from avalist.domain.core import DecisionCore, EventCore
from avalist.domain.decisions import WarningCode
from avalist.domain.row import AT
from avalist.features.wave import ALARMS
from avalist.models.score import Scored
from avalist.policy.evaluate import evaluate


def decide(merchant: Merchant, events: Sequence[EventCore], seq: int) -> list[DecisionCore]:
    """Decide events in order, the first of them at `seq`: read its features, fold it into the state, score, evaluate.

    Each sees those before it, as if decided alone: a batch only keeps each step's code and data in the cache.

    Examples
    --------
    See ``docs/concepts/life-of-a-payment.md``.
    """
    model = merchant.scorer  # before anything is folded: loading may fail
    rows = np.frombuffer(b"".join([event.row for event in events]), dtype="<i8").reshape(len(events), -1)
    features = merchant.features.run(rows)
    scored: Sequence[Scored | None] = [None] * len(events) if model is None else model.score(features)
    warnings = [merchant.past.fold(event, at_ms) for event, at_ms in zip(events, rows[:, AT].tolist(), strict=True)]
    watch = merchant.features.watch
    if watch:
        told = watch.marks[:, ALARMS].tolist()
        warnings = [
            (*found, WarningCode.WAVE) if alarms else found for found, alarms in zip(warnings, told, strict=True)
        ]
    desk, mode, versions, explorer = merchant.desk, merchant.mode, merchant.versions, merchant.explorer
    decisions = [
        evaluate(event, at, score, desk, mode, versions, warned, None if explorer is None else (explorer, read))
        for at, event, score, warned, read in zip(count(seq), events, scored, warnings, features, strict=False)
    ]
    if merchant.sandbox:
        decisions = [rehearsed(decision, event) for decision, event in zip(decisions, events, strict=True)]
    return [DecisionCore(decision, read.tobytes()) for decision, read in zip(decisions, features, strict=True)]

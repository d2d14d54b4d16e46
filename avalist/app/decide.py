"""``decide()``: the one function that live, shadow, backtest and replay share. Pure: (state, event, model, policy) ->
decision.

It reads no clock, no network, no log and no unseeded randomness: what it may know is the merchant as of `seq`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import numpy as np

from avalist.app.merchant import Merchant
from avalist.domain.core import DecisionCore, EventCore
from avalist.models.score import Scored
from avalist.policy.evaluate import evaluate


def decide(merchant: Merchant, events: Sequence[EventCore], seq: int) -> list[DecisionCore]:
    """Decide events in order, the first of them at `seq`: read its features, fold it into the state, score, evaluate.

    Each sees those before it, as if decided alone: a batch only keeps each step's code and data in the cache.

    Examples
    --------
    See ``docs/concepts/life-of-a-payment.md``.
    """
    rows = np.frombuffer(b"".join([event.row for event in events]), dtype="<i8").reshape(len(events), -1)
    features = merchant.features.run(rows)
    scored: Sequence[Scored | None] = [None] * len(events)
    if merchant.model is not None and merchant.mode != "off":
        scored = merchant.model.score(features)
    policy, mode, versions = merchant.policy, merchant.mode, merchant.versions
    return [
        DecisionCore(evaluate(event, at, score, policy, mode, versions), read.tobytes())
        for at, event, score, read in zip(count(seq), events, scored, features, strict=False)
    ]

"""Payments that show what the models do: the part of a report that a reader knows again."""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec
import numpy as np

from avalist.app.grade import Bools, Graded
from avalist.features.words import in_words, unit
from avalist.models.judge import declined_share
from avalist.models.score import Model
from avalist.models.trees import F64

_SHOWN: Final = 8
_EXAMPLE_RATE: Final = 0.99
_ID_DIGITS: Final = 10


class Why(msgspec.Struct, frozen=True):
    """One reason for a score: the column in words, its value (None: unknown), its contribution in log-odds."""

    words: str
    unit: str
    value: float | None
    contribution: float


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """A payment: `id` is the first 10 hex digits of the SHA-256 of its payment id."""

    id: str
    t_ms: int
    amount_minor: int
    p_fraud: float
    why: tuple[Why, ...]


class Examples(msgspec.Struct, frozen=True, kw_only=True):
    """At 99 % approval: the dearest frauds stopped, the dearest missed, the honest payments thought riskiest."""

    stopped: tuple[Example, ...]
    missed: tuple[Example, ...]
    false_alarms: tuple[Example, ...]


def examples(graded: Graded) -> Examples:
    """Return payments that show what the models do, at 99 % approval."""
    judged = graded.judged
    declined = declined_share(judged.p, _EXAMPLE_RATE)
    loss = judged.y * judged.amount

    def pick(order: F64, rows: Bools) -> tuple[Example, ...]:
        places = np.flatnonzero(rows)
        best = places[np.argsort(-order[places], kind="stable")][:_SHOWN]
        return tuple(_example(graded, int(graded.rows[place])) for place in best)

    return Examples(
        stopped=pick(loss, (judged.y > 0) & (declined > 0.5)),
        missed=pick(loss, (judged.y > 0) & (declined <= 0.5)),
        false_alarms=pick(judged.p, (judged.y == 0) & (declined > 0.5)),
    )


def _example(graded: Graded, row: int) -> Example:
    data, features = graded.data, {feature.name: feature for feature in graded.data.plan.features}
    model = Model(graded.forward.folds[int(graded.forward.fold[row])].model)
    (scored,) = model.score(data.x[row : row + 1], 3)
    return Example(
        id=hashlib.sha256(data.background.payment_ids[row].encode()).hexdigest()[:_ID_DIGITS],
        t_ms=int(data.t_ms[row]),
        amount_minor=int(data.amount_minor[row]),
        p_fraud=float(graded.forward.p[row]),
        why=tuple(
            Why(in_words(features[r.feature]), unit(features[r.feature]), r.value, r.contribution)
            for r in scored.reasons
        ),
    )

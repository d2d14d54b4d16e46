"""Trust in alarms: what an open alarm says of a payment before the trees have learnt it.

A merchant has seen few waves, so its trees learn little from an alarm's numbers. What they say is known beforehand. Of
the latest payments of a pattern in alarm a share s is more than usual (``wave.excess``): a payment is part of the burst
with that chance, and the burst is fraud with a chance q, so its odds of fraud before anything else is known of it are
those of π + q·s·(1 − π), where other payments have those of the merchant's base rate π. The trees start from there:
the step in log-odds is a tree, the first of the forest, and the others grow on what it leaves. It is part of the score
and of its reasons like any other, and an account that is known well keeps what its own past says for it.

q begins as the ``trust`` of the parameters, and the merchant's own bursts correct it, (κ·q + O − B)/(κ + E), with
O frauds reported among payments in alarm, E those that fraud would have shown by now, and B those that the base rate
would have shown without any burst. A payment that was approved although in alarm looked honest, so it would have shown
little: no more than its probability when it was decided, B included. Days count, not payments: each is worth
``_MOST_OF_A_DAY`` expected frauds at most. Less than a fifth of the trust is dropped: a shop whose alarms are bursts of
honest payments is not trusted in part.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np

from avalist.domain.schema import DAY_MS, NumberDecl
from avalist.models.trees import F64, I64, NODE, Trees

WAVE_EXCESS: Final = "wave.excess"
_KAPPA: Final = 3.0
_MOST_OF_A_DAY: Final = 3.0
_MOST_TRUST: Final = 0.98
_LEAST_SHARE: Final = 0.2
"""A shop whose bursts left less of the trust than this has sales, not waves: it is not trusted in part."""
_STEPS: Final = (0.5, 15.5, 30.5, 45.5, 60.5, 75.5, 85.5, 92.5)
"""Where the tree parts the payments, in hundredths of excess."""
_AMONG: Final = (0.0, 8.0, 23.0, 38.0, 53.0, 68.0, 81.0, 89.5, 96.0)
"""The excess that stands for each part."""


class _Numbers(msgspec.Struct, frozen=True):
    numbers: tuple[NumberDecl, ...] = ()


class Alarmed(NamedTuple):
    """Captured payments in alarm, arrays [n]: s, whether a fraud is reported, how sure it would be by now if it were
    one, when they came, and P(fraud) when they were decided (NaN where nothing was).
    """

    excess: F64
    y: F64
    reported: F64
    t_ms: I64
    decided: F64


def trust_in(alarmed: Alarmed, before: float, base_rate: float) -> float:
    """Return the chance that a burst of this merchant is fraud, given what it was held to be before; 0 is none.

    >>> none = np.empty(0)
    >>> trust_in(Alarmed(none, none, none, none.astype(np.int64), none), 0.5, 0.01)
    0.5
    """
    if not len(alarmed.y):
        return before
    undecided = np.isnan(alarmed.decided)
    decided = np.where(undecided, 1.0, alarmed.decided / max(before, 1e-9))
    shown = np.minimum(alarmed.excess, decided) * alarmed.reported
    usual = base_rate * undecided * alarmed.reported
    _, day = np.unique(alarmed.t_ms // DAY_MS, return_inverse=True)
    expected, observed = np.bincount(day, shown), np.bincount(day, alarmed.y - usual)
    worth = np.minimum(1.0, _MOST_OF_A_DAY / np.maximum(expected, 1e-9))
    now = float((_KAPPA * before + worth @ observed) / (_KAPPA + worth @ expected))
    return min(now, _MOST_TRUST) if now >= _LEAST_SHARE * before else 0.0


def excess_column(schema: bytes, columns: Sequence[str]) -> int:
    """Return the place of the column with an alarm's excess, -1 if there is none; `schema` is JSON."""
    numbers = msgspec.json.decode(schema, type=_Numbers).numbers
    name = next((number.name for number in numbers if number.source == WAVE_EXCESS), "")
    return columns.index(name) if name in columns else -1


def trusting(trust: float, base_rate: float, column: int, x: F64, n_features: int) -> Trees:
    """Return the tree of one step for each excess, in log-odds; `x` [n] is the column of the training's rows.

    Its splits ask for `column`; where that is unknown nothing is added, as where nothing is in alarm.
    """
    share = np.array(_AMONG) / 100.0 * trust
    odds = base_rate + share * (1.0 - base_rate)
    steps = np.log(odds / (1.0 - odds)) - np.log(base_rate / (1.0 - base_rate))
    nodes = np.zeros(2 * len(_STEPS) + 1, dtype=NODE)
    inner, leaves = slice(0, -1, 2), [*range(1, len(nodes), 2), len(nodes) - 1]
    nodes["threshold"] = np.inf
    nodes["threshold"][inner] = _STEPS
    nodes["left"][inner], nodes["feature"][inner] = 1, 2 * column
    here = np.maximum(np.histogram(x, (-np.inf, *_STEPS, np.inf))[0], 1)
    below = np.cumsum(here[::-1])[::-1]
    nodes["value"][leaves] = steps
    nodes["value"][inner] = (np.cumsum((here * steps)[::-1])[::-1] / below)[:-1]
    cover = np.zeros(len(nodes), np.float32)
    cover[leaves], cover[inner] = here, below[:-1]
    return Trees(nodes, np.zeros(1, np.uint32), 0.0, n_features, cover)

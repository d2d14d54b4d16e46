"""Which payments of an evaluation are graded: those old enough that most of their fraud is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from avalist.app.dataset import Dataset
from avalist.app.train import delay_at
from avalist.domain.schema import DAY_MS
from avalist.models.delay import LEAST_REPORTED
from avalist.models.judge import Draws, blocks
from avalist.models.prequential import Forward
from avalist.models.trees import F64, I64
from avalist.policy.economics import margin_of
from avalist.policy.frontier import Judged

MATURITIES: Final = (0.9, 0.8, 0.65, 0.5)
"""Shares of fraud that must be expected to be reported before payments are graded; the first that leaves enough."""
ENOUGH: Final = 50
ENOUGH_SHARE: Final = 0.4
"""Graded frauds, and share of the scored payments, that make a maturity enough; failing that, frauds alone will do."""
FEWEST_GRADED: Final = 10
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Graded:
    """Scored payments, the labels at the end, and which payments count."""

    data: Dataset
    forward: Forward
    captured: Bools
    fraud: Bools
    reported: F64
    maturity: float
    rows: I64

    @property
    def judged(self) -> Judged:
        """Return the graded payments as the frontier takes them."""
        y, background = self.fraud[self.rows].astype(np.float64), self.data.background
        sold = [background.sold[row] for row in self.rows.tolist()]
        margin = np.array([margin_of(background.policy, one.item_kind, one.product) for one in sold], np.float64)
        return Judged(self.forward.p[self.rows], y, self.data.amount_minor[self.rows].astype(np.float64), margin)

    def draws(self, rows: I64) -> Draws:
        """Return resamples of payments, drawn by blocks of time."""
        return Draws(blocks(self.data.t_ms[rows])[0])


def grade_by(data: Dataset, forward: Forward) -> Graded:
    """Choose the payments to grade: scored, captured, and old enough that most of their fraud is known."""
    captured, fraud = data.known_at(data.cut_ms)
    reported = delay_at(data, data.cut_ms).reported_by((data.cut_ms - data.t_ms) / DAY_MS)
    scored = ~np.isnan(forward.p) & captured
    maturity = _maturity(reported[scored], fraud[scored])
    return Graded(data, forward, captured, fraud, reported, maturity, np.flatnonzero(scored & (reported >= maturity)))


def _maturity(reported: F64, fraud: Bools) -> float:
    """Return the strictest maturity that leaves enough to grade; the least one where too little is mature."""
    for frauds, share in ((ENOUGH, ENOUGH_SHARE), (ENOUGH, 0.0), (FEWEST_GRADED, 0.0)):
        for maturity in MATURITIES:
            old = reported >= maturity
            if fraud[old].sum() >= frauds and old.sum() >= share * len(reported):
                return maturity
    return LEAST_REPORTED

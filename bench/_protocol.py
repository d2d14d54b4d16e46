"""The Handbook's prequential protocol (Le Borgne et al., chapters 3 and 5): folds, customers dropped, metrics."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.metrics import average_precision_score, roc_auc_score

I64 = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Scores = npt.NDArray[np.float32] | npt.NDArray[np.float64]

DAY_MS = 86_400_000
TRAIN_D = DELAY_D = ASSESS_D = 7
FOLDS = 4
TOP = 100


class Payments(NamedTuple):
    """Payments in order of time; `day` counts days since 1970. All arrays [n]."""

    t_ms: I64
    day: I64
    customer: I64
    terminal: I64
    amount_minor: I64
    fraud: Mask


class Fold(NamedTuple):
    """One fold: train on days [start, start + 7), wait 7 days, assess 7 days."""

    start: int

    @property
    def train_end(self) -> int:
        """Return the day after the training week."""
        return self.start + TRAIN_D

    @property
    def assess_start(self) -> int:
        """Return the first assessed day: every label of the training week is known when it begins."""
        return self.train_end + DELAY_D

    @property
    def assess_end(self) -> int:
        """Return the day after the assessed week."""
        return self.assess_start + ASSESS_D


class Grade(NamedTuple):
    """How scores did over one assessed week."""

    auc: float
    ap: float
    cp100: float


def load(file: Path) -> Payments:
    """Read the Handbook's table (Parquet), sorted by time. Amounts become cents."""
    frame = pl.read_parquet(file).sort("TX_DATETIME", "TRANSACTION_ID")
    t_ms = frame["TX_DATETIME"].dt.epoch("ms").to_numpy()
    return Payments(
        t_ms=t_ms,
        day=t_ms // DAY_MS,
        customer=frame["CUSTOMER_ID"].cast(pl.Int64).to_numpy(),
        terminal=frame["TERMINAL_ID"].cast(pl.Int64).to_numpy(),
        amount_minor=(frame["TX_AMOUNT"] * 100).round().cast(pl.Int64).to_numpy(),
        fraud=frame["TX_FRAUD"].to_numpy() > 0,
    )


def folds(last: dt.date) -> tuple[Fold, ...]:
    """Return the folds, latest first; `last` is the first training day of the latest one.

    >>> [fold.start for fold in folds(dt.date(1970, 2, 1))]
    [31, 24, 17, 10]
    """
    first = (last - dt.date(1970, 1, 1)).days
    return tuple(Fold(first - TRAIN_D * k) for k in range(FOLDS))


def assessed(payments: Payments, fold: Fold) -> I64:
    """Return the indices of the payments assessed.

    Day *i* of the assessed week is without the customers of frauds in the training week or in the *i* days after it:
    those known, 7 days late, before that day.
    """
    picked = []
    for day in range(fold.assess_start, fold.assess_end):
        judged = (payments.day >= fold.start) & (payments.day < day - DELAY_D)
        known = np.unique(payments.customer[judged & payments.fraud])
        today = np.flatnonzero(payments.day == day)
        picked.append(today[~np.isin(payments.customer[today], known)])
    return np.concatenate(picked)


def grade(payments: Payments, index: I64, score: Scores) -> Grade:
    """Grade the scores [n] of the payments at `index` [n]."""
    fraud = payments.fraud[index]
    cp100 = card_precision(payments.day[index], payments.customer[index], fraud, score)
    return Grade(float(roc_auc_score(fraud, score)), float(average_precision_score(fraud, score)), cp100)


def card_precision(day: I64, customer: I64, fraud: Mask, score: Scores, top: int = TOP) -> float:
    """Return the mean over days of the precision among the `top` customers, each scored by the riskiest payment.

    A customer is defrauded on a day if any payment of that day is a fraud. Those found among a day's top are left out
    of later days. Ties go to the lower customer id.

    >>> card_precision(np.array([0, 0, 1, 1]), np.array([1, 2, 1, 2]), np.array([1, 0, 1, 1]) > 0,
    ...     np.array([0.9, 0.1, 0.8, 0.2]), top=1)
    1.0
    """
    found = np.empty(0, dtype=np.int64)
    precisions = []
    for today in np.unique(day):
        here = np.flatnonzero((day == today) & ~np.isin(customer, found))
        names, place = np.unique(customer[here], return_inverse=True)
        riskiest = np.full(len(names), -np.inf)
        np.maximum.at(riskiest, place, score[here])
        defrauded = np.zeros(len(names), dtype=np.bool_)
        np.logical_or.at(defrauded, place, fraud[here])
        best = np.argsort(-riskiest, kind="stable")[:top]
        hits = names[best][defrauded[best]]
        found = np.concatenate([found, hits])
        precisions.append(len(hits) / top)
    return float(np.mean(precisions))

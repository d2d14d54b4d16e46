"""The Handbook protocol on hand-made payments."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from bench import _book
from bench._protocol import DAY_MS, I64, Fold, Payments, assessed, card_precision, folds, grade, load


def payments(*rows: tuple[int, int, int, bool]) -> Payments:
    """Payments of (day, customer, terminal, fraud), at noon, of 10.00 each."""
    day, customer, terminal, fraud = (np.array(c) for c in zip(*rows, strict=True))
    t_ms: I64 = day * DAY_MS + DAY_MS // 2
    return Payments(t_ms, day, customer, terminal, np.full(len(day), 1000), fraud)


def test_folds_step_back_by_weeks() -> None:
    first, second, *_ = folds(dt.date(1970, 2, 1))
    assert (first.start, first.train_end, first.assess_start, first.assess_end) == (31, 38, 45, 52)
    assert second.start == 24
    assert len(folds(dt.date(1970, 2, 1))) == 4


def test_only_the_assessed_week_is_assessed() -> None:
    days = payments(*((day, 1, 1, False) for day in range(25)))
    assert assessed(days, Fold(0)).tolist() == list(range(14, 21))


@pytest.mark.parametrize(
    ("fraud_day", "kept"),
    [(-1, 7), (0, 0), (6, 0), (7, 1), (9, 3), (12, 6), (13, 7), (14, 7)],
)
def test_a_customer_is_dropped_from_the_day_their_fraud_is_known(fraud_day: int, kept: int) -> None:
    table = payments((fraud_day, 1, 1, True), *((day, 1, 1, False) for day in range(14, 21)))
    assert len([i for i in assessed(table, Fold(0)) if i > 0]) == kept


def test_other_customers_are_kept() -> None:
    table = payments((3, 1, 1, True), (14, 1, 1, False), (14, 2, 1, False))
    assert assessed(table, Fold(0)).tolist() == [2]


def test_grades_against_values_worked_by_hand() -> None:
    table = payments((0, 1, 1, True), (0, 2, 1, False), (0, 3, 1, True), (0, 4, 1, False))
    result = grade(table, np.arange(4), np.array([0.9, 0.8, 0.7, 0.1]))
    assert result.auc == pytest.approx(3 / 4)
    assert result.ap == pytest.approx((1 + 2 / 3) / 2)
    assert result.cp100 == pytest.approx(2 / 100)


def precision(rows: list[tuple[int, int, bool, float]], top: int) -> float:
    day, customer, fraud, score = (np.array(c) for c in zip(*rows, strict=True))
    return card_precision(day, customer, fraud, score, top)


def test_a_customer_is_as_risky_as_the_riskiest_payment_and_defrauded_by_any() -> None:
    rows = [(0, 1, True, 0.1), (0, 1, False, 0.9), (0, 2, False, 0.8), (0, 3, False, 0.7)]
    assert precision(rows, top=1) == 1.0
    assert precision(rows, top=2) == 0.5


def test_a_customer_found_leaves_later_days() -> None:
    later = [(1, 1, True, 0.9), (1, 2, False, 0.8)]
    assert precision([(0, 1, True, 0.9), *later], top=1) == 0.5
    assert precision([(0, 1, False, 0.9), *later], top=1) == 0.5
    assert precision([(0, 5, True, 0.9), *later], top=1) == 1.0


def test_the_books_terminal_risk_sees_frauds_after_seven_days() -> None:
    table = payments((0, 1, 9, True), (0, 2, 9, False), (6, 3, 9, False), (7, 4, 9, False), (8, 5, 9, False))
    week_count, week_risk = 11, 12
    x = _book.matrix(table)
    assert x[:, week_risk].tolist() == [0.0, 0.0, 0.0, 0.5, 0.5]
    assert x[:, week_count].tolist() == [0.0, 0.0, 0.0, 2.0, 2.0]


def test_the_books_customer_windows_hold_the_payment_itself() -> None:
    table = payments((0, 1, 1, False), (3, 1, 2, False), (8, 1, 3, False))
    counts_1d_7d_30d = _book.matrix(table)[:, [3, 5, 7]]
    assert counts_1d_7d_30d.tolist() == [[1, 1, 1], [1, 2, 2], [1, 2, 3]]


def test_loads_the_handbooks_columns_in_order_of_time(tmp_path: Path) -> None:
    noon = dt.datetime(1970, 1, 2, 12)
    columns = {
        "TRANSACTION_ID": [1, 0], "TX_DATETIME": [noon, noon - dt.timedelta(days=1)], "CUSTOMER_ID": [7, 8],
        "TERMINAL_ID": [5, 6], "TX_AMOUNT": [19.99, 0.29], "TX_FRAUD": [1, 0],
    }  # fmt: skip
    pl.DataFrame(columns).write_parquet(tmp_path / "t.parquet")
    table = load(tmp_path / "t.parquet")
    assert [c.tolist() for c in table[1:]] == [[0, 1], [8, 7], [6, 5], [29, 1999], [False, True]]

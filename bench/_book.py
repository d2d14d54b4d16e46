"""The Handbook's own baseline (Le Borgne et al., chapters 3 and 5): its features and its XGBoost."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import polars as pl
import xgboost

from bench._protocol import I64, Fold, Payments

WINDOWS_D = (1, 7, 30)
DELAY_D = 7


def matrix(payments: Payments) -> npt.NDArray[np.float32]:
    """Return the book's 15 features, float32 [n, 15]; its windows include the payment itself."""
    frame = pl.DataFrame(
        {
            "t": pl.Series(payments.t_ms).cast(pl.Datetime("ms")),
            "customer": payments.customer,
            "terminal": payments.terminal,
            "amount": payments.amount_minor / 100,
            "fraud": payments.fraud.astype(np.float64),
            "one": np.ones(len(payments.day)),
        }
    )
    columns = frame.select(
        pl.col("amount"),
        (pl.col("t").dt.weekday() > 5).alias("weekend"),
        (pl.col("t").dt.hour() <= 6).alias("night"),
        *_customer(),
        *_terminal(),
    )
    return columns.to_numpy().astype(np.float32)


def _customer() -> Iterator[pl.Expr]:
    for days in WINDOWS_D:
        count = _rolling("one", "customer", days)
        yield count.alias(f"customer_count_{days}d")
        yield (_rolling("amount", "customer", days) / count).alias(f"customer_mean_{days}d")


def _terminal() -> Iterator[pl.Expr]:
    """Counts and fraud shares of the payments 7 to 7 + W days old: their labels are known."""
    for days in WINDOWS_D:
        count = _rolling("one", "terminal", days + DELAY_D) - _rolling("one", "terminal", DELAY_D)
        frauds = _rolling("fraud", "terminal", days + DELAY_D) - _rolling("fraud", "terminal", DELAY_D)
        yield count.alias(f"terminal_count_{days}d")
        yield (frauds / count).fill_nan(0.0).alias(f"terminal_risk_{days}d")


def _rolling(column: str, key: str, days: int) -> pl.Expr:
    return pl.col(column).rolling_sum_by("t", window_size=f"{days}d").over(key)


def score(x: npt.NDArray[np.float32], payments: Payments, fold: Fold, index: I64) -> npt.NDArray[np.float32]:
    """Train on the fold's training week and score the payments at `index`, float32 [len(index)]."""
    week = (payments.day >= fold.start) & (payments.day < fold.train_end)
    model = xgboost.XGBClassifier(
        tree_method="exact", base_score=0.5, n_estimators=50, learning_rate=0.3, max_depth=3, n_jobs=1, random_state=0
    )
    model.fit(x[week], payments.fraud[week])
    return np.asarray(model.predict_proba(x[index])[:, 1], dtype=np.float32)

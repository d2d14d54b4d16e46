"""Grade the default plan and trees on the Handbook's simulated card payments, against the book's XGBoost, fold by fold.

``python -m bench.handbook [--data FILE] [--last-fold DATE]``; raw values in ``bench/out/handbook.json``, the last line
printed is one JSON object. *strict* trains on the fold's 7 training days, *all* on every payment up to their end; both,
as in the book, with the labels known 7 days later, when the assessed week begins. *logged* is *all* with only the
labels logged by the end of the training week. All weigh and sample their rows as the product does. *laws* is no model:
it is the most that anybody can know (``bench._book_laws``). The data are simulated, not those of a payment system.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from avalist.domain.records import FoldKind
from avalist.domain.row import AT, CAPTURED_DELTA, FRAUD_DELTA, KIND, OCCURRED, VALUES, T, keys_at, row_width
from avalist.domain.schema import EntityDecl, Schema
from avalist.features.derive import derive
from avalist.features.plan import compile_plan
from avalist.features.state import State
from avalist.models.train import TrainParams, sample
from bench import _book
from bench._book_laws import Laws
from bench._protocol import DAY_MS, DELAY_D, I64, Fold, Grade, Mask, Payments, assessed, folds, grade, load

F32 = npt.NDArray[np.float32]
ROOT = Path(__file__).parent
DATA = Path("../shared/data/handbook/transactions.parquet")
LAST_FOLD: Final = dt.date(2018, 7, 11)
"""The last validation fold; parameters are chosen on these folds alone."""

SCHEMA: Final = Schema(
    base_currency="EUR",
    entities=(EntityDecl("customer", "customer.id"), EntityDecl("terminal", "custom.terminal")),
    label_delay_d=float(DELAY_D),
    report_delay_d=(float(DELAY_D), float(DELAY_D)),
)
ROWS: Final = TrainParams()
"""How the product weighs and samples the rows of a history."""
TREES: Final = 300
PARAMS: Final[dict[str, object]] = {
    "objective": "binary",
    "num_leaves": 31,
    "learning_rate": 0.03,
    "min_data_in_leaf": 40,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "seed": 1,
    "num_threads": 1,
    "deterministic": True,
    "verbosity": -1,
}


def matrix(payments: Payments) -> tuple[F32, tuple[str, ...]]:
    """Return the default plan's columns of every payment as decided, float32 [n, f], and their names.

    One pass of the product's kernel over the payments and the fraud reports, each 7 days after its payment.
    """
    plan = compile_plan(SCHEMA, derive(SCHEMA))
    log = events_of(payments, SCHEMA, (payments.customer, payments.terminal))
    return State(plan).run(log, log[:, KIND] == FoldKind.PAYMENT), plan.columns


def events_of(payments: Payments, schema: Schema, keys: tuple[I64, ...]) -> I64:
    """Return the payments, and a fraud's report 7 days after it, as fold rows in order of arrival, int64 [n, width]."""
    rows = np.zeros((len(payments.t_ms), row_width(schema)), dtype=np.int64)
    rows[:, [AT, T, OCCURRED]] = payments.t_ms[:, None]
    rows[:, KIND] = FoldKind.PAYMENT
    rows[:, CAPTURED_DELTA] = 1
    rows[:, VALUES] = payments.amount_minor
    rows[:, keys_at(schema) :] = np.stack(keys, axis=1) + 1  # 0 is the absent key
    reports = rows[payments.fraud]
    reports[:, KIND] = FoldKind.OUTCOME
    reports[:, AT] += DELAY_D * DAY_MS
    reports[:, CAPTURED_DELTA] = 0
    reports[:, FRAUD_DELTA] = 1
    log = np.concatenate([reports, rows])
    return log[np.argsort(log[:, AT], kind="stable")]


def strict(payments: Payments, fold: Fold) -> Mask:
    """Return the rows of the training week."""
    return (payments.day >= fold.start) & (payments.day < fold.train_end)


def everything(payments: Payments, fold: Fold) -> Mask:
    """Return the rows up to the end of the training week."""
    return payments.day < fold.train_end


def logged(payments: Payments, fold: Fold) -> Mask:
    """Return the rows whose labels were logged by the end of the training week: a fraud is known after 7 days."""
    return payments.day < fold.train_end - DELAY_D


LINES: Final[dict[str, Callable[[Payments, Fold], Mask]]] = {"strict": strict, "all": everything, "logged": logged}


def score(x: F32, payments: Payments, training: Mask, index: I64) -> npt.NDArray[np.float64]:
    """Train on the rows marked and return the margins of the rows at `index`."""
    rows, weight = weighed(payments, training)
    booster = lgb.train(PARAMS, lgb.Dataset(x[rows], payments.fraud[rows], weight=weight, params=PARAMS), TREES)
    return np.asarray(booster.predict(x[index], raw_score=True, num_threads=1))


def weighed(payments: Payments, training: Mask) -> tuple[I64, npt.NDArray[np.float64]]:
    """Return the rows to learn from and their weights: recent ones weigh more, many honest ones are sampled."""
    rows = np.flatnonzero(training)
    age_d = (payments.t_ms[rows[-1]] - payments.t_ms[rows]) / DAY_MS
    weight = 0.5 ** (age_d / (ROWS.half_life_d or np.inf))
    picked, weight = sample(payments.fraud[rows].astype(np.float64), weight, ROWS.most_rows)
    return rows[picked], weight


def run(payments: Payments, last: dt.date) -> dict[str, list[Grade]]:
    """Grade XGBoost and every line on the four folds, printing each as it comes."""
    book = _book.matrix(payments)
    print(f"the book's features: {book.shape[1]} columns", flush=True)
    x, columns = matrix(payments)
    print(f"the default plan's: {len(columns)} columns", flush=True)
    laws = Laws(payments)
    grades: dict[str, list[Grade]] = {name: [] for name in ("xgb", *LINES, "laws")}
    for fold in folds(last):
        index = assessed(payments, fold)
        grades["xgb"].append(grade(payments, index, _book.score(book, payments, fold, index)))
        for name, rows in LINES.items():
            grades[name].append(grade(payments, index, score(x, payments, rows(payments, fold), index)))
        grades["laws"].append(grade(payments, index, laws.chances(index)))
        _print_fold(fold, {name: values[-1] for name, values in grades.items()}, len(index))
    return grades


def _print_fold(fold: Fold, grades: dict[str, Grade], payments: int) -> None:
    start = dt.date(1970, 1, 1) + dt.timedelta(days=fold.start)
    print(f"fold from {start}, {payments} payments assessed", flush=True)
    for name, value in grades.items():
        paired = value.ap - grades["xgb"].ap
        print(
            f"  {name:7} AUC {value.auc:.4f}  AP {value.ap:.4f} ({paired:+.4f})  CP@100 {value.cp100:.4f}", flush=True
        )


def summary(grades: dict[str, list[Grade]]) -> dict[str, float]:
    """Return means and population standard deviations over folds, as ``line_metric`` and ``line_metric_std``."""
    result = {}
    for name, values in grades.items():
        table = np.array(values)
        for metric, mean, std in zip(Grade._fields, table.mean(axis=0), table.std(axis=0), strict=True):
            result[f"{name}_{metric}"] = round(float(mean), 4)
            result[f"{name}_{metric}_std"] = round(float(std), 4)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.handbook", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="the Handbook's table (Parquet)")
    parser.add_argument("--last-fold", type=dt.date.fromisoformat, default=LAST_FOLD, help="first day of fold 0")
    options = parser.parse_args()
    if not options.data.exists():
        print(json.dumps({"bench": "handbook", "skipped": f"no data at {options.data}"}))
        return
    payments = load(options.data)
    if payments.day[-1] < folds(options.last_fold)[0].assess_end - 1:
        parser.error(f"the data end before the assessed week of --last-fold {options.last_fold}")
    grades = run(payments, options.last_fold)
    raw = {name: [value._asdict() for value in values] for name, values in grades.items()}
    out = ROOT / "out" / "handbook.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps({"last_fold": str(options.last_fold), "trees": TREES, "params": PARAMS, "folds": raw}))
    print(json.dumps({"bench": "handbook", "last_fold": str(options.last_fold), **summary(grades)}))


if __name__ == "__main__":
    main()

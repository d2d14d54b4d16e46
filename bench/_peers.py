"""Windows by entity in polars and DuckDB: the same columns as the kernel's, in their own best idiom.

Run as a process of its own, pinned, with one thread each: ``python -m bench._peers IN.npz OUT.npz``. Only the queries
are timed, in processor time: reading, sorting by entity and putting the columns back into the order of events are left
out, in the peers' favour. Their windows are exact, [t − W, t): ours move in steps, so `OUT` holds their values, to be
checked by brute force.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import duckdb
import numpy as np
import polars as pl

AGGREGATES: Final = ("count", "sum", "mean", "max")
_SQL: Final = {"count": "count(*)", "sum": "sum(amount)", "mean": "avg(amount)", "max": "max(amount)"}


def by_polars(frame: pl.DataFrame, entity: str, windows_ms: list[int]) -> Callable[[], list[pl.DataFrame]]:
    """Return a query of one frame a window, of rows sorted by entity: rolling groups, one pass for all aggregates."""
    ordered = frame.sort(entity, "t", maintain_order=True).with_columns(pl.col("t").set_sorted())
    amount = pl.col("amount")
    columns = {"count": pl.len(), "sum": amount.sum(), "mean": amount.mean(), "max": amount.max()}
    named = [columns[name].alias(name) for name in AGGREGATES]

    def query() -> list[pl.DataFrame]:
        return [
            ordered.rolling(index_column="t", period=f"{window}i", group_by=entity, closed="left").agg(named)
            for window in windows_ms
        ]

    return query


def by_duckdb(entity: str, windows_ms: list[int], connection: duckdb.DuckDBPyConnection) -> Callable[[], object]:
    """Return a query of all columns into a table of its own."""
    frames = ",".join(
        f"w{n} AS (PARTITION BY {entity} ORDER BY t RANGE BETWEEN {window} PRECEDING AND 1 PRECEDING)"
        for n, window in enumerate(windows_ms)
    )
    columns = ",".join(f"{_SQL[name]} OVER w{n} AS {name}_{n}" for n in range(len(windows_ms)) for name in AGGREGATES)
    text = f"CREATE OR REPLACE TEMP TABLE answer AS SELECT place, {columns} FROM payments WINDOW {frames}"
    return lambda: connection.execute(text)


def distinct_by_duckdb(
    entity: str, of: str, windows_ms: list[int], con: duckdb.DuckDBPyConnection
) -> Callable[[], object]:
    """Return a query of distinct counts; polars has them in the same rolling groups."""
    past = f"PARTITION BY {entity} ORDER BY t RANGE BETWEEN"
    columns = ",".join(
        f"count(DISTINCT {of}) OVER ({past} {window} PRECEDING AND 1 PRECEDING) AS d{n}"
        for n, window in enumerate(windows_ms)
    )
    return lambda: con.execute(f"CREATE OR REPLACE TEMP TABLE apart AS SELECT place, {columns} FROM payments")


def distinct_by_polars(frame: pl.DataFrame, entity: str, of: str, windows_ms: list[int]) -> Callable[[], object]:
    """Return a query of distinct counts."""
    ordered = frame.sort(entity, "t", maintain_order=True).with_columns(pl.col("t").set_sorted())
    return lambda: [
        ordered.rolling(index_column="t", period=f"{w}i", group_by=entity, closed="left").agg(pl.col(of).n_unique())
        for w in windows_ms
    ]


def fastest_s(query: Callable[[], object], rounds: int) -> float:
    """Return the least processor time of some rounds."""
    taken = []
    for _ in range(rounds):
        start = time.process_time()
        query()
        taken.append(time.process_time() - start)
    return min(taken)


def main() -> None:
    given = np.load(sys.argv[1])
    windows = [int(w) for w in given["windows_ms"]]
    distinct = [int(w) for w in given["distinct_ms"]]
    frame = pl.DataFrame({name: given[name] for name in ("place", "t", "customer", "terminal", "amount")})
    connection = duckdb.connect(config={"threads": 1})
    connection.register("given", frame.to_arrow())
    connection.execute("CREATE TABLE payments AS SELECT * FROM given")
    rounds, events = int(given["rounds"]), len(frame)
    seconds = {"polars": 0.0, "duckdb": 0.0, "polars_distinct": 0.0, "duckdb_distinct": 0.0}
    sample = given["sample"]
    answers = {}
    for entity, of in (("customer", "terminal"), ("terminal", "customer")):
        polars_query = by_polars(frame, entity, windows)
        seconds["polars"] += fastest_s(polars_query, rounds)
        seconds["duckdb"] += fastest_s(by_duckdb(entity, windows, connection), rounds)
        order = frame.sort(entity, "t", maintain_order=True)["place"].to_numpy()
        for n, answer in enumerate(polars_query()):
            values = np.empty((events, len(AGGREGATES)))
            values[order] = answer.select(AGGREGATES).cast(pl.Float64).to_numpy()
            answers[f"polars_{entity}_{n}"] = values[sample]
        table = connection.execute("SELECT * EXCLUDE place FROM answer ORDER BY place").fetchnumpy()
        columns_of = [np.ma.filled(np.ma.asarray(c, dtype=np.float64), np.nan)[sample] for c in table.values()]
        answers[f"duckdb_{entity}"] = np.stack(columns_of, axis=1)
        seconds["polars_distinct"] += fastest_s(distinct_by_polars(frame, entity, of, distinct), 1)
        seconds["duckdb_distinct"] += fastest_s(distinct_by_duckdb(entity, of, distinct, connection), 1)
    columns = 2 * len(AGGREGATES) * len(windows)
    per = {name: columns if "distinct" not in name else 2 * len(distinct) for name in seconds}
    np.savez(Path(sys.argv[2]), **answers)
    print(json.dumps({f"{name}_ns": taken / events / per[name] * 1e9 for name, taken in seconds.items()}))


if __name__ == "__main__":
    main()

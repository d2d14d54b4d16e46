"""Time one row through 300 trees of 63 leaves on 120 columns: ours against LightGBM's own predictors.

``python -m bench.score``; raw samples in ``bench/out/score.json``, the last line printed is one JSON object.
"""

from __future__ import annotations

import ctypes
import json
import time
from collections.abc import Callable

import lightgbm as lgb
import numpy as np

from avalist.models.artefact import Artefact, DataRange
from avalist.models.calibrate import calibrate
from avalist.models.score import Model
from avalist.models.trees import F32, F64, Trees, score_and_attribute
from bench._raw import keep

COLUMNS, TREES, LEAVES, ROWS, TIMED = 120, 300, 63, 40_000, 4000
_FLOAT32, _RAW_SCORE = 0, 1


def data() -> tuple[F32, F64]:
    """Return rows with a fifth missing, a third of the columns counts, and labels that some of them explain."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, COLUMNS)).astype(np.float32)
    x[:, ::3] = np.floor(np.abs(x[:, ::3]) * 3.0)
    x[rng.random(x.shape) < 0.2] = np.nan
    return x, (np.nan_to_num(x[:, :10]).sum(axis=1) + rng.normal(size=ROWS) > 5.0).astype(np.float64)


def forest(x: F32, y: F64) -> lgb.Booster:
    params = {
        "objective": "binary",
        "num_leaves": LEAVES,
        "learning_rate": 0.04,
        "min_data_in_leaf": 50,
        "feature_fraction": 0.5,
        "num_threads": 1,
        "verbosity": -1,
        "deterministic": True,
        "force_row_wise": True,
    }
    return lgb.train(params, lgb.Dataset(x, y), TREES)


def fast_c_api(booster: lgb.Booster) -> Callable[[F32], float] | None:
    """Return LightGBM's single-row fast predictor through ctypes, or None if this build has none."""
    library = getattr(lgb.basic, "_LIB", None)
    if library is None or not hasattr(library, "LGBM_BoosterPredictForMatSingleRowFastInit"):
        return None
    config, length, result = ctypes.c_void_p(), ctypes.c_int64(), np.zeros(1)
    handle = lgb.Booster(model_str=booster.model_to_string())
    code = library.LGBM_BoosterPredictForMatSingleRowFastInit(
        handle._handle, _RAW_SCORE, 0, -1, _FLOAT32, COLUMNS, b"num_threads=1", ctypes.byref(config)
    )
    if code != 0:
        return None
    out = result.ctypes.data_as(ctypes.POINTER(ctypes.c_double))

    def predict(row: F32) -> float:
        pointer = ctypes.c_void_p(row.ctypes.data)
        library.LGBM_BoosterPredictForMatSingleRowFast(config, pointer, ctypes.byref(length), out)
        return float(result[0]) if handle else 0.0

    return predict


def sample(call: Callable[[F32], object], x: F32) -> list[int]:
    """Return nanoseconds per row, after a warm-up."""
    for row in x[:200]:
        call(row)
    times = []
    for row in x[:TIMED]:
        start = time.perf_counter_ns()
        call(row)
        times.append(time.perf_counter_ns() - start)
    return times


def main() -> None:
    x, y = data()
    booster = forest(x, y)
    trees = Trees.from_booster(booster)
    margins = trees.score_many(x)
    assert np.array_equal(margins[:2000], booster.predict(x[:2000], raw_score=True)), "not LightGBM's own margins"
    columns = tuple(f"column_{i}" for i in range(COLUMNS))
    percentiles = np.quantile(margins, np.arange(1, 100) / 100)
    artefact = Artefact(
        trees, calibrate(margins, y), percentiles, "0" * 16, columns, DataRange(0, 1, ROWS, int(y.sum()))
    )
    start = time.perf_counter_ns()
    model = Model(Artefact.from_bytes(artefact.to_bytes()))
    load_ms = (time.perf_counter_ns() - start) / 1e6
    margins_of, contributions = np.empty(32), np.empty((32, COLUMNS))
    batch = np.ascontiguousarray(x[:32])

    calls: dict[str, Callable[[F32], object]] = {
        "trees_and_attribution": lambda row: score_and_attribute(
            row[None], trees.nodes, trees.roots, margins_of[:1], contributions
        ),
        "trees_and_attribution_of_32": lambda row: score_and_attribute(
            batch, trees.nodes, trees.roots, margins_of, contributions
        ),
        "model_score_and_reasons": lambda row: model.score(row[None]),
        "lightgbm_predict": lambda row: booster.predict(row[None], raw_score=True, num_threads=1),
        "lightgbm_contributions": lambda row: booster.predict(row[None], pred_contrib=True, num_threads=1),
    }
    fast = fast_c_api(booster)
    if fast is not None:
        assert fast(x[0]) == margins[0], "the C API disagrees"
        calls["lightgbm_c_fast"] = fast
    raw = {name: sample(call, x if name != "lightgbm_contributions" else x[:40]) for name, call in calls.items()}
    keep("score", raw)
    result: dict[str, object] = {"bench": "score", "trees": len(trees.roots), "leaves": LEAVES, "columns": COLUMNS}
    result |= {"artefact_bytes": len(artefact.to_bytes()), "load_ms": round(load_ms, 1)}
    for name, times in raw.items():
        p50, p99 = np.percentile(times, [50, 99]) / 1e3
        print(f"{name:26} p50 {p50:8.1f} µs   p99 {p99:8.1f} µs   n {len(times)}")
        result |= {f"{name}_p50_us": round(p50, 2), f"{name}_p99_us": round(p99, 2)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()

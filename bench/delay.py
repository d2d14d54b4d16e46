"""Learn from labels that come weeks late: beside an oracle that knows all of them, and a learner that waits for none.

``python -m bench.delay [--seeds N]``; raw values in ``bench/out/delay.json``, the last line printed is one JSON object.
A simulated merchant's reports take 35 days (median) and it declares 25; an eighth of its payments are risky at any
time, and an attack that is riskier began 24 days before the cut. Three models train on what was captured by then:
*late* knows the reports logged and estimates the delay law from them, *naive* reads no report yet as honest, *oracle*
knows every label. All are graded on the fourteen days that follow, by the truth.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from typing import Final

import numpy as np

from avalist.app.train import delay_at, known_by
from avalist.domain.delay import DelayLaw
from avalist.domain.schema import DAY_MS
from avalist.models.judge import decile_edges
from avalist.models.metrics import average_precision, roc_auc
from avalist.models.train import TrainingSet, TrainParams, train
from avalist.models.trees import F64
from avalist.simulator import World
from bench._late import Lived, attack, lived, slow_world
from bench._raw import keep

MEDIAN_D, P95_D = 35.0, 110.0
CUT_D, GRADED_D, ATTACK_D = 120, 14, 24
PER_DAY, ATTACK_PER_DAY = 800.0, 250
LONE_P: Final = 0.05, 0.2
"""So an eighth of all payments have more risk than most and less than the attack: who takes it for honest misplaces it
behind them."""
PARAMS: Final = TrainParams(
    test_share=0.0, trees=150, leaves=15, learning_rate=0.06, min_data_in_leaf=100, num_threads=2
)


def sets(life: Lived, cut_ms: int) -> dict[str, TrainingSet]:
    """Return what the three models learn from: the same rows, other labels."""
    late = known_by(life.data, cut_ms)
    captured = life.data.known_at(cut_ms)[0] & (life.data.t_ms < cut_ms)
    naive = replace(late, report_probability=None)
    return {"oracle": replace(naive, y=life.fraud[captured].astype(np.int64)), "late": late, "naive": naive}


def graded(life: Lived, p: F64, rows: np.ndarray) -> dict[str, object]:
    """Grade probabilities of the payments at `rows` by the truth."""
    y = life.fraud[rows].astype(np.float64)
    tenth = np.searchsorted(decile_edges(p)[1:-1], p, side="right")
    due, seen = np.bincount(tenth, p), np.bincount(tenth, y)
    return {
        "auc": roc_auc(y, p),
        "ap": average_precision(y, p),
        "log_loss": float(-np.mean(np.where(y > 0, np.log(p), np.log1p(-p)))),
        "observed_expected": float(y.sum() / p.sum()),
        "by_decile": np.divide(seen, due, out=np.ones(len(due)), where=due > 0).round(3).tolist(),
        "p_range": [float(p.min()), float(p.max())],
    }


def run(seed: int) -> dict[str, object]:
    """Live one merchant and grade the three models."""
    config = slow_world(MEDIAN_D, P95_D, LONE_P)
    plan = attack(config, CUT_D - ATTACK_D, ATTACK_D + GRADED_D, ATTACK_PER_DAY)
    life = lived(World(config, seed=seed, payments_per_day=PER_DAY, extra_waves=(plan,)), CUT_D + GRADED_D)
    cut_ms = config.start_ms + CUT_D * DAY_MS
    captured = life.data.known_at(life.data.cut_ms)[0]
    rows = np.flatnonzero(captured & (life.data.t_ms >= cut_ms))
    result: dict[str, object] = {"seed": seed, "graded": len(rows), "frauds": int(life.fraud[rows].sum())}
    result["delay"] = told(life, cut_ms)
    for name, rows_known in sets(life, cut_ms).items():
        start = time.perf_counter()
        model = train(rows_known, PARAMS).artefact
        found = graded(life, model.calibration.apply(model.trees.score_many(life.data.x[rows])), rows)
        result[name] = {**found, "trees": len(model.trees.roots), "labels": int(rows_known.y.sum())}
        print(f"seed {seed} {name:6} {result[name]} in {time.perf_counter() - start:.0f} s", flush=True)
    return result


def told(life: Lived, cut_ms: int) -> dict[str, object]:
    """Return the estimated law beside the true one."""
    delay, law = delay_at(life.data, cut_ms), DelayLaw(MEDIAN_D, P95_D)
    ages = np.array([10.0, 20.0, 40.0, 80.0])
    return {
        "reports": delay.reports,
        "median_d": delay.quantile_d(0.5),
        "p95_d": delay.quantile_d(0.95),
        "age_d": ages.tolist(),
        "estimated": delay.reported_by(ages).round(4).tolist(),
        "true": [round(law.reported_by(age), 4) for age in ages.tolist()],
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.delay", description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2, help="merchants to live")
    runs = [run(seed) for seed in range(1, parser.parse_args().seeds + 1)]
    keep("delay", runs)

    def mean(name: str, metric: str) -> float:
        return float(np.mean([r[name][metric] for r in runs]))  # type: ignore[index]

    level = float(np.mean([r["late"]["observed_expected"] for r in runs]))  # type: ignore[index]
    print(
        json.dumps(
            {
                "bench": "delay",
                "seeds": len(runs),
                "auc_gap": round(mean("oracle", "auc") - mean("late", "auc"), 4),
                "logloss_gap_pct": round(100.0 * (mean("late", "log_loss") / mean("oracle", "log_loss") - 1.0), 2),
                "naive_auc_gap": round(mean("oracle", "auc") - mean("naive", "auc"), 4),
                "oracle_auc": round(mean("oracle", "auc"), 4),
                "observed_expected": round(level, 3),
                "oracle_observed_expected": round(mean("oracle", "observed_expected"), 3),
            }
        )
    )


if __name__ == "__main__":
    main()

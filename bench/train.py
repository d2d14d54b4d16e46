"""Time a training end to end, from the log to a judged, calibrated model, beside a bare LightGBM fit on the same rows.

``python -m bench.train [--payments N] [--data FILE]``; seconds of every run in ``bench/out/train.json``, the last line
printed is one JSON object. End to end is the command ``avalist train``: reading and replaying the log, the law of
delays, two models (one graded on the last slice, one that ships), calibration, the level by age. The bare fit is
``lightgbm.train`` with 300 trees of 63 leaves and 2 threads on the matrix in memory, before the command and after it.
The payments are the Handbook's, simulated by others; the pattern of a payment and a made-up region of a hundred
terminals are a third and a fourth entity.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import lightgbm as lgb
import numpy as np
import polars as pl

from avalist.app.dataset import collect
from avalist.app.train import known_by
from avalist.bootstrap import open_log
from avalist.config import settings_from
from avalist.models.train import TrainingSet
from bench._raw import keep

DATA: Final = Path("../shared/data/handbook/transactions.parquet")
MAPPING: Final = Path("docs/mappings/handbook.toml")
BARE: Final[dict[str, object]] = {
    "objective": "binary", "num_leaves": 63, "num_threads": 2, "deterministic": True, "force_col_wise": True,
    "verbosity": -1,
}  # fmt: skip
TREES: Final = 300


def bare_fit(rows: TrainingSet) -> float:
    """Return the seconds of a fit with nothing around it, the binning of the rows included."""
    start = time.perf_counter()
    lgb.train(BARE, lgb.Dataset(rows.x, rows.y, params=BARE), TREES)
    return time.perf_counter() - start


def avalist(*words: str) -> float:
    """Run a command of the product; return its seconds."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "avalist", *words], check=True)
    return time.perf_counter() - start


def measure(file: Path, payments: int, folder: Path) -> dict[str, float]:
    """Import the first payments of a file, then time the two."""
    history, data = folder / "history.parquet", folder / "data"
    pl.read_parquet(file).head(payments).with_columns(REGION=pl.col("TERMINAL_ID") // 100).write_parquet(history)
    mapping = folder / "mapping.toml"
    mapping.write_text(
        MAPPING.read_text()
        .replace("[outcomes]", '"custom.region" = "REGION"\n\n[outcomes]')
        .replace("[schema.entities]", '[schema.entities]\nregion = "custom.region"\npattern = "pattern.payment"')
    )
    avalist("import", "shop", str(history), "--mapping", str(mapping), "--data", str(data))
    log = open_log(settings_from({}, data=data), readonly=True)
    replayed = collect(log.read, "shop")
    log.close()
    rows = known_by(replayed, replayed.cut_ms)
    seconds = {"bare_before_s": bare_fit(rows)}
    seconds["whole_s"] = avalist("train", "shop", "--threads", "2", "--no-activate", "--data", str(data))
    seconds["bare_after_s"] = bare_fit(rows)
    return {**seconds, "rows": float(len(rows.y)), "features": float(rows.x.shape[1])}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.train", description=__doc__.splitlines()[0])
    parser.add_argument("--payments", type=int, default=1_200_000, help="of the file's first [default: 1,200,000]")
    parser.add_argument("--data", type=Path, default=DATA, help="the Handbook's payments as Parquet")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="avalist-train-") as folder:
        raw = measure(options.data, options.payments, Path(folder))
    keep("train", raw)
    bare_s = float(np.mean([raw["bare_before_s"], raw["bare_after_s"]]))
    print(
        json.dumps(
            {
                "bench": "train",
                "ratio_to_bare_fit": round(raw["whole_s"] / bare_s, 2),
                "whole_s": round(raw["whole_s"], 1),
                "bare_fit_s": round(bare_s, 1),
                "rows": int(raw["rows"]),
                "features": int(raw["features"]),
            }
        )
    )


if __name__ == "__main__":
    main()

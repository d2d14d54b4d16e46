"""What more columns would add to a model: trees grown on what its scores leave, judged on later payments.

A model with and without a group of columns differs by the luck of its training, too, which hides what a few columns
bring. Trees that begin at the model's own margins see nothing but what it left.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from avalist.models.calibrate import report_gradient, report_loss
from avalist.models.trees import F32, F64, Trees

_ROUNDS: Final = 60
_FEWEST_IN_LEAF: Final = 100
_SETTINGS: Final[dict[str, Any]] = {
    "num_leaves": 4,
    "learning_rate": 0.05,
    "lambda_l2": 20.0,
    "num_threads": 1,
    "seed": 0,
    "metric": "None",
    "deterministic": True,
    "force_col_wise": True,
    "verbosity": -1,
}


def grow_on(x: F32, margins: F64, y: npt.NDArray[np.bool_], reported: F64) -> Trees:
    """Return trees that correct `margins` [n] by the columns `x` float32 [n, k].

    `y` says which payments are reported as fraud, `reported` how sure a fraud of that age would be. One thread, no
    draw: equal inputs give equal trees.
    """
    import lightgbm as lgb  # here, for it takes seconds and only training needs it

    seen = y.astype(np.float64)

    def objective(raw: F64, _: lgb.Dataset) -> tuple[F64, F64]:
        return report_gradient(raw, seen, reported)

    least = min(_FEWEST_IN_LEAF, max(len(x) // 20, 1))
    settings = {**_SETTINGS, "min_data_in_leaf": least, "objective": objective}
    rows = lgb.Dataset(x, seen, init_score=margins)
    return Trees.from_booster(lgb.train(settings, rows, num_boost_round=_ROUNDS))


def gain(trees: Trees, x: F32, margins: F64, y: npt.NDArray[np.bool_], reported: F64) -> F64:
    """Return by how much corrected margins explain each payment better, in nats [n]; below 0 is worse."""
    seen = y.astype(np.float64)
    corrected = margins + trees.score_many(np.ascontiguousarray(x))
    return report_loss(margins, seen, reported) - report_loss(corrected, seen, reported)

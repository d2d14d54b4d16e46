"""Tree ensembles of ONNX score here as ONNX Runtime scores them; what is none is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import lightgbm as lgb
import numpy as np
import onnxruntime
import pytest
import xgboost as xgb
from onnx import TensorProto, helper
from onnxmltools.convert import convert_lightgbm, convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType as SklearnFloats
from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor, RandomForestClassifier

from avalist.app.take_away import brought
from avalist.app.train import known_by
from avalist.domain.errors import BadInput
from avalist.models.onnx_trees import trees_from_onnx
from tests.judged import dataset

RNG = np.random.default_rng(0)
X = np.round(RNG.normal(size=(800, 4)), 1).astype(np.float32)  # rounded, so that values meet thresholds
Y = (X[:, 0] - X[:, 1] + RNG.normal(size=800) > 1.0).astype(int)
GAPS = np.where(RNG.random(X.shape) < 0.2, np.nan, X).astype(np.float32)


def boosted(x: np.ndarray = GAPS, y: np.ndarray = Y, columns: int = 4) -> bytes:
    settings = {"objective": "binary", "num_leaves": 7, "verbosity": -1, "num_threads": 1}
    model = lgb.train(settings, lgb.Dataset(x, y), 12)
    return bytes(convert_lightgbm(model, initial_types=[("x", FloatTensorType([None, columns]))]).SerializeToString())


def xgboosted() -> bytes:
    model = xgb.XGBClassifier(n_estimators=12, max_depth=3, n_jobs=1).fit(GAPS, Y)
    return bytes(convert_xgboost(model, initial_types=[("x", FloatTensorType([None, 4]))]).SerializeToString())


def sklearned(model: Any) -> bytes:
    kinds = [("x", SklearnFloats([None, 4]))]
    return bytes(convert_sklearn(model.fit(X, Y), initial_types=kinds, target_opset=18).SerializeToString())


def by_onnx(body: bytes, x: np.ndarray) -> np.ndarray:
    *_, told = onnxruntime.InferenceSession(body, providers=["CPUExecutionProvider"]).run(None, {"x": x})
    if isinstance(told, list):
        return np.array([one[1] for one in told])
    return np.asarray(told)[:, -1]


def logistic(margin: np.ndarray) -> np.ndarray:
    return np.asarray(1.0 / (1.0 + np.exp(-margin)))


MADE: dict[str, tuple[Callable[[], bytes], np.ndarray, Callable[[np.ndarray], np.ndarray]]] = {
    "lightgbm": (boosted, GAPS, logistic),
    "xgboost": (xgboosted, GAPS, logistic),
    "boosted": (lambda: sklearned(GradientBoostingClassifier(n_estimators=12)), X, logistic),
    "forest": (lambda: sklearned(RandomForestClassifier(n_estimators=12, max_depth=4)), X, np.asarray),
    "regressor": (lambda: sklearned(GradientBoostingRegressor(n_estimators=12)), X, np.asarray),
}


@pytest.mark.parametrize("kind", MADE)
def test_rows_score_as_by_onnx_runtime(kind: str) -> None:
    body, x, link = MADE[kind][0](), *MADE[kind][1:]
    p = link(trees_from_onnx(body).score_many(x))
    assert p == pytest.approx(by_onnx(body, x), abs=2e-6)
    assert p.std() > 0.05


def ensemble(mode: str = "BRANCH_LEQ", track: int = 0, **changes: Any) -> bytes:
    """Return a stump on the second of two columns: 1 on the true way, −1 on the false one; `ops` follow it."""
    said: dict[str, Any] = {
        "n_targets": 1, "nodes_treeids": [0, 0, 0], "nodes_nodeids": [0, 1, 2], "nodes_featureids": [1, 0, 0],
        "nodes_modes": [mode, "LEAF", "LEAF"], "nodes_values": [0.5, 0.0, 0.0], "nodes_truenodeids": [1, 0, 0],
        "nodes_falsenodeids": [2, 0, 0], "nodes_missing_value_tracks_true": [track, 0, 0], "target_treeids": [0, 0],
        "target_nodeids": [1, 2], "target_ids": [0, 0], "target_weights": [1.0, -1.0],
    }  # fmt: skip
    ops, columns = changes.pop("ops", ()), changes.pop("columns", 2)
    said |= changes
    nodes = [helper.make_node("TreeEnsembleRegressor", ["x"], ["y0"], domain="ai.onnx.ml", **said)]
    nodes += [helper.make_node(op, [f"y{n}"], [f"y{n + 1}"]) for n, op in enumerate(ops)]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, columns])
    y = helper.make_tensor_value_info(f"y{len(ops)}", TensorProto.FLOAT, [None, 1])
    opsets = [helper.make_opsetid("ai.onnx.ml", 3), helper.make_opsetid("", 18)]
    model = helper.make_model(helper.make_graph(nodes, "g", [x], [y]), opset_imports=opsets, ir_version=9)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("track", [0, 1])
@pytest.mark.parametrize("mode", ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT"])
def test_every_way_to_split_and_every_way_of_unknown_values(mode: str, track: int) -> None:
    x = np.array([[9, 0.5], [9, 0.4], [9, 0.6], [9, np.nan]], np.float32)
    body = ensemble(mode, track)
    assert trees_from_onnx(body).score_many(x).tolist() == by_onnx(body, x).tolist()


@pytest.mark.parametrize(
    ("body", "match"),
    [
        (ensemble("BRANCH_EQ"), "splits by equality"),
        (ensemble(ops=("Identity", "Abs")), "more than score trees"),
        (ensemble(post_transform="PROBIT"), "another way"),
        (ensemble(aggregate_function="MAX"), "not added up"),
        (ensemble(n_targets=2), "several targets"),
        (ensemble(columns=1), "a column that its input has not"),
        (ensemble(columns=None), "how many columns"),
        (ensemble(nodes_truenodeids=[7, 0, 0]), "not whole"),
        (ensemble(nodes_falsenodeids=[0, 0, 0]), "child of two"),
        (b"\x00nonsense", "not an ONNX model"),
        (b"", "not one ensemble"),
    ],
)  # fmt: skip
def test_what_is_no_tree_ensemble_is_refused(body: bytes, match: str) -> None:
    with pytest.raises(BadInput, match=match):
        trees_from_onnx(body)


def test_a_model_of_onnx_is_brought_like_any_other() -> None:
    data = dataset(6000, frauds=0.05)
    known, middle = known_by(data, data.cut_ms), int(np.median(data.t_ms))
    early = known.t_ms < middle
    body = boosted(known.x[early], known.y[early], len(data.plan.columns))
    made = brought(data, body, data.plan.hash, middle)
    assert made.trained == "brought"
    assert made.report is not None
    assert made.report.roc_auc.value > 0.75
    with pytest.raises(BadInput, match="other columns"):
        brought(data, ensemble(), data.plan.hash, 0)
    with pytest.raises(BadInput, match="another plan"):
        brought(replace(data), body, "0" * 16, 0)

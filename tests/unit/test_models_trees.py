from dataclasses import replace

import lightgbm as lgb
import numpy as np
import pytest

from avalist.domain.errors import ArtefactInvalid, BadInput
from avalist.models.trees import F32, NODE, Trees

QUIET = {"verbosity": -1, "num_threads": 1, "min_data_in_leaf": 5, "num_leaves": 4, "learning_rate": 1.0}


def grow(x: F32, y: F32, trees: int = 1, **params: object) -> Trees:
    return Trees.from_booster(lgb.train({**QUIET, **params}, lgb.Dataset(x, y), trees))


def column(*values: float) -> F32:
    return np.repeat(np.array(values, np.float32), 20)[:, None]


@pytest.mark.parametrize("missing_like", [-1.0, 1.0])
def test_missing_goes_where_its_labels_lie(missing_like: float) -> None:
    x, y = column(np.nan, -5.0, 5.0), column(missing_like, -1.0, 1.0)[:, 0]
    missing, low, high = grow(x, y).score_many(np.array([[np.nan], [-5], [5]], np.float32))
    assert missing == (low if missing_like < 0 else high)


def test_missing_is_zero_when_training_saw_none_missing() -> None:
    trees = grow(column(-5.0, 5.0), column(-1.0, 1.0)[:, 0])
    missing, zero = trees.score_many(np.array([[np.nan], [0.0]], np.float32))
    assert missing == zero


def test_infinity_is_not_missing() -> None:
    trees = grow(column(np.nan, 1.0, 2.0), column(5.0, 0.0, 0.0)[:, 0])
    missing, infinite, two = trees.score_many(np.array([[np.nan], [np.inf], [2.0]], np.float32))
    assert infinite == two != missing


def test_attribution_goes_to_the_feature_that_splits() -> None:
    x = np.concatenate((column(-5.0, 5.0), np.zeros((40, 1), np.float32)), axis=1)
    trees = grow(x, column(-1.0, 1.0)[:, 0])
    margin = trees.score_many(x)[-1]
    assert trees.attribute(x)[-1].tolist() == [pytest.approx(margin - trees.bias), 0.0]


def test_the_bias_is_the_mean_training_margin() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(500, 3)).astype(np.float32)
    trees = grow(x, x[:, 0] ** 2 + x[:, 1], 20, learning_rate=0.1)
    assert trees.bias == pytest.approx(trees.score_many(x).mean(), abs=1e-9)


def test_stages_are_the_margins_of_the_first_trees() -> None:
    x = np.random.default_rng(3).normal(size=(500, 3)).astype(np.float32)
    trees = replace(grow(x, x[:, 0] ** 2 + x[:, 1], 20, learning_rate=0.1), base=0.5)
    for count, margins in zip((7, 20), trees.staged(x, [7, 20]), strict=True):
        assert margins == pytest.approx(trees.first(count).score_many(x), abs=1e-12)


def test_a_tree_without_a_split_is_its_root() -> None:
    trees = grow(np.zeros((40, 1), np.float32), np.ones(40, np.float32))
    assert trees.score_many(np.zeros((1, 1), np.float32))[0] == trees.bias == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({}, "categorical"),
        ({"zero_as_missing": True}, "zero_as_missing"),
        ({"linear_tree": True}, "linear"),
        ({"objective": "multiclass", "num_class": 2}, "several scores"),
        ({"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}, "averages"),
    ],
)
def test_what_we_do_not_walk_is_refused(params: dict[str, object], reason: str) -> None:
    x = column(0.0, 1.0, 2.0, 3.0)
    categories = [0] if reason == "categorical" else []
    rows = lgb.Dataset(x, (x[:, 0] == 1.0).astype(np.float32), categorical_feature=categories)
    booster = lgb.train({**QUIET, "min_data_per_group": 1, "cat_smooth": 0.0, **params}, rows, 1)
    with pytest.raises(BadInput, match=reason):
        Trees.from_booster(booster)


def test_a_matrix_of_another_width_is_refused() -> None:
    with pytest.raises(BadInput, match="width"):
        grow(column(0.0, 1.0), column(0.0, 1.0)[:, 0]).score_many(np.zeros((3, 2), np.float32))


@pytest.mark.parametrize("node", [(0.0, 7, 0, 0.0), (0.0, 0, 0, 0.0), (np.inf, 0, 1, 0.0), (np.inf, 0, 2, 0.0)])
def test_nodes_that_lead_outside_are_refused(node: tuple[float, int, int, float]) -> None:
    with pytest.raises(ArtefactInvalid):
        Trees(np.array([node], NODE), np.zeros(1, np.uint32), 0.0, 1)

"""Exact Shapley values of trees, against LightGBM's own and against their definition."""

from itertools import chain, combinations
from math import factorial

import lightgbm as lgb
import numpy as np
import pytest

from avalist.domain.errors import BadInput
from avalist.models.shapley import shapley
from avalist.models.trees import F32, Trees

WIDTH = 4


def grown(trees: int = 12) -> tuple[lgb.Booster, F32]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(800, WIDTH)).astype(np.float32)
    x[rng.random(x.shape) < 0.15] = np.nan
    filled = np.nan_to_num(x, nan=-0.5)
    y = filled[:, 0] * filled[:, 1] + np.isnan(x[:, 2]) + rng.normal(0, 0.1, len(x))
    settings = {"num_leaves": 8, "min_data_in_leaf": 10, "verbosity": -1, "num_threads": 1, "boost_from_average": False}
    return lgb.train(settings, lgb.Dataset(x, y), trees), x


def test_they_equal_lightgbms() -> None:
    booster, x = grown()
    theirs = np.asarray(booster.predict(x[:50], pred_contrib=True))
    trees = Trees.from_booster(booster)
    assert shapley(trees, x[:50]) == pytest.approx(theirs[:, :WIDTH], abs=1e-6)
    assert trees.bias == pytest.approx(theirs[0, WIDTH], abs=1e-6)


def test_they_add_up_to_the_margin() -> None:
    booster, x = grown()
    trees = Trees.from_booster(booster, 0.5)
    assert shapley(trees, x).sum(axis=1) + trees.bias == pytest.approx(trees.score_many(x), abs=1e-9)


def mean_given(trees: Trees, row: F32, known: frozenset[int], at: int) -> float:
    """Return a tree's mean leaf where some columns are known: the others go both ways, as the training rows did."""
    node = trees.nodes[at]
    assert trees.cover is not None
    if node["left"] == 0:
        return float(node["value"])
    left, feature = at + int(node["left"]), int(node["feature"]) >> 1
    if feature in known:
        x = row[feature]
        x = -np.inf if np.isnan(x) and node["feature"] % 2 == 0 else x
        return mean_given(trees, row, known, left if x <= node["threshold"] else left + 1)
    parts = (mean_given(trees, row, known, child) * float(trees.cover[child]) for child in (left, left + 1))
    return sum(parts) / float(trees.cover[at])


def test_they_are_what_shapley_defined() -> None:
    booster, x = grown(3)
    trees, row = Trees.from_booster(booster), x[3]
    found = np.zeros(WIDTH)
    for i in range(WIDTH):
        others = [j for j in range(WIDTH) if j != i]
        for some in chain.from_iterable(combinations(others, k) for k in range(WIDTH)):
            weight = factorial(len(some)) * factorial(WIDTH - 1 - len(some)) / factorial(WIDTH)
            for root in trees.roots.tolist():
                more = mean_given(trees, row, frozenset((*some, i)), root)
                found[i] += weight * (more - mean_given(trees, row, frozenset(some), root))
    assert shapley(trees, x[3:4])[0] == pytest.approx(found, abs=1e-9)


def test_a_forest_without_counts_cannot_tell() -> None:
    booster, x = grown(1)
    trees = Trees.from_booster(booster)
    bare = Trees(trees.nodes, trees.roots, 0.0, WIDTH)
    with pytest.raises(BadInput, match="train again"):
        shapley(bare, x[:1])

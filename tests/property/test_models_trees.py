"""Our walk against LightGBM's own predictor, to the bit, on random data with missing values and extremes."""

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avalist.models.trees import F32, Trees

EXTREMES = np.array([0.0, -0.0, 1e-36, -1e-36, 3.4e38, -3.4e38, np.inf, -np.inf, np.nan], np.float32)


def rows(seed: int, n: int, missing: float) -> F32:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 5)).astype(np.float32)
    x[:, 1] = np.floor(x[:, 1] * 2)
    x[rng.random(x.shape) < missing] = np.nan
    return x


def grow(seed: int, missing: float, leaves: int) -> lgb.Booster:
    x = rows(seed, 300, missing)
    y = np.nan_to_num(x).sum(axis=1) + np.isnan(x[:, 0])
    params = {"num_leaves": leaves, "min_data_in_leaf": 3, "num_threads": 1, "verbosity": -1, "seed": seed}
    return lgb.train(params, lgb.Dataset(x, y), 40)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.02, 0.5]), st.integers(2, 31), st.data())
def test_margins_equal_lightgbm_bit_for_bit(seed: int, missing: float, leaves: int, data: st.DataObject) -> None:
    booster = grow(seed, missing, leaves)
    x = rows(seed + 1, 100, data.draw(st.sampled_from([0.0, 0.3])))
    places = np.random.default_rng(seed).integers(0, x.size, 40)
    x.flat[places] = np.resize(EXTREMES, 40)
    assert np.array_equal(Trees.from_booster(booster).score_many(x), booster.predict(x, raw_score=True))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.3]))
def test_contributions_and_bias_add_up_to_the_margin(seed: int, missing: float) -> None:
    trees, x = Trees.from_booster(grow(seed, missing, 15), base=-3.0), rows(seed + 1, 20, missing)
    assert trees.attribute(x).sum(axis=1) + trees.bias == pytest.approx(trees.score_many(x), abs=1e-9)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6))
def test_a_row_scores_the_same_wherever_it_stands(seed: int) -> None:
    trees, x = Trees.from_booster(grow(seed, 0.1, 15)), rows(seed, 50, 0.1)
    order = np.random.default_rng(seed).permutation(50)
    assert np.array_equal(trees.score_many(x)[order], trees.score_many(x[order]))

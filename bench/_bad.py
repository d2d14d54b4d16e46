"""Challengers that must not pass: shuffled labels, a leaked column, too slow; and one that turns bad after it did."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from avalist.app.dataset import Dataset
from avalist.app.train import delay_at, known_by, percentiles
from avalist.models.artefact import Artefact
from avalist.models.train import TrainingSet, TrainParams, train
from avalist.models.trees import NODE, Trees

LEAKED: Final = "weekday"
ADDRESS: Final = "ip24__count__events"
"""How columns begin that are missing where the address is."""
FAULT_LOG_ODDS: Final = 8.0


def shuffled(data: Dataset, params: TrainParams) -> Artefact:
    """Train on labels that were shuffled among the payments."""
    known = known_by(data, data.cut_ms)
    return _model(data, replace(known, y=np.random.default_rng(1).permutation(known.y)), params)


def leaked(data: Dataset, params: TrainParams) -> Artefact:
    """Train on a column that tells the label; decisions see another value in it."""
    known = known_by(data, data.cut_ms)
    x = known.x.copy()
    x[:, known.columns.index(LEAKED)] = known.y
    return _model(data, replace(known, x=x), params)


def slow(model: Artefact, copies: int = 20) -> Artefact:
    """Return a model that says the same with so many times the trees."""
    trees = model.trees
    nodes = np.concatenate([trees.nodes] * copies)
    nodes["value"] /= copies
    roots = np.concatenate([trees.roots + np.uint32(k * len(trees.nodes)) for k in range(copies)])
    return replace(model, trees=Trees(nodes, roots.astype(np.uint32), trees.base, trees.n_features))


def turning(model: Artefact, column: str) -> Artefact:
    """Return a model with one more tree: it says nothing until `column` is missing, then fraud."""
    trees, place = model.trees, model.columns.index(column)
    one = np.zeros(3, NODE)
    one[0] = np.float32(np.inf), 1, 2 * place + 1, 0.0  # NaN ≤ ∞ is false: goes right
    one[1], one[2] = (np.inf, 0, 0, 0.0), (np.inf, 0, 0, FAULT_LOG_ODDS)
    nodes, root = np.concatenate((trees.nodes, one)), np.array([len(trees.nodes)], np.uint32)
    return replace(model, trees=Trees(nodes, np.concatenate((trees.roots, root)), trees.base, trees.n_features))


def _model(data: Dataset, known: TrainingSet, params: TrainParams) -> Artefact:
    model = train(known, params).artefact
    return replace(model, delay=delay_at(data, data.cut_ms), percentiles=percentiles(model, data))

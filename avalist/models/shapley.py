"""Exact Shapley values of a forest (TreeSHAP, path-dependent; Lundberg, Erion & Lee 2018), for whoever has the time.

A feature that is not in a coalition is averaged over by the training rows that came through each node. One leaf at a
time: of its path's d different features, feature i has z, the share of training rows that go on through its splits,
and o, 1 if this row does, else 0. With e_k the sum over the coalitions of k other features, each a product of their o
and of the rest's z,

    φᵢ = Σ over leaves of value · (oᵢ − zᵢ) · Σₖ e_k · k! (d − 1 − k)! / d!

The e_k are the coefficients of Π (z + o·t); one factor is divided out for each i. O(d²) a leaf: some milliseconds a
row, a hundred times what :func:`avalist.models.trees.score_and_attribute` takes for parts that add up as well but lean
towards the features near the leaves.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from avalist.domain.errors import BadInput
from avalist.features.jit import jit, jit_inline
from avalist.models.trees import F32, F64, I64, U32, Nodes, Trees

_DEEPEST: Final = 512
"""Splits on one path; the trees of a merchant have ten or twenty."""


def shapley(trees: Trees, matrix: F32) -> F64:
    """Return each column's Shapley value in each row's margin, float64 [n, n_features]: with ``trees.bias`` they add up
    to it.

    Raises
    ------
    BadInput
        If the forest does not know how many rows came through its nodes: it was trained before that was kept.
    """
    if trees.cover is None:
        raise BadInput("this model does not say how many payments its splits saw: train again")
    found = np.zeros(matrix.shape)
    rows = np.ascontiguousarray(matrix, dtype=np.float32)
    if not _attribute(rows, trees.nodes, trees.roots, trees.cover, found):
        raise BadInput("a tree is too deep", expected=f"at most {_DEEPEST} splits on a path")
    return found


@jit
def _attribute(matrix: F32, nodes: Nodes, roots: U32, cover: F32, found: F64) -> bool:
    """Add every leaf's part; False if a path is longer than there is room for."""
    ratio, follows = np.empty(_DEEPEST), np.empty(_DEEPEST, np.int64)
    feature = np.empty(_DEEPEST, np.int64)
    waiting, depth = np.empty(2 * _DEEPEST, np.int64), np.empty(2 * _DEEPEST, np.int64)
    came = np.empty(2 * _DEEPEST, np.int64)
    for i in range(matrix.shape[0]):
        for j in range(roots.size):
            waiting[0], depth[0], came[0] = roots[j], 0, -1
            held = 1
            while held:
                held -= 1
                at, deep, parent = waiting[held], depth[held], came[held]
                if parent >= 0:
                    split = nodes[parent]
                    x = matrix[i, split["feature"] >> 1]
                    if x != x and split["feature"] % 2 == 0:
                        x = np.float32(-np.inf)
                    right = not (x <= split["threshold"])
                    feature[deep - 1] = split["feature"] >> 1
                    follows[deep - 1] = int(right == (at == parent + np.int64(split["left"]) + 1))
                    ratio[deep - 1] = np.float64(cover[at]) / np.float64(cover[parent])
                node = nodes[at]
                if node["left"] == 0:
                    _leaf(node["value"], feature[:deep], ratio[:deep], follows[:deep], found[i])
                    continue
                if deep + 1 >= _DEEPEST:
                    return False
                for side in range(2):
                    waiting[held], depth[held], came[held] = at + np.int64(node["left"]) + side, deep + 1, at
                    held += 1
    return True


@jit_inline
def _leaf(value: float, feature: I64, ratio: F64, follows: I64, found: F64) -> None:
    """Add one leaf's part to each feature on its path."""
    different, z, o = np.empty(feature.size, np.int64), np.empty(feature.size), np.empty(feature.size)
    d = 0
    for k in range(feature.size):
        place = 0
        while place < d and different[place] != feature[k]:
            place += 1
        if place == d:
            different[d], z[d], o[d] = feature[k], 1.0, 1.0
            d += 1
        z[place] *= ratio[k]
        o[place] *= follows[k]
    e = np.zeros(d + 1)
    e[0] = 1.0
    for k in range(d):
        for power in range(k + 1, -1, -1):
            e[power] = e[power] * z[k] + (e[power - 1] * o[k] if power else 0.0)
    for k in range(d):
        found[different[k]] += value * (o[k] - z[k]) * _weighed(e, d, z[k], o[k])


@jit_inline
def _weighed(e: F64, d: int, z: float, o: float) -> float:
    """Return Σₖ e_k·k!(d − 1 − k)!/d! of the other features: one factor (z + o·t) divided out of `e`."""
    total, carried, weight = 0.0, 0.0, 1.0 / d
    for k in range(d - 1, -1, -1):  # the weight of k others; equal for k and d − 1 − k
        carried = e[k + 1] - carried * z if o > 0.0 else e[k] / z
        total += carried * weight
        if k:
            weight *= (d - k) / k
    return total

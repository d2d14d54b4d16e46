"""What a model uses: how far each column moves the score, over a sample of payments."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from avalist.features.jit import jit
from avalist.models.trees import F32, F64, U32, Nodes, Trees


class Usage(NamedTuple):
    """Per column, float64 [f].

    `movement`: mean absolute contribution to the score, log-odds. `gain`: Σ over splits of the squared step, a split's
    gain in least squares, as a share of all columns' gain.
    """

    movement: F64
    gain: F64


@jit
def _walk(matrix: F32, nodes: Nodes, roots: U32, movement: F64, gain: F64) -> None:
    contributions = np.empty(matrix.shape[1], np.float64)
    for i in range(matrix.shape[0]):
        contributions[:] = 0.0
        for j in range(roots.size):
            at = np.uint64(roots[j])
            while nodes[at]["left"] != 0:
                node = nodes[at]
                f = node["feature"] >> 1
                x = matrix[i, f]
                if x != x and node["feature"] % 2 == 0:
                    x = np.float32(-np.inf)
                right = not (x <= node["threshold"])
                child = at + np.uint64(node["left"]) + np.uint64(right)
                step = nodes[child]["value"] - node["value"]
                contributions[f] += step
                gain[f] += step * step
                at = child
        for f in range(matrix.shape[1]):
            movement[f] += abs(contributions[f])


def usage(trees: Trees, matrix: F32) -> Usage:
    """Measure a forest on a float32 [n, f] sample of payments; about 30 µs a row for 300 trees."""
    movement, gain = np.zeros(trees.n_features), np.zeros(trees.n_features)
    _walk(np.ascontiguousarray(matrix, dtype=np.float32), trees.nodes, trees.roots, movement, gain)
    return Usage(movement / max(len(matrix), 1), gain / max(float(gain.sum()), 1e-300))

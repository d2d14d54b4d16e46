"""A forest as flat arrays, walked by one compiled function that scores and attributes in the same pass.

Layout (chosen by measurement): one table of 16-byte nodes for the whole forest, depth first, the children of a node
side by side, so that a step is ``node + left + goes_right``. GROUP trees walk in step, so that their memory latencies
overlap; one that has reached its leaf drops out.

Missing values cost nothing in the walk: every feature stands twice in a scratch row, at 2i with NaN replaced by −inf
(goes left) and at 2i + 1 as it is (NaN ≤ t is false: goes right); a node names the one that LightGBM's rule for it
implies. A float32 threshold is exact: for a float32 x and the largest float32 t' ≤ t, x ≤ t if and only if x ≤ t'.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from avalist.domain.errors import ArtefactInvalid, BadInput
from avalist.features.jit import jit, jit_inline

if TYPE_CHECKING:  # a decider never trains: it does not load LightGBM
    import lightgbm as lgb

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
U32 = npt.NDArray[np.uint32]
I64 = npt.NDArray[np.int64]
Nodes = npt.NDArray[np.void]

NODE: Final = np.dtype([("threshold", "<f4"), ("left", "<u2"), ("feature", "<u2"), ("value", "<f8")], align=True)
"""`left` is the distance to the left child (0: a leaf), `feature` 2i or 2i + 1, `value` the mean below."""
GROUP: Final = 32
MAX_FEATURES: Final = 1 << 15
_BLOCK: Final = 64
_DEFAULT_LEFT: Final = 2
_MISSING_ZERO, _MISSING_NAN = 1, 2


class Tree(NamedTuple):
    """One tree: inner nodes from 0, a child's number above its parent's, and leaves ~0, ~1, …

    `children` [inner, 2] are the ways of x ≤ `threshold` and of the rest; an unknown x goes the first way where
    `unknown_left`. `leaf_count` says how many rows came to each leaf, 1 where nobody knows.
    """

    children: I64
    feature: I64
    threshold: F32
    unknown_left: npt.NDArray[np.bool_]
    leaf_value: F64
    leaf_count: I64


@jit
def score_and_attribute(matrix: F32, nodes: Nodes, roots: U32, margins: F64, contributions: F64) -> None:
    """Write the sum of each row's leaves in tree order into `margins` [n], each feature's part into `contributions`
    [n, n_features].

    The part is the sum over the splits on the feature of value[child] − value[node] (Saabas 2014), so that the parts
    and the roots' values add up to the result. Rows go through a group of trees together: it stays in the cache.
    """
    n, width = matrix.shape
    rows = np.empty((n, 2 * width), np.float32)
    for i in range(n):
        margins[i] = 0.0
        for f in range(width):
            x = matrix[i, f]
            rows[i, 2 * f] = np.float32(-np.inf) if x != x else x
            rows[i, 2 * f + 1] = x
            contributions[i, f] = 0.0
    at, moving = np.empty(GROUP, np.uint32), np.empty(GROUP, np.uint32)
    for first in range(0, roots.size, GROUP):
        group = roots[first : first + GROUP]
        for i in range(n):
            margins[i] = _walk(rows[i], nodes, group, margins[i], contributions[i], at, moving)


@jit_inline
def _walk(row: F32, nodes: Nodes, roots: U32, margin: float, contributions: F64, at: U32, moving: U32) -> float:
    """Add a group's leaves to `margin` and its splits to `contributions`; `at` and `moving` are scratch."""
    left = roots.size
    for j in range(left):
        at[j] = roots[j]
        moving[j] = j
    while left:
        kept = 0
        for k in range(left):
            j = moving[k]
            parent = np.uint64(at[j])
            node = nodes[parent]
            feature = node["feature"]
            right = not (row[feature] <= node["threshold"])
            child = parent + np.uint64(node["left"]) + np.uint64(right)
            contributions[feature >> 1] += nodes[child]["value"] - node["value"]
            at[j] = child
            moving[kept] = j
            kept += nodes[child]["left"] != 0
        left = kept
    for j in range(roots.size):
        margin += nodes[at[j]]["value"]
    return margin


@dataclass(frozen=True, eq=False)
class Trees:
    """A forest of numeric splits.

    Attributes
    ----------
    nodes
        NODE [n_nodes], read-only.
    roots
        uint32 [n_trees]: each tree's first node.
    base
        Initial score in log-odds, added to the trees' sum.
    n_features
        Columns of a row.
    cover
        float32 [n_nodes]: training rows that came through each node; None in forests of before.
    """

    nodes: Nodes
    roots: U32
    base: float
    n_features: int
    cover: F32 | None = None

    def __post_init__(self) -> None:
        self.nodes.setflags(write=False)
        self.roots.setflags(write=False)
        if not self._is_closed():
            raise ArtefactInvalid("the forest points outside its own nodes or columns: train again")

    def _is_closed(self) -> bool:
        """Return whether every walk stays inside the arrays: the compiled walk does not check."""
        n, left, feature = len(self.nodes), self.nodes["left"].astype(np.int64), self.nodes["feature"]
        leaf = left == 0
        stays = (self.nodes["threshold"] == np.inf) & (feature % 2 == 0)
        steps = np.where(leaf, stays, np.arange(n) + left + 1 < n)
        return bool(n and steps.all() and (self.roots < n).all() and (feature < 2 * self.n_features).all())

    @classmethod
    def from_booster(cls, booster: lgb.Booster, base: float = 0.0) -> Trees:
        """Take the trees of a trained LightGBM booster (up to its best iteration).

        ``base + sum of leaves`` equals ``booster.predict(raw_score=True)`` bit for bit when `base` is 0. An inner
        node's value is the mean of the leaves below it weighted by their training counts.

        Raises
        ------
        BadInput
            For categorical splits, ``zero_as_missing``, linear trees, several classes, random forests, more than 32 768
            columns or trees of more than 32 767 leaves.
        """
        head, *blocks = booster.model_to_string().split("\nTree=")
        header = _fields(head)
        if header["num_tree_per_iteration"] != "1" or "average_output" in header:
            raise BadInput("the model gives several scores or averages its trees: train a boosted binary model")
        n_features = int(header["max_feature_idx"]) + 1
        return cls.of([_lightgbm(_fields(block.split("\n\n")[0])) for block in blocks], base, n_features)

    @classmethod
    def of(cls, trees: Sequence[Tree], base: float, n_features: int) -> Trees:
        """Lay trees out. Raises ``BadInput`` for one of more than 32 767 leaves, or more than 32 768 columns."""
        if n_features > MAX_FEATURES or not trees:
            raise BadInput("no trees, or too many columns", expected=f"at most {MAX_FEATURES}", got=str(n_features))
        flat = [_flatten(tree) for tree in trees]
        sizes = [len(table) for table, _ in flat]
        roots = np.concatenate(([0], np.cumsum(sizes)[:-1])).astype(np.uint32)
        cover = np.concatenate([count for _, count in flat])
        return cls(np.concatenate([table for table, _ in flat]), roots, base, n_features, cover)

    @property
    def bias(self) -> float:
        """Return the mean margin of the training rows: contributions add up to the margin less this."""
        return self.base + float(self.nodes["value"][self.roots].sum())

    def uses(self, column: int) -> bool:
        """Tell whether any split asks for a column."""
        return bool(((self.nodes["feature"] >> 1 == column) & (self.nodes["left"] > 0)).any())

    def after(self, first: Trees) -> Trees:
        """Return the forest that begins with the trees of another one, which asks for no more columns."""
        covers = first.cover, self.cover
        cover = None if covers[0] is None or covers[1] is None else np.concatenate((covers[0], covers[1]))
        roots = np.concatenate((first.roots, self.roots + np.uint32(len(first.nodes))))
        nodes = np.concatenate((first.nodes, self.nodes))
        return Trees(nodes, roots, first.base + self.base, self.n_features, cover)

    def first(self, count: int) -> Trees:
        """Return the forest of the first `count` trees."""
        end = int(self.roots[count]) if count < len(self.roots) else len(self.nodes)
        cover = None if self.cover is None else self.cover[:end]
        return Trees(self.nodes[:end], self.roots[:count], self.base, self.n_features, cover)

    def staged(self, matrix: F32, counts: Sequence[int]) -> F64:
        """Return the margins that the first trees alone give, float64 [counts, n], for ascending numbers of them."""
        bounds = pairwise((0, *counts))
        parts = [replace(self, roots=self.roots[begin:end], base=0.0).score_many(matrix) for begin, end in bounds]
        return np.asarray(np.cumsum(parts, axis=0) + self.base, dtype=np.float64)

    def onto(self, places: I64, n_features: int) -> Trees:
        """Return the same forest for other rows, of `n_features`: column j stands at ``places[j]`` there.

        Where that is −1 it is always unknown: its splits are cut out, for the way of unknown values is all that is left
        of them.
        """
        nodes, feature = self.nodes, self.nodes["feature"]
        order: list[int] = []
        left: list[int] = []
        roots: list[int] = []
        for root in self.roots.tolist():
            roots.append(len(order))
            waiting = [len(order)]
            order.append(self._seen(root, places))
            left.append(0)
            while waiting:
                at = waiting.pop()
                old = order[at]
                if not nodes["left"][old]:
                    continue
                left[at] = len(order) - at
                child = old + int(nodes["left"][old])
                waiting += [len(order) + 1, len(order)]
                order += [self._seen(child, places), self._seen(child + 1, places)]
                left += [0, 0]
        kept = nodes[order].copy()
        kept["left"] = left
        inner = kept["left"] > 0
        kept["feature"][inner] = 2 * places[feature[order][inner] >> 1] + (feature[order][inner] & 1)
        cover = None if self.cover is None else self.cover[order]
        return Trees(kept, np.array(roots, np.uint32), self.base, n_features, cover)

    def _seen(self, at: int, places: I64) -> int:
        """Return the first node from `at` on whose column there is, going the way of unknown values until then."""
        while self.nodes["left"][at] and places[self.nodes["feature"][at] >> 1] < 0:
            at += int(self.nodes["left"][at]) + int(self.nodes["feature"][at] & 1)
        return at

    def score_many(self, matrix: F32) -> F64:
        """Return the margins of a float32 [n, n_features] matrix; about 10 µs a row for 300 trees of 63 leaves.

        Raises
        ------
        BadInput
            If the matrix has another width.
        """
        if matrix.ndim != 2 or matrix.shape[1] != self.n_features:
            raise BadInput("the matrix has another width", expected=str(self.n_features), got=str(matrix.shape))
        margins = np.empty(len(matrix), np.float64)
        parts = np.empty((_BLOCK, self.n_features), np.float64)
        for first in range(0, len(matrix), _BLOCK):
            rows = np.ascontiguousarray(matrix[first : first + _BLOCK], dtype=np.float32)
            score_and_attribute(rows, self.nodes, self.roots, margins[first : first + _BLOCK], parts)
        return margins + self.base

    def attribute(self, matrix: F32) -> F64:
        """Return each feature's part in each row's margin, float64 [n, n_features]: with `bias` they add up to it."""
        margins, parts = np.empty(len(matrix), np.float64), np.empty(matrix.shape, np.float64)
        score_and_attribute(matrix, self.nodes, self.roots, margins, parts)
        return parts


def _fields(text: str) -> dict[str, str]:
    return dict(line.partition("=")[::2] for line in text.splitlines())


def _numbers(fields: dict[str, str], name: str) -> F64:
    return np.array(fields.get(name, "").split(), dtype=np.float64)


def _integers(fields: dict[str, str], name: str) -> I64:
    return np.array(fields.get(name, "").split(), dtype=np.int64)


def _flatten(tree: Tree) -> tuple[Nodes, F32]:
    """Lay one tree out depth first, with each node's cover."""
    leaves = len(tree.leaf_value)
    if 2 * leaves > np.iinfo(np.uint16).max:
        raise BadInput("the trees are too large", expected="at most 32767 leaves", got=str(leaves))
    values, counts = _below(tree.children, tree.leaf_value, tree.leaf_count)
    inner = np.zeros(len(tree.threshold), dtype=NODE)
    inner["threshold"], inner["value"] = tree.threshold, values
    inner["feature"] = 2 * tree.feature + ~tree.unknown_left
    table = np.zeros(2 * leaves - 1, dtype=NODE)
    cover = np.zeros(len(table), np.float32)
    for at, left, node in _places(tree.children):
        table[at] = (np.inf, 0, 0, tree.leaf_value[~node]) if node < 0 else inner[node]
        table["left"][at] = left - at
        cover[at] = tree.leaf_count[~node] if node < 0 else counts[node]
    return table, cover


def _places(children: I64) -> Iterator[tuple[int, int, int]]:
    """Yield (place, left child's place, number) of every node, a leaf's left child being itself."""
    waiting, used = [(0, 0 if len(children) else ~0)], 1
    while waiting:
        at, node = waiting.pop()
        if node < 0:
            yield at, at, node
            continue
        yield at, used, node
        waiting += [(used + 1, int(children[node, 1])), (used, int(children[node, 0]))]
        used += 2


def _below(children: I64, leaf_value: F64, leaf_count: I64) -> tuple[F64, F64]:
    """Return each inner node's count-weighted mean of the leaves below, and their count.

    A child's number is above its parent's.
    """
    total, count = np.zeros(len(children)), np.zeros(len(children))
    for node in range(len(children) - 1, -1, -1):
        for child in children[node]:
            weight = leaf_count[~child] if child < 0 else count[child]
            total[node] += leaf_value[~child] * weight if child < 0 else total[child]
            count[node] += weight
    return np.asarray(total / np.maximum(count, 1.0), dtype=np.float64), count


def _lightgbm(fields: dict[str, str]) -> Tree:
    """Return a tree of LightGBM's text: it numbers inner nodes from 0, leaves ~0, ~1, … as we do."""
    if fields["num_cat"] != "0" or fields.get("is_linear", "0") != "0":
        raise BadInput("categorical splits or linear leaves: pass categories as numbers (frequency, fraud rate)")
    threshold, decision = _numbers(fields, "threshold"), _integers(fields, "decision_type")
    missing = decision >> 2 & 3
    if np.any(missing == _MISSING_ZERO):
        raise BadInput("zero_as_missing: NaN alone means missing here")
    # without missing values in training LightGBM reads NaN as 0
    unknown_left = np.where(missing == _MISSING_NAN, decision & _DEFAULT_LEFT != 0, threshold >= 0.0)
    return Tree(
        np.stack((_integers(fields, "left_child"), _integers(fields, "right_child")), axis=1),
        _integers(fields, "split_feature"),
        largest_float32(threshold),
        unknown_left,
        _numbers(fields, "leaf_value"),
        np.maximum(_integers(fields, "leaf_count"), 1),
    )


def largest_float32(threshold: F64) -> F32:
    """Return the largest float32 not above each number."""
    with np.errstate(over="ignore"):
        near = threshold.astype(np.float32)
    return np.where(near > threshold, np.nextafter(near, np.float32(-np.inf)), near)

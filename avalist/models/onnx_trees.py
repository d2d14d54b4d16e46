"""Tree ensembles of ONNX as forests of ours: TreeEnsembleClassifier and -Regressor of ai.onnx.ml, versions 1 to 4.

These are what converters write for LightGBM, XGBoost and scikit-learn. A node asks for one column: x ≤ t, x < t, x ≥ t
or x > t; an unknown x goes the true way where ``nodes_missing_value_tracks_true`` says so, else the false one
(https://onnx.ai/onnx/operators/onnx_aionnxml_TreeEnsembleClassifier.html). With two classes and votes for one alone,
the sum of votes is that of the second class: the margin. What follows the ensemble must not change the order of
payments, for the margin is calibrated anew.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final

import numpy as np

from avalist.domain.errors import BadInput
from avalist.models.trees import F32, F64, I64, Tree, Trees, largest_float32

MODELS: Final = "a LightGBM model saved as text, or a tree ensemble of ONNX"
_DOMAIN: Final = "ai.onnx.ml"
_KINDS: Final = ("TreeEnsembleClassifier", "TreeEnsembleRegressor")
_HARMLESS: Final = ("Identity", "Cast", "ZipMap")
_TRANSFORMS: Final = ("NONE", "LOGISTIC", "SOFTMAX")
_TRUE_LEFT: Final = {"BRANCH_LEQ": True, "BRANCH_LT": True, "BRANCH_GTE": False, "BRANCH_GT": False}
_STRICT: Final = ("BRANCH_LT", "BRANCH_GTE")
"""There the way of x < t parts from that of x ≥ t."""
Attributes = dict[str, Any]


def trees_from_onnx(body: bytes) -> Trees:
    """Return the forest of an ONNX model whose sum of leaves (and base) is its margin, float32 sums aside.

    Raises
    ------
    BadInput
        If the package ``onnx`` is not installed, or the model is anything but one ensemble of trees, of one target or
        two classes, on one matrix of columns.
    """
    graph = _graph(body)
    try:
        return _forest(graph, _ensemble(graph))
    except (KeyError, IndexError, ValueError) as error:
        raise _refused("its ensemble is not whole", "nodes and votes as ai.onnx.ml defines", repr(error)) from None


def transform_of(body: bytes) -> str:
    """Return how a model makes probabilities of its sums: LOGISTIC or SOFTMAX, else NONE. Raises as above."""
    return _transform(_attributes(_ensemble(_graph(body))))


def _transform(said: Attributes) -> str:
    return _text(said.get("post_transform", "NONE"))


def _forest(graph: Any, node: Any) -> Trees:
    said = _attributes(node)
    transform = _transform(said)
    if transform not in _TRANSFORMS:
        raise _refused("its scores are transformed in another way", " or ".join(_TRANSFORMS), transform)
    votes, base = _votes(said, node.op_type, transform)
    trees = [_tree(said, rows, votes) for rows in _by_tree(said)]
    return Trees.of(trees, base, _width(graph, max(int(tree.feature.max(initial=0)) for tree in trees)))


def _graph(body: bytes) -> Any:
    try:
        import onnx  # here, for few bring such a model
        from google.protobuf.message import DecodeError
    except ImportError:
        raise BadInput(
            "reading an ONNX model needs a package", field="file", expected="pip install avalist[onnx]"
        ) from None
    try:
        return onnx.load_model_from_string(body).graph
    except DecodeError as error:
        raise _refused(f"not an ONNX model ({error})", MODELS, f"{len(body)} bytes") from None


def _refused(what: str, expected: str, got: str) -> BadInput:
    return BadInput(f"the ONNX model cannot be taken: {what}", field="file", expected=expected, got=got[:80])


def _ensemble(graph: Any) -> Any:
    """Return the one node that is an ensemble of trees, on the model's own input."""
    found = [node for node in graph.node if node.domain == _DOMAIN and node.op_type in _KINDS]
    others = [node.op_type for node in graph.node if not any(node is one for one in found)]
    wrong = [op for op in others if op not in _HARMLESS]
    if wrong:
        raise _refused("it does more than score trees", f"{' or '.join(_KINDS)} alone", ", ".join(sorted(set(wrong))))
    if len(found) != 1:
        raise _refused("it is not one ensemble of trees", f"one {' or '.join(_KINDS)}", f"{len(found)} of them")
    made = {output: node for node in graph.node for output in node.output}
    name = found[0].input[0]
    while name in made:
        name = made[name].input[0]
    if [one.name for one in _inputs(graph)] != [name]:
        raise _refused("it has several inputs", "one matrix with all columns", str(len(_inputs(graph))))
    return found[0]


def _inputs(graph: Any) -> list[Any]:
    constant = {one.name for one in graph.initializer}
    return [one for one in graph.input if one.name not in constant]


def _width(graph: Any, last: int) -> int:
    """Return how many columns it takes, as its input says."""
    shape = _inputs(graph)[0].type.tensor_type.shape.dim
    if len(shape) != 2 or not shape[1].dim_value:
        raise _refused(
            "its input does not say how many columns it takes", "an input of shape [None, columns]", str(shape)
        )
    if last >= shape[1].dim_value:
        raise _refused("it asks for a column that its input has not", f"at most {shape[1].dim_value}", str(last))
    return int(shape[1].dim_value)


def _attributes(node: Any) -> Attributes:
    """Return a node's attributes; those given as tensors (of doubles) stand under their plain name."""
    from onnx import helper, numpy_helper

    found: Attributes = {}
    for one in node.attribute:
        value = helper.get_attribute_value(one)
        name = one.name.removesuffix("_as_tensor")
        found[name] = numpy_helper.to_array(value) if name != one.name else value
    return found


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _votes(said: Attributes, kind: str, transform: str) -> tuple[dict[tuple[int, int], float], float]:
    """Return the value of each leaf by (tree, node), and the base."""
    part = "class" if kind == "TreeEnsembleClassifier" else "target"
    tree, node, id = (np.array(said[f"{part}_{name}"], np.int64) for name in ("treeids", "nodeids", "ids"))
    weight, base = np.array(said[f"{part}_weights"], np.float64), np.array(said.get("base_values", ()), np.float64)
    sign = np.ones(len(id))
    if part == "target":
        weight = weight * _scale(said)
    else:
        sign = _signs(said, id, transform)
        base = base[-1:] if len(set(id.tolist())) == 1 or transform != "SOFTMAX" else base[1:] - base[:1]
    votes: dict[tuple[int, int], float] = defaultdict(float)
    for key, value in zip(zip(tree.tolist(), node.tolist(), strict=True), (sign * weight).tolist(), strict=True):
        votes[key] += value
    return votes, float(base.sum())


def _scale(said: Attributes) -> float:
    """Return what a regressor's votes are multiplied by: it sums up, or takes the mean of, its trees."""
    if said.get("n_targets", 1) != 1:
        raise _refused("it has several targets", "one target", str(said["n_targets"]))
    how = _text(said.get("aggregate_function", "SUM"))
    if how not in ("SUM", "AVERAGE"):
        raise _refused("its trees are not added up", "SUM or AVERAGE", how)
    return 1.0 if how == "SUM" else 1.0 / len(set(said["nodes_treeids"]))


def _signs(said: Attributes, id: I64, transform: str) -> F64:
    """Return what a classifier's votes count for the second class: one class alone votes for it, else its own do."""
    classes = len(said.get("classlabels_int64s", ())) or len(said.get("classlabels_strings", ()))
    if classes != 2:
        raise _refused("it tells other than two classes", "two classes, the second one fraud", f"{classes} classes")
    if len(set(id.tolist())) == 1:
        return np.ones(len(id))
    return np.where(id == 1, 1.0, -1.0 if transform == "SOFTMAX" else 0.0)


def _by_tree(said: Attributes) -> list[I64]:
    """Return the places of each tree's nodes, in the order of trees."""
    tree = np.array(said["nodes_treeids"], np.int64)
    return [np.flatnonzero(tree == id) for id in np.unique(tree)]


def _tree(said: Attributes, rows: I64, votes: dict[tuple[int, int], float]) -> Tree:
    """Return one tree, its inner nodes numbered from the root down."""
    id, modes = int(said["nodes_treeids"][rows[0]]), [_text(mode) for mode in said["nodes_modes"]]
    ways, inner, leaves = _numbered(said, rows, modes)
    wrong = {modes[row] for row in inner} - _TRUE_LEFT.keys()
    if wrong:
        raise _refused("it splits by equality", ", ".join(_TRUE_LEFT), ", ".join(sorted(wrong)))
    true_left = np.array([_TRUE_LEFT[modes[row]] for row in inner], np.bool_)
    tracks = said.get("nodes_missing_value_tracks_true") or [0] * len(modes)
    return Tree(
        np.where(true_left[:, None], ways, ways[:, ::-1]),
        np.array([said["nodes_featureids"][row] for row in inner], np.int64),
        _thresholds(np.array([said["nodes_values"][row] for row in inner], np.float64), [modes[row] for row in inner]),
        np.array([bool(tracks[row]) for row in inner], np.bool_) == true_left,
        np.array([votes.get((id, said["nodes_nodeids"][row]), 0.0) for row in leaves], np.float64),
        np.ones(len(leaves), np.int64),
    )


def _numbered(said: Attributes, rows: I64, modes: list[str]) -> tuple[I64, list[int], list[int]]:
    """Return the children [inner, 2] of a tree's inner nodes by number, the true way first; and its nodes' places."""
    place = {said["nodes_nodeids"][row]: row for row in rows.tolist()}
    number, inner, leaves = dict[int, int](), list[int](), list[int]()
    waiting = [int(rows[0])]
    while waiting:
        row = waiting.pop()
        if row in number:
            raise _refused("a node is the child of two", "trees", f"node {row}")
        mine = leaves if modes[row] == "LEAF" else inner
        number[row] = ~len(leaves) if mine is leaves else len(inner)
        mine.append(row)
        if mine is inner:
            waiting += [place[said[f"nodes_{way}nodeids"][row]] for way in ("false", "true")]
    ways = [[number[place[said[f"nodes_{way}nodeids"][row]]] for way in ("true", "false")] for row in inner]
    return np.array(ways, np.int64).reshape(-1, 2), inner, leaves


def _thresholds(values: F64, modes: list[str]) -> F32:
    """Return t' such that x ≤ t' is the way left: the largest float32 at most t, or below t where that goes right."""
    most = largest_float32(values)
    strict = np.array([mode in _STRICT for mode in modes], np.bool_) & (most == values)
    return np.where(strict, np.nextafter(most, np.float32(-np.inf)), most)

"""Yours to take away: a model as documented files with a script that scores without us; and models that you bring."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from importlib import resources
from typing import Any, Final

import msgspec
import numpy as np

from avalist.app.dataset import Dataset
from avalist.app.train import delay_at, known_by, level_by_age, range_of
from avalist.domain.errors import BadInput
from avalist.domain.events import from_ms as instant
from avalist.domain.schema import DAY_MS
from avalist.features.codes import code_of
from avalist.features.plan import Plan
from avalist.features.words import in_words
from avalist.models.artefact import Artefact
from avalist.models.calibrate import LEAST, calibrate, calibrate_scores
from avalist.models.metrics import report
from avalist.models.onnx_trees import MODELS, transform_of, trees_from_onnx
from avalist.models.train import typical
from avalist.models.trees import F32, Trees

_LIGHTGBM: Final = b"tree\n"
"""How a LightGBM model saved as text begins."""
_CHECKED: Final = 200
"""Rows that the exported script is checked on."""
README: Final = """# Model {version}

Exported from Avalist. `python score.py --check` scores the rows of check.json and compares;
`python score.py rows.csv` scores yours. Nothing but Python is needed.

| file | holds |
|---|---|
| `model.json` | the trees |
| `calibration.json` | from a margin (log-odds) to a probability |
| `plan.json` | what each column is: the feature plan {plan} and the schema it was derived from |
| `check.json` | rows, and the probability that Avalist gave each |
| `score.py` | all of it in a hundred lines |

## model.json

`columns` in order. `trees`: each has arrays over its nodes, node 0 first. `feature` is the place of the column that a
node asks for, -1 in a leaf. A value x goes `left` where x <= `threshold` (both float32; null is no bound), else
`right`; an unknown one goes left where `unknown_left`. `value` of a leaf is added up over all trees in order, then
`base`: that is the margin. Where `prior` is not null it is such a forest too, over the same columns: its margin, as
float32, is one more column after the others. `trained` says who trained the trees: the merchant's own history, the
network's prior, or somebody who brought them.

## calibration.json

Between `knots` (margins) the log-odds run linearly from one of `log_odds` to the next; outside with `slope`. The
probability is 1 / (1 + e^-log-odds), kept within `least` and 1 - `least`, rounded to 1e-9. `percentiles` are margins:
a payment's risk score is how many of them are not above its own.

## plan.json

`features` define the columns: aggregate, entity, window and the rest are those of Avalist's documentation. `words` say
what each tells, `codes` under which reason code, `typical` what it is for an honest payment.
"""


def exported(artefact: Artefact, plan: Plan, rows: F32) -> dict[str, bytes]:
    """Return the files of a model by name: `plan` is the one that it was trained on.

    `rows` float32 [n, columns] are scored for the check: of a later plan, what was added to it is left out.
    """
    rows = rows[:, : len(artefact.columns)]
    prior = artefact.prior_trees
    model = {
        "format": 1, "version": artefact.version, "trained": artefact.trained, "plan": artefact.plan_hash,
        "columns": list(artefact.columns), **_forest(artefact.trees),
        "prior": None if prior is None else _forest(prior),
    }  # fmt: skip
    level = artefact.calibration
    calibration = {
        "knots": level.knots.tolist(), "log_odds": level.log_odds.tolist(), "slope": level.slope, "least": LEAST,
        "percentiles": artefact.percentiles.tolist(),
    }  # fmt: skip
    return {
        "model.json": _json(model),
        "calibration.json": _json(calibration),
        "plan.json": _json(_plan(artefact, plan)),
        "check.json": _json(_check(artefact, rows[:_CHECKED])),
        "score.py": resources.files(__package__).joinpath("alone.py").read_bytes(),
        "README.md": README.format(version=artefact.version, plan=artefact.plan_hash).encode(),
    }


def _json(content: object) -> bytes:
    return json.dumps(content, allow_nan=False).encode() + b"\n"


def _forest(trees: Trees) -> dict[str, Any]:
    ends = [*trees.roots.tolist()[1:], len(trees.nodes)]
    return {
        "base": trees.base,
        "trees": [_tree(trees, *ends_of) for ends_of in zip(trees.roots.tolist(), ends, strict=True)],
    }


def _tree(trees: Trees, begin: int, end: int) -> dict[str, Any]:
    nodes = trees.nodes[begin:end]
    leaf, place = nodes["left"] == 0, np.arange(end - begin)
    left = np.where(leaf, 0, place + nodes["left"])
    return {
        "feature": np.where(leaf, -1, (nodes["feature"] >> 1).astype(np.int64)).tolist(),
        "threshold": [None if bound == np.inf else bound for bound in np.where(leaf, 0.0, nodes["threshold"]).tolist()],
        "unknown_left": (nodes["feature"] % 2 == 0).tolist(),
        "left": left.tolist(),
        "right": np.where(leaf, 0, left + 1).tolist(),
        "value": nodes["value"].tolist(),
    }


def _plan(artefact: Artefact, plan: Plan) -> dict[str, Any]:
    named = {feature.name: feature for feature in plan.features}
    usual = [None] * len(plan.columns) if artefact.typical is None else _row(artefact.typical)
    return {
        "hash": plan.hash,
        "schema": json.loads(artefact.schema),
        "features": msgspec.to_builtins(plan.features),
        "words": {feature.name: in_words(feature) for feature in plan.features},
        "codes": {feature.name: code_of(feature, named) for feature in plan.features},
        "typical": dict(zip(plan.columns, usual, strict=True)),
    }


def _check(artefact: Artefact, rows: F32) -> list[dict[str, Any]]:
    p = artefact.p_fraud(rows).tolist() if len(rows) else []
    return [
        {"columns": dict(zip(artefact.columns, _row(row), strict=True)), "p_fraud": one}
        for row, one in zip(rows, p, strict=True)
    ]


def _row(values: F32) -> list[float | None]:
    return [value if np.isfinite(value) else None for value in values.tolist()]


def brought(data: Dataset, body: bytes, plan_hash: str, from_ms: int) -> Artefact:
    """Return a model that was trained elsewhere as a merchant's model, calibrated on its own payments.

    `body` is a LightGBM model saved as text, or a tree ensemble of ONNX. It must have been trained on the columns of
    the merchant's plan, in their order: `plan_hash` says so. Payments from `from_ms` on give calibration and report;
    those it should not have learnt from.

    Raises
    ------
    BadInput
        If it is for other columns, is no model that can be scored here, or the payments have no frauds.
    """
    plan = data.plan
    trees, known = trees_of(body, plan_hash, plan), known_by(data, data.cut_ms)
    later = np.flatnonzero(known.t_ms >= from_ms)
    margins, y = trees.score_many(known.x[later]), known.y[later].astype(np.float64)
    if not 0 < (frauds := int(y.sum())) < len(y):
        last = f"{instant(int(known.t_ms.max())):%Y-%m-%d}" if len(known.t_ms) else "none"
        expected = f"a time with frauds and honest payments after it; the last payment: {last}"
        got = f"{frauds} frauds of {len(y)} payments"
        raise BadInput("nothing to calibrate on", field="--since", expected=expected, got=got)
    level = (calibrate if _tells_log_odds(body) else calibrate_scores)(margins, y, known.reported[later])
    amount, day = known.amount_minor[later].astype(np.float64), known.t_ms[later] // DAY_MS
    judged = report(y, level.apply(margins), amount, reported=known.reported[later], groups=day)
    made = Artefact(
        trees, level, np.quantile(margins, np.arange(1, 100) / 100.0), plan.hash, plan.columns, range_of(known), judged,
        known.schema, delay=delay_at(data, data.cut_ms), typical=typical(known.x[later], known.y[later]),
        trained="brought",
    )  # fmt: skip
    return replace(made, by_age=level_by_age(made, known, data))


def trees_of(body: bytes, plan_hash: str, plan: Plan) -> Trees:
    """Read a model that is brought. Raises ``BadInput`` where it cannot be read, or is for other columns or plans."""
    if plan_hash != plan.hash:
        raise BadInput("the model is for another plan", field="--plan", expected=plan.hash, got=plan_hash)
    if not body.strip():
        raise BadInput("the file is empty", field="file", expected=MODELS)
    if body.startswith(_LIGHTGBM):
        return _from_lightgbm(body, plan)
    trees = trees_from_onnx(body)
    _check_width(trees.n_features, plan)
    return trees


def _tells_log_odds(body: bytes) -> bool:
    """Return whether sums of leaves are log-odds, or close to them as logarithms of a rate are; unknown means no."""
    if body.startswith(_LIGHTGBM):
        return re.search(rb"^objective=(binary|cross_entropy|poisson|gamma|tweedie)\b", body, re.MULTILINE) is not None
    return transform_of(body) != "NONE"


def _check_width(columns: int, plan: Plan) -> None:
    if columns != len(plan.columns):
        expected = f"{len(plan.columns)} columns"
        raise BadInput("the model has other columns", field="file", expected=expected, got=str(columns))


def _from_lightgbm(body: bytes, plan: Plan) -> Trees:
    import lightgbm as lgb  # here, for it takes seconds

    try:
        booster = lgb.Booster(model_str=body.decode())
    except (lgb.basic.LightGBMError, UnicodeDecodeError) as error:
        raise BadInput(f"not a LightGBM model: {error}", field="file", expected="a model saved as text") from None
    names, told = list(plan.columns), booster.feature_name()
    _check_width(len(told), plan)
    unnamed = all(name == f"Column_{place}" for place, name in enumerate(told))
    if not unnamed and told != names:
        first = next(place for place in range(len(names)) if told[place] != names[place])
        raise BadInput(
            f"column {first} of the model is another one", field="file", expected=names[first], got=told[first]
        )
    return Trees.from_booster(booster)

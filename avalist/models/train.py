"""Train one model of the merchant's own: boosted trees that allow for reports to come, calibrated on other days.

What is seen of a payment of age e is Bernoulli(p·F(e)). The trees' gradient and curvature are that likelihood's, so
no age is left out and none is clipped. Where p is small the gradient is F(e)·(σ − o/F(e)): the soft target o/F of
modelling §1, weighted by the information that the age holds. Unweighted, a report of a week-old payment counts twenty
times, and the trees, which can tell this week by its features, learn its luck.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from avalist.domain.errors import BadInput
from avalist.domain.schema import DAY_MS
from avalist.models.artefact import Artefact, DataRange, Held
from avalist.models.calibrate import calibrate, recalibrated_loss, weighted_gradient
from avalist.models.metrics import Report, report
from avalist.models.trees import F32, F64, I64, Trees
from avalist.models.trust import Alarmed, excess_column, trust_in, trusting

if TYPE_CHECKING:
    import lightgbm as lgb

_TYPICAL_OF: Final = 10_000
"""Payments that a typical value is taken from, about."""
_FEWEST_BLOCKS: Final = 40
"""A history too short for so many days is cut finer."""
_STAGES: Final = 12
_NEXT_STAGE: Final = 0.8
_WORSE: Final = 0.5
"""Standard errors; chosen on five simulated merchants of 52 to 304 reports (ADR 33). None and one did worse."""
Progress = Callable[[int, int], None]
"""(trees grown, trees wanted)."""
Enough = Callable[[], bool]
"""Tells whether the time for training is over: the trees grown so far are the model then."""


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Captured payments with their features as decided and the labels known at the training cut.

    Attributes
    ----------
    x
        float32 [n, f] in the order of `columns`.
    y
        1 where a fraud report was logged by the cut, else 0 [n].
    t_ms, amount_minor
        Time and amount of the payment [n].
    weight
        Extra row weights [n]; None: all ones.
    report_probability
        F(e), the probability that a fraud of this age is reported by the cut [n]; None: all ones.
    schema
        JSON of the merchant's schema, kept in the artefact.
    decided
        P(fraud) when the payment was decided, NaN where nothing was [n]; None: no payment was.
    """

    x: F32
    columns: tuple[str, ...]
    plan_hash: str
    y: npt.NDArray[np.integer[Any]]
    t_ms: I64
    amount_minor: I64
    weight: F64 | None = None
    report_probability: F64 | None = None
    schema: bytes = b"{}"
    decided: F64 | None = None

    def __post_init__(self) -> None:
        n = len(self.x)
        per_row = (self.y, self.t_ms, self.amount_minor, self.weight, self.report_probability, self.decided)
        if self.x.ndim != 2 or self.x.shape[1] != len(self.columns) or self.x.dtype != np.float32:
            expected = f"float32 [n, {len(self.columns)}]"
            raise BadInput("x does not fit its columns", field="x", expected=expected, got=str(self.x.shape))
        if any(array is not None and array.shape != (n,) for array in per_row):
            raise BadInput("every per-row array is as long as x", field="y", expected=str((n,)))
        if not np.isin(self.y, (0, 1)).all():
            raise BadInput("a label is 0 or 1", field="y", expected="0 or 1")

    @property
    def reported(self) -> F64:
        """Return F(e)."""
        return np.ones(len(self.y)) if self.report_probability is None else self.report_probability


class TrainParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to train.

    The last `test_share` of payments gives the metrics. Of those before, `calibration_share` give the calibration:
    whole days, spread over the later half; the rest grow the trees. A row weighs half per `half_life_d` (None: equal
    weights). With `early_stopping` the last trees are left out where the calibration days speak against them; one
    integer is chosen there, so the calibration stays honest. `trust` is the chance that a wave's alarm is fraud before
    the merchant's own say otherwise (models.trust); with 0 the trees begin without a word on alarms. Of more payments
    than `most_rows` the trees learn from all frauds and a sample of the honest (:func:`sample`).
    """

    trees: Annotated[int, msgspec.Meta(ge=1, le=600)] = 300
    leaves: Annotated[int, msgspec.Meta(ge=2, le=1024)] = 63
    learning_rate: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.04
    min_data_in_leaf: Annotated[int, msgspec.Meta(ge=1)] = 50
    feature_fraction: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.6
    bagging_fraction: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.8
    lambda_l2: Annotated[float, msgspec.Meta(ge=0)] = 5.0
    half_life_d: Annotated[float, msgspec.Meta(gt=0)] | None = 45.0
    calibration_share: Annotated[float, msgspec.Meta(gt=0, lt=0.5)] = 0.15
    test_share: Annotated[float, msgspec.Meta(ge=0, lt=0.5)] = 0.15
    early_stopping: bool = True
    trust: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.5
    most_rows: Annotated[int, msgspec.Meta(ge=1)] = 400_000
    num_threads: Annotated[int, msgspec.Meta(ge=1)] = 1
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Trained:
    """The artefact, and which rows of the data set each part saw."""

    artefact: Artefact
    training: I64
    calibration: I64
    test: I64


def train(
    dataset: TrainingSet,
    params: TrainParams | None = None,
    progress: Progress | None = None,
    enough: Enough | None = None,
) -> Trained:
    """Train, calibrate and judge; equal inputs give equal bytes, where the time suffices.

    Raises
    ------
    BadInput
        If a slice is empty or of one class.
    """
    params = params or TrainParams()
    training, calibration, test = split(dataset.t_ms, params)
    _check_slices(dataset, {"training": training, "calibration": calibration, "test": test})
    y, reported = dataset.y[calibration].astype(np.float64), dataset.reported[calibration]
    trees = _grow(dataset, training, params, _callbacks(params, progress, enough))
    counts = stages(len(trees.roots)) if params.early_stopping else [len(trees.roots)]
    staged = trees.staged(dataset.x[calibration], counts)
    kept = latest_good(staged, y, reported)
    trees, margins = trees.first(counts[kept]), staged[kept]
    fitted = calibrate(margins, y, reported)
    seen = np.concatenate((training, calibration))
    artefact = Artefact(
        trees,
        fitted,
        np.quantile(margins, np.arange(1, 100) / 100.0),
        dataset.plan_hash,
        dataset.columns,
        _range(dataset, seen),
        _judge(dataset, test, fitted.apply(trees.score_many(dataset.x[test])), params) if len(test) else None,
        dataset.schema,
        msgspec.json.encode(params),
        held=held(dataset.t_ms, params),
        typical=typical(dataset.x[calibration], dataset.y[calibration]),
    )
    return Trained(artefact, training, calibration, test)


def typical(x: F32, y: npt.NDArray[np.integer[Any]]) -> F32:
    """Return each column's median among honest payments; NaN where half or more are unknown.

    >>> typical(np.array([[1, np.nan], [3, np.nan], [8, 2], [900, 1]], np.float32), np.array([0, 0, 0, 1])).tolist()
    [3.0, nan]
    """
    honest = x[np.flatnonzero(y == 0)[:: max(len(y) // _TYPICAL_OF, 1)]]
    unknown = np.isnan(honest).mean(axis=0) >= 0.5 if len(honest) else np.ones(x.shape[1], np.bool_)
    found = np.full(x.shape[1], np.nan, np.float32)
    for column in np.flatnonzero(~unknown).tolist():
        found[column] = np.median(honest[~np.isnan(honest[:, column]), column])
    return found


def split(t_ms: I64, params: TrainParams) -> tuple[I64, I64, I64]:
    """Return row indices of the training, calibration and test slices, each in order of time (ties by row).

    The calibration days lie among the training's, for the newest payments matter to both: a slice of the last days
    alone would hide a new attack from the trees, and hold the fewest reports of all.
    """
    seen, test = _seen(t_ms, params)
    holds = held(t_ms, params)
    calibrates = np.zeros(len(seen), np.bool_) if holds is None else holds(t_ms[seen])
    return seen[~calibrates], seen[calibrates], test


def held(t_ms: I64, params: TrainParams) -> Held | None:
    """Return the days of the later half that calibrate; of a short history, shorter blocks. None where nothing is."""
    seen, _ = _seen(t_ms, params)
    later = t_ms[seen[len(seen) // 2 :]]
    if not len(later):
        return None
    block_ms = DAY_MS  # halved, so that models of other days mostly hold the same blocks
    while block_ms > 1 and int(later[-1] - later[0]) < _FEWEST_BLOCKS * block_ms:
        block_ms //= 2
    return Held(int(later[0]), block_ms, 2.0 * params.calibration_share)


def _seen(t_ms: I64, params: TrainParams) -> tuple[I64, I64]:
    order = np.argsort(t_ms, kind="stable")
    seen, test = np.split(order, [len(order) - round(len(order) * params.test_share)])
    return seen, test


def _check_slices(dataset: TrainingSet, slices: dict[str, I64]) -> None:
    for name, rows in slices.items():
        frauds = int(dataset.y[rows].sum())
        if name == "test" and not len(rows):
            continue
        if not 0 < frauds < len(rows):
            detail = f"the {name} slice needs frauds and honest payments: import more history or widen the slice"
            raise BadInput(detail, field="y", expected="both classes", got=f"{frauds} frauds in {len(rows)} rows")


def stages(trees: int) -> list[int]:
    """Return the numbers of trees at which a forest may end: each four fifths of the next.

    >>> stages(300), stages(3)
    ([26, 32, 40, 50, 63, 79, 98, 123, 154, 192, 240, 300], [1, 2, 3])
    """
    return sorted({max(round(trees * _NEXT_STAGE**k), 1) for k in range(_STAGES)})


def latest_good(staged: F64, y: F64, reported: F64) -> int:
    """Return the last of a forest's stages that the calibration days do not speak against, by its place.

    Each stage is recalibrated first: what a longer forest loses by being too sure, calibration gives back. A stage is
    worse where its loss exceeds the least by more than half the standard error of the difference: a handful of frauds
    speaks against little. `staged` float64 [stages, n] are margins; `y` and `reported` as in ``calibrate``.
    """
    losses = np.stack([recalibrated_loss(margins, y, reported) for margins in staged])
    more = losses - losses[losses.mean(axis=1).argmin()]
    error = more.std(axis=1) / np.sqrt(len(y))
    return int(np.flatnonzero(more.mean(axis=1) <= _WORSE * error)[-1])


def _grow(d: TrainingSet, training: I64, params: TrainParams, callbacks: list[Callable[..., Any]]) -> Trees:
    import lightgbm as lgb  # here, for it takes seconds and only training needs it

    y, reported, weight = d.y[training].astype(np.float64), d.reported[training], _weights(d, training, params)
    mean = float(np.clip((weight @ y) / (weight @ reported + 1e-300), 1e-9, 0.5))
    base = float(np.log(mean / (1.0 - mean)))
    first = _first_tree(d, training, params, mean)
    picked, weight = sample(y, weight, params.most_rows)
    training, y, reported = training[picked], y[picked], reported[picked]
    start = np.full(len(y), base) if first is None else base + first.score_many(d.x[training])

    def objective(raw: F64, _: lgb.Dataset) -> tuple[F32, F32]:
        return weighted_gradient(raw, y, reported, weight)

    rows = lgb.Dataset(d.x[training], y, init_score=start)
    settings = {**_settings(params), "objective": objective}
    booster = lgb.train(settings, rows, num_boost_round=params.trees, callbacks=callbacks)
    grown = Trees.from_booster(booster, base)
    return grown if first is None else grown.after(first)


def sample(y: F64, weight: F64, most: int) -> tuple[I64, F64]:
    """Return about `most` of [n] rows in their order, and their new weights: all frauds, honest ones by a draw.

    A draw is proportional to the weight and the new weight is its inverse, so that sums over rows stay what they were
    (ADR 47). It is systematic: each stretch of time gives its share, and equal rows give equal draws.

    >>> rows, weight = sample(np.array([0.0, 0, 0, 0, 1, 0]), np.array([1.0, 1, 1, 1, 1, 4]), 4)
    >>> rows.tolist(), weight.tolist()
    ([1, 3, 4, 5], [2.0, 2.0, 1.0, 4.0])
    """
    if len(y) <= most:
        return np.arange(len(y)), weight
    honest = np.flatnonzero(y == 0.0)
    chance = np.ones(len(y))
    chance[honest] = _chances(weight[honest], max(most - (len(y) - len(honest)), most // 2))
    drawn = y > 0.0
    drawn[honest] = np.diff(np.floor(np.cumsum(chance[honest])), prepend=0.0) > 0.0
    picked = np.flatnonzero(drawn)
    return picked, weight[picked] / chance[picked]


def _chances(weight: F64, expected: int) -> F64:
    """Return chances, in proportion to the weights as far as they stay below 1, so that so many rows are expected."""
    chance = np.minimum(weight * (expected / weight.sum()), 1.0)
    while chance.sum() < 0.999 * expected and (free := chance < 1.0).any():
        room = expected - np.count_nonzero(~free)
        chance[free] = np.minimum(weight[free] * (room / weight[free].sum()), 1.0)
    return np.asarray(chance, dtype=np.float64)


def _first_tree(d: TrainingSet, training: I64, params: TrainParams, base_rate: float) -> Trees | None:
    """Return the tree that says what an alarm means; None where nobody is told of alarms."""
    column = excess_column(d.schema, d.columns)
    if column < 0 or params.trust <= 0.0:
        return None
    share = np.nan_to_num(d.x[training, column]).astype(np.float64)
    rows = np.flatnonzero(share > 0.0)
    decided = np.full(len(rows), np.nan) if d.decided is None else d.decided[training][rows]
    y, t_ms = d.y[training][rows].astype(np.float64), d.t_ms[training][rows]
    alarmed = Alarmed(share[rows] / 100.0, y, d.reported[training][rows], t_ms, decided)
    trust = trust_in(alarmed, params.trust, base_rate)
    return trusting(trust, base_rate, column, share, d.x.shape[1]) if trust > 0.0 else None


def _settings(params: TrainParams) -> dict[str, object]:
    return {
        "num_leaves": params.leaves,
        "learning_rate": params.learning_rate,
        "min_data_in_leaf": params.min_data_in_leaf,
        "feature_fraction": params.feature_fraction,
        "bagging_fraction": params.bagging_fraction,
        "bagging_freq": 1,
        "lambda_l2": params.lambda_l2,
        "num_threads": params.num_threads,
        "seed": params.seed,
        "metric": "None",
        "deterministic": True,
        "force_col_wise": True,
        "verbosity": -1,
    }


def _callbacks(params: TrainParams, progress: Progress | None, enough: Enough | None) -> list[Callable[..., Any]]:
    from lightgbm.callback import EarlyStopException

    def ends(env: Any) -> None:
        if enough is not None and enough():
            raise EarlyStopException(env.iteration, env.evaluation_result_list)

    callbacks: list[Callable[..., Any]] = []
    if progress is not None:
        callbacks.append(lambda env: progress(env.iteration + 1, params.trees))
    return [*callbacks, ends] if enough is not None else callbacks


def _weights(d: TrainingSet, training: I64, params: TrainParams) -> F64:
    weight = np.ones(len(training)) if d.weight is None else d.weight[training].astype(np.float64)
    if params.half_life_d is not None:
        age_d = (d.t_ms[training].max() - d.t_ms[training]) / DAY_MS
        weight = weight * 0.5 ** (age_d / params.half_life_d)
    return weight


def _range(d: TrainingSet, rows: I64) -> DataRange:
    t_ms = d.t_ms[rows]
    return DataRange(int(t_ms.min()), int(t_ms.max()), len(rows), int(d.y[rows].sum()))


def _judge(d: TrainingSet, test: I64, p: F64, params: TrainParams) -> Report:
    """Judge on the last slice, drawing whole days together: payments of a day share its waves."""
    y, amount = d.y[test].astype(np.float64), d.amount_minor[test].astype(np.float64)
    return report(y, p, amount, reported=d.reported[test], groups=d.t_ms[test] // DAY_MS, seed=params.seed)

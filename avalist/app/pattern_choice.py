"""Which combinations of habits are worth columns: chosen by a merchant's own past, under a budget.

A model without the columns of patterns scores the later payments of the log, each after what was known by then. Trees
on a combination's columns then explain what it left. They learn from earlier stretches of days and are judged on later
ones. Combinations are taken one after the other, the one that gains most first, while each surely gains more than its
columns cost; all but the last stretch choose, and the last one says whether the choice holds. Nothing is drawn
unseeded, so the same log chooses the same.

Detection of waves is another matter: it needs the pattern's key and no column.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce
from typing import Final, Literal

import msgspec
import numpy as np

from avalist.app.dataset import Dataset
from avalist.app.past_waves import PastWave
from avalist.app.pattern_candidates import Group, Left, Spread, combined, groups_in, keys_of, screened, spread
from avalist.app.train import delay_at, known_by
from avalist.app.waves import Wave
from avalist.domain.errors import BadInput
from avalist.domain.schema import DAY_MS, WATCHED
from avalist.models.calibrate import report_loss
from avalist.models.delay import ReportDelay
from avalist.models.judge import Draws, blocks
from avalist.models.metrics import Interval
from avalist.models.prequential import Forward, Prequential, first_cut, score_forward
from avalist.models.residual import gain, grow_on
from avalist.models.train import TrainingSet, TrainParams
from avalist.models.trees import F64, I64

Verdict = Literal["pays", "no gain", "not known"]
BUDGET: Final = 40
"""Columns that patterns may have, about a tenth of the default plan."""
MOST_TRIED: Final = 6
_EVALUATION: Final = Prequential(
    params=TrainParams(test_share=0.0, trees=80, leaves=31, learning_rate=0.1), most_rows=200_000
)
_MATURE: Final = 0.3
"""What share of fraud must be reported by now for a payment to judge."""
_FEWEST_FOLDS, _FEWEST_SHOWN = 3, 10
_PRICE: Final = 0.0002
"""What a column must gain, as a share of the loss: a tenth of the plan must bring a hundredth."""
_WORTH: Final = 0.02
"""Columns whose gain is at most this share of the loss, surely, are not worth their cost."""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What the past says of one combination.

    `gain` is the share of the loss that its columns alone take from a model without patterns, over the stretches that
    choose. `in_plan` says whether the plan has these columns.
    """

    name: str
    columns: int
    in_plan: bool
    spread: Spread
    gain: Interval
    verdict: Verdict


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """What the detector saw of one pattern: waves that it was in, those that it alone told, and of their payments how
    many went through and were reported.
    """

    name: str
    spread: Spread
    waves: int
    alone: int
    captured: int
    reported: int


class PatternChoice(msgspec.Struct, frozen=True, kw_only=True):
    """The choice: `kept` combinations of at most `budget` columns.

    `together` is what the kept ones gain on the last stretch of days, which did not choose, `present` what all columns
    of patterns in the plan gain there.
    """

    budget: int
    payments: int
    frauds: int
    evidence: tuple[Evidence, ...]
    kept: tuple[str, ...]
    together: Interval
    present: Interval
    present_columns: int
    watched: tuple[Watched, ...] = ()

    @property
    def in_plan(self) -> tuple[str, ...]:
        """Return the combinations that the plan has."""
        return tuple(one.name for one in self.evidence if one.in_plan)

    @property
    def retired(self) -> tuple[str, ...]:
        """Return the combinations of the plan that surely gain less than they are worth, alone and all together."""
        if not self.present_columns or not self.present.high < _WORTH:
            return ()
        return tuple(one.name for one in self.evidence if one.in_plan and one.verdict == "no gain")

    @property
    def new(self) -> tuple[str, ...]:
        """Return the kept combinations that the plan lacks."""
        return tuple(name for name in self.kept if name not in self.in_plan)


Progress = Callable[[int, int], None]


def left_without(data: Dataset, groups: Sequence[Group], progress: Progress = lambda done, wanted: None) -> Left:
    """Score the later payments of a log by models without the columns of groups; return what they leave.

    Payments whose fraud would mostly not be reported yet are left out: they cannot judge.

    Raises
    ------
    BadInput
        If the history is too short, or has too few frauds, for three stretches of days.
    """
    gone = {place for group in groups for place in group.places}
    rest = [n for n in range(len(data.plan.columns)) if n not in gone]
    law = delay_at(data, data.cut_ms)
    mature = int(np.searchsorted(-law.reported_by((data.cut_ms - data.t_ms) / DAY_MS), -_MATURE, side="right"))
    t_ms, x = data.t_ms[:mature], np.ascontiguousarray(data.x[:mature, rest])

    def known(cut_ms: int) -> TrainingSet:
        seen = known_by(data, cut_ms)
        return replace(seen, x=np.ascontiguousarray(seen.x[:, rest]), columns=tuple(data.plan.columns[n] for n in rest))

    first_ms = first_cut(t_ms, data.changes[data.changes[:, 2] > 0, 3], _EVALUATION) if mature else 0
    forward = (
        score_forward(x, t_ms, known, _EVALUATION, first_ms, progress) if mature else Forward((), np.empty(0), t_ms)
    )
    left = _left(data, forward, law)
    _check_frauds(np.bincount(left.fold, left.y, len(forward.folds)).astype(np.int64))
    return left


def _left(data: Dataset, forward: Forward, law: ReportDelay) -> Left:
    captured, fraud = data.known_at(data.cut_ms)
    rows = np.flatnonzero(captured[: len(forward.fold)] & (forward.fold >= 0))
    p = np.clip(forward.p[rows], 1e-9, 1.0 - 1e-9)
    told, reports = np.zeros(len(data.t_ms), np.int64), data.reports_at(data.cut_ms)
    told[reports[:, 0]] = reports[:, 1]
    t_ms, y, margins = data.t_ms[rows], fraud[rows].astype(np.float64), np.log(p / (1.0 - p))
    reported = law.reported_by((data.cut_ms - t_ms) / DAY_MS)
    return Left(rows, margins, t_ms, y, reported, told[rows], forward.fold[rows])


def _check_frauds(shown: I64) -> None:
    """Refuse stretches of days with too few frauds to say anything."""
    if len(shown) < _FEWEST_FOLDS or shown[-1] < _FEWEST_SHOWN or shown[1:-1].sum() < 2 * _FEWEST_SHOWN:
        raise BadInput(
            "the history is too short to choose patterns by: nothing is changed",
            field="history",
            expected=f"{_EVALUATION.fewest_frauds} reported frauds, then three stretches of days or more, each with "
            f"{_FEWEST_SHOWN} that had time to be reported",
            got=f"{len(shown)} stretches with {', '.join(map(str, shown.tolist())) or 'no'} frauds",
        )


def candidates(data: Dataset, left: Left, most: int = MOST_TRIED) -> tuple[str, ...]:
    """Return the combinations that the plan lacks and that are worth trying, best first."""
    return screened(data, left, combined(data), _choosing(left), most)


def choose(data: Dataset, left: Left, groups: Sequence[Group], budget: int = BUDGET) -> PatternChoice:
    """Choose among groups of columns of `data` by what they take from what a model without them `left`."""
    judge = _Judge(data, left)
    alone = {group.name: judge.gained(group.places) for group in groups}
    kept = _greedy(judge, groups, budget)
    last = int(left.fold.max())
    present = [group for group in groups if not group.own]
    together = judge.share(judge.confirmed([g for g in groups if g.name in kept]), [last])
    if together.low <= 0.0:  # the choice does not hold on days that did not choose
        kept = ()
    return PatternChoice(
        budget=budget,
        payments=len(left.rows),
        frauds=int(left.y.sum()),
        evidence=tuple(_evidence(data, judge, group, alone[group.name], kept) for group in groups),
        kept=kept,
        together=together,
        present=judge.share(judge.confirmed(present), [last]),
        present_columns=sum(len(group.places) for group in present),
    )


def _evidence(data: Dataset, judge: _Judge, group: Group, gains: F64, kept: Sequence[str]) -> Evidence:
    share = judge.share(gains, judge.choosing)
    verdict: Verdict = "pays" if group.name in kept else "no gain" if share.high < _WORTH else "not known"
    return Evidence(
        name=group.name,
        columns=len(group.places),
        in_plan=not group.own,
        spread=spread(keys_of(data, group.name)),
        gain=share,
        verdict=verdict,
    )


def _greedy(judge: _Judge, groups: Sequence[Group], budget: int) -> tuple[str, ...]:
    """Return the combinations taken one after the other, while one surely gains more than its columns cost."""
    kept: list[Group] = []
    now = np.zeros(len(judge.left.rows))
    while True:
        used = {place for group in kept for place in group.places}
        rest = [g for g in groups if g not in kept and len(used | {*g.places}) <= budget]
        tried = [(judge.gained(sorted(used | {*g.places})) - now, g) for g in rest]
        sure = [(judge.share(more, judge.choosing).low - _PRICE * len(g.places), more, g) for more, g in tried]
        least, more, best = max(sure, key=lambda one: one[0], default=(0.0, now, None))
        if best is None or least <= 0.0:
            return tuple(group.name for group in kept)
        kept, now = [*kept, best], now + more


class _Judge:
    """Grows trees on earlier stretches of what a model left, and judges them on later ones."""

    def __init__(self, data: Dataset, left: Left) -> None:
        self._data, self.left = data, left
        self.folds = np.unique(left.fold).tolist()
        self.choosing: list[int] = self.folds[1:-1]
        self._draws = Draws(blocks(left.t_ms)[0])
        self._loss = report_loss(left.margins, left.y, left.reported)

    def gained(self, places: Sequence[int]) -> F64:
        """Return what columns gain on each payment of the stretches that choose, in nats [n]; 0 elsewhere."""
        return reduce(np.add, (self._on(fold, places) for fold in self.choosing))

    def confirmed(self, groups: Sequence[Group]) -> F64:
        """Return what groups gain on each payment of the last stretch, in nats [n]; 0 elsewhere."""
        return self._on(self.folds[-1], sorted({place for group in groups for place in group.places}))

    def share(self, gains: F64, folds: Sequence[int]) -> Interval:
        """Return gains as a share of the loss on the same stretches, with its 90 % interval."""
        here = np.isin(self.left.fold, folds)
        return self._draws.ratio(np.where(here, gains, 0.0), np.where(here, self._loss, 0.0))

    def _on(self, fold: int, places: Sequence[int]) -> F64:
        gains, left = np.zeros(len(self.left.rows)), self.left
        here, before = np.flatnonzero(left.fold == fold), np.flatnonzero(left.fold < fold)
        if not len(places):
            return gains
        cut_ms = int(left.t_ms[here].min())
        _, fraud = self._data.known_at(cut_ms)
        reported = delay_at(self._data, cut_ms).reported_by((cut_ms - left.t_ms[before]) / DAY_MS)
        trees = grow_on(self._x(before, places), left.margins[before], fraud[left.rows[before]], reported)
        gains[here] = gain(trees, self._x(here, places), left.margins[here], left.y[here] > 0, left.reported[here])
        return gains

    def _x(self, rows: I64, places: Sequence[int]) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        return np.ascontiguousarray(self._data.x[self.left.rows[rows]][:, list(places)])


def _choosing(left: Left) -> I64:
    """Return which of what was left may choose: all but the last stretch."""
    return np.flatnonzero(left.fold < left.fold.max())


def watched_in(data: Dataset, waves: Sequence[Wave], past: Sequence[PastWave]) -> tuple[Watched, ...]:
    """Return what the detector saw of each pattern that it watches."""
    names = [entity.name for entity in data.schema.entities if entity.source in WATCHED]
    return tuple(_watched(data, name, list(zip(waves, past, strict=True))) for name in names)


def _watched(data: Dataset, name: str, waves: Sequence[tuple[Wave, PastWave]]) -> Watched:
    mine = [(wave, past) for wave, past in waves if name in wave.patterns]
    return Watched(
        name=name,
        spread=spread(keys_of(data, name)),
        waves=len(mine),
        alone=sum(len(wave.patterns) == 1 for wave, _ in mine),
        captured=sum(past.captured for _, past in mine),
        reported=sum(past.reported for _, past in mine),
    )


def groups_of(data: Dataset) -> tuple[Group, ...]:
    """Return the pattern columns that a data set's plan has."""
    return groups_in(data.schema, data.plan.features)

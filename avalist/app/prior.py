"""A merchant before it has labels of its own: the network's prior on its plan, at its own level, and how long (§2).

The prior decides until trees of the merchant's own, with the prior's margin as one of their columns, have been better
on later payments than the prior was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np

from avalist.app.merchant import creation, plan_of
from avalist.domain.schema import Schema
from avalist.features.own import OwnFeature
from avalist.features.plan import Plan
from avalist.models.artefact import PRIOR_COLUMN, Artefact, with_prior
from avalist.models.judge import Draws, blocks
from avalist.models.prior import levelled, put_onto, shipped
from avalist.models.train import Enough, Progress, TrainingSet, TrainParams
from avalist.models.train import train as train_trees
from avalist.models.trees import F64, I64

CERTAIN: Final = 0.5
"""Own trees take over when such a share of resampled histories says that they are better: they were judged as trained
on less than they will have."""
_MOST_LEVELLED: Final = 200_000
_TO_JUDGE: Final = 60
"""Frauds among the later payments that decide between own trees and the prior; a share of all payments at least."""
_LEAST_SHARE: Final = 0.15
_STEPS: Final = 3


def first_model(schema: Schema, own: Sequence[OwnFeature] = (), network: Artefact | None = None) -> Artefact | None:
    """Return what a new merchant decides by: the prior on its plan; None where they have too little in common.

    Raises ``BadInput`` if schema or features make no sense.
    """
    return prior_of(schema, plan_of(creation(schema, own)), network)


def prior_of(schema: Schema, plan: Plan, network: Artefact | None = None) -> Artefact | None:
    """Return the network's prior, the shipped one where it has none, on a merchant's plan.

    None where they have too little in common.
    """
    return put_onto(network or shipped(), schema, plan)


def at_level(prior: Artefact, known: TrainingSet) -> Artefact:
    """Return a merchant's prior at the level of its captured payments and the reports so far."""
    rows = np.arange(len(known.y))[-_MOST_LEVELLED:]
    if not len(rows):
        return prior
    margins = prior.trees.score_many(known.x[rows])
    expected = prior.calibration.apply(margins) @ known.reported[rows]
    return levelled(prior, float(known.y[rows].sum()), float(expected), margins)


def beside(known: TrainingSet, prior: Artefact) -> TrainingSet:
    """Return a training set with the prior's margin as one more column."""
    return replace(known, x=with_prior(known.x, prior.trees), columns=(*known.columns, PRIOR_COLUMN))


def own_model(
    known: TrainingSet,
    prior: Artefact | None,
    params: TrainParams,
    grown: Progress | None = None,
    enough: Enough | None = None,
) -> Artefact:
    """Train trees of the merchant's own, beside the prior where there is one. Raises ``BadInput``."""
    if prior is None:
        return train_trees(known, params, grown, enough).artefact
    trained = train_trees(beside(known, prior), params, grown, enough).artefact
    width = len(known.columns)
    assert trained.typical is not None, "training finds them"
    alone = replace(trained, columns=known.columns, typical=trained.typical[:width])
    if not trained.trees.uses(width):
        return replace(alone, trees=replace(trained.trees, n_features=width))
    return replace(alone, prior=prior.prior, prior_trees=prior.trees)


class Rivals(NamedTuple):
    """P(fraud report) of later payments by trees of the merchant's own and by its prior, what came of them; arrays [n].

    `y` says what is reported by now, and `reported` how much of their fraud is expected to be.
    """

    own: F64
    prior: F64
    y: F64
    reported: F64
    t_ms: I64

    @property
    def certain(self) -> float:
        """Return how sure it is that own trees are better: the share of resampled histories likelier by them."""
        gain = _surprise(self.prior, self.y, self.reported) - _surprise(self.own, self.y, self.reported)
        drawn = Draws(blocks(self.t_ms)[0]).sums(gain)[1:]
        return float((drawn > 0.0).mean())


def _surprise(p: F64, y: F64, reported: F64) -> F64:
    """Return −log likelihood of reports, less a constant for each."""
    return -np.log(np.where(y > 0.0, p, 1.0 - p * reported))


def share_to_judge(frauds: int) -> tuple[float, int]:
    """Return the share of later payments that decides between the rivals, and in how many steps they learn.

    >>> share_to_judge(60), share_to_judge(120), share_to_judge(2_000)
    ((0.5, 3), (0.5, 3), (0.15, 1))
    """
    share = min(max(_TO_JUDGE / max(frauds, 1), _LEAST_SHARE), 0.5)
    return share, 1 if share == _LEAST_SHARE else _STEPS

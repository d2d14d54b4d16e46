"""Why a decision came out as it did, in words, and what would have been approved.

Every decision carries its strongest parts: what each split on the way moved the score by (Saabas), found in the same
walk as the score. They add up, but lean towards features near the leaves. The follower has time for the exact Shapley
values of stored decisions, and for the other question: which values would have had to be usual? Each answer is tried
out: scored by the same model, decided by the same ``evaluate`` under the same policy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, islice
from typing import Final, Literal

import msgspec
import numpy as np

from avalist.app.merchant import Merchant
from avalist.domain.core import DecisionCore, EventCore
from avalist.domain.decisions import Action, Decision, Reason, Versions
from avalist.domain.errors import AvalistError
from avalist.domain.facts import Facts
from avalist.features.codes import code_of
from avalist.features.declare import Feature
from avalist.features.figures import measured, money
from avalist.features.plan import Plan
from avalist.features.words import in_words, unit
from avalist.models.artefact import PRIOR_COLUMN, Artefact
from avalist.models.score import Model
from avalist.models.shapley import shapley
from avalist.models.trees import F32, F64
from avalist.policy.evaluate import evaluate

REASONS: Final = 8
MOST_TOGETHER: Final = 3
"""Values that are taken to be usual at once."""
_TRIED: Final = 8
_WAYS: Final = 3
_SMALLER: Final = (0.75, 0.5, 0.25, 0.1)
"""Parts of the amount that are tried."""
_HELD: Final = 16


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A reason in words. `contribution` is in log-odds, `raises` tells whether it raises the risk; `typical` is the
    column's median among honest payments, None where unknown.
    """

    code: str
    feature: str
    words: str
    value: float | None
    typical: float | None
    raises: bool
    contribution: float


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One value that would have had to be another. `feature` is ``amount`` where the amount itself is meant."""

    code: str
    feature: str
    words: str
    value: float | None
    instead: float


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """A way to be approved: all of these changes together, and the probability of fraud that there would be then."""

    changes: tuple[Change, ...]
    p_fraud: float


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """The follower's explanation of a stored decision.

    With the `base`, log-odds, all columns' Shapley values add up to the model's margin: `reasons` are the largest.
    `approved_if` are the least ways to be approved, empty for what was approved, and where there is none of so few
    changes.
    """

    method: Literal["shapley"] = "shapley"
    base: float
    reasons: tuple[Told, ...]
    approved_if: tuple[Way, ...] = ()


def tell(plan: Plan, reasons: Sequence[Reason], typical: F32 | None, currency: str) -> tuple[Told, ...]:
    """Return reasons in words; `typical` float32 [columns] are usual values, None where nobody knows them."""
    places = {name: place for place, name in enumerate(plan.columns)}
    named = {feature.name: feature for feature in plan.features}
    found = []
    for reason in reasons:
        place = places.get(reason.feature)
        if place is None:
            found.append(_of_the_prior(reason))
            continue
        usual = None if typical is None else _known(float(typical[place]))
        feature = plan.features[place]
        found.append(
            Told(
                code=code_of(feature, named), feature=reason.feature, words=_words(feature, reason, usual, currency),
                value=reason.value, typical=usual, raises=reason.contribution > 0.0, contribution=reason.contribution,
            )
        )  # fmt: skip
    return tuple(found)


def _of_the_prior(reason: Reason) -> Told:
    raises = reason.contribution > 0.0
    return Told(
        code=PRIOR_COLUMN, feature=reason.feature, words=f"what the network prior says: {_direction(raises)}",
        value=reason.value, typical=None, raises=raises, contribution=reason.contribution,
    )  # fmt: skip


def _words(feature: Feature, reason: Reason, usual: float | None, currency: str) -> str:
    value = measured(reason.value, unit(feature), currency)
    typical = f", usually {measured(usual, unit(feature), currency)}" if usual is not None else ""
    return f"{in_words(feature)}: {value}{typical}; {_direction(reason.contribution > 0.0)}"


def _direction(raises: bool) -> str:
    return "raises the risk" if raises else "lowers the risk"


def _known(value: float) -> float | None:
    return None if value != value else value


class Explainer:
    """Explains decisions with the model that each was made by. `load` gives an artefact by merchant and version."""

    def __init__(self, load: Callable[[str, str], Artefact]) -> None:
        self._load = load
        self.model = lru_cache(maxsize=_HELD)(self._model)

    def _model(self, merchant: str, version: str) -> Model | None:
        try:
            return Model(self._load(merchant, version))
        except AvalistError:  # it is gone: the decision stands without more words
            return None

    def explain(self, merchant: Merchant, core: EventCore, decided: DecisionCore) -> Explanation | None:
        """Explain a merchant's decision; None where its model cannot say, or nothing was scored."""
        decision = decided.decision
        if decision.p_fraud is None or not decision.model_version or not decided.features:
            return None
        model = self.model(merchant.id, decision.model_version)
        if model is None or model.artefact.trees.cover is None or model.artefact.plan_hash not in merchant.plans:
            return None
        row = np.frombuffer(decided.features, "<f4").reshape(1, -1).copy()  # read-only is another type to numba
        wide = model.artefact.rows(row)
        parts = shapley(model.artefact.trees, wide)[0]
        reasons = _strongest(model, wide[0], parts)
        typical = model.artefact.typical
        ways = () if _approved(decision) else _ways(_Tried(merchant, core, decision, model, row), parts)
        return Explanation(
            base=model.artefact.trees.bias,
            reasons=tell(merchant.plan, reasons, typical, merchant.schema.base_currency),
            approved_if=ways,
        )


def _approved(decision: Decision) -> bool:
    return Action.APPROVE in (decision.action, decision.advised_action)


def _strongest(model: Model, row: F32, parts: F64) -> list[Reason]:
    names = (*model.columns, PRIOR_COLUMN)
    order = np.argsort(-np.abs(parts), kind="stable")[:REASONS].tolist()
    return [Reason(names[c], _known(float(row[c])), float(parts[c])) for c in order if parts[c]]


@dataclass(frozen=True, eq=False)
class _Tried:
    """A decision that was not to approve, and what it was made with."""

    merchant: Merchant
    core: EventCore
    decision: Decision
    model: Model
    row: F32

    def p_if_approved(self, rows: F32, cores: Sequence[EventCore]) -> list[float | None]:
        """Return P(fraud) where these rows and events would have been approved, else None."""
        merchant, decision = self.merchant, self.decision
        versions = Versions(decision.model_version, decision.policy_version, decision.generation)
        found: list[float | None] = []
        for scored, core in zip(self.model.score(rows, 1), cores, strict=True):
            made = evaluate(core, decision.seq, scored, merchant.desk, decision.mode, versions, decision.warnings)
            found.append(made.p_fraud if _approved(made) else None)
        return found


def _ways(tried: _Tried, parts: F64) -> tuple[Way, ...]:
    """Return the ways of fewest changes, the safest first, and the largest smaller amount that would do by itself."""
    changes = _candidates(tried, parts)
    smaller = _smaller_amount(tried)
    for together in range(1, MOST_TOGETHER + 1):
        chosen = list(combinations(range(len(changes)), together))
        if not chosen:
            break
        rows = np.repeat(tried.row, len(chosen), axis=0)
        for n, some in enumerate(chosen):
            for k in some:
                rows[n, changes[k][0]] = changes[k][1].instead
        p = tried.p_if_approved(rows, [tried.core] * len(chosen))
        ways = [
            Way(changes=tuple(changes[k][1] for k in some), p_fraud=safe)
            for some, safe in zip(chosen, p, strict=True)
            if safe is not None
        ]
        if ways:
            return (*islice(sorted(ways, key=lambda way: way.p_fraud), _WAYS), *smaller)
    return smaller


def _candidates(tried: _Tried, parts: F64) -> list[tuple[int, Change]]:
    """Return the columns that raise the risk most, and what they would have to be: usual."""
    plan, typical = tried.merchant.plan, tried.model.artefact.typical
    if typical is None:
        return []
    named, currency = {feature.name: feature for feature in plan.features}, tried.merchant.schema.base_currency
    found: list[tuple[int, Change]] = []
    for column in np.argsort(-parts[: len(tried.model.artefact.columns)], kind="stable").tolist():
        value, usual, feature = float(tried.row[0, column]), float(typical[column]), plan.features[column]
        if parts[column] <= 0.0 or len(found) == _TRIED:
            break
        if usual != usual or usual == value or feature.name == "amount":
            continue
        told = [measured(_known(one), unit(feature), currency) for one in (usual, value)]
        change = Change(
            code=code_of(feature, named), feature=feature.name, value=_known(value), instead=usual,
            words=f"{in_words(feature)} were {told[0]}, not {told[1]}",
        )  # fmt: skip
        found.append((column, change))
    return found


def _smaller_amount(tried: _Tried) -> tuple[Way, ...]:
    """Return the largest part of the amount that would have been approved, if any."""
    facts, plan = tried.core.facts, tried.merchant.plan
    if facts is None:
        return ()
    own = [
        c for c, f in enumerate(plan.features) if f.name == "amount" or (f.over is not None and f.over[0] == "amount")
    ]
    rows = np.repeat(tried.row, len(_SMALLER), axis=0)
    rows[:, own] *= np.array(_SMALLER, np.float32)[:, None]
    cores = [msgspec.structs.replace(tried.core, facts=_with_part(facts, part)) for part in _SMALLER]
    for part, p in zip(_SMALLER, tried.p_if_approved(rows, cores), strict=True):
        if p is not None:
            less = round(facts.amount_base_minor * part)
            words = f"the amount were {money(less, tried.merchant.schema.base_currency)} or less"
            change = Change(
                code="amount", feature="amount", words=words, value=float(facts.amount_base_minor), instead=float(less)
            )
            return (Way(changes=(change,), p_fraud=p),)
    return ()


def _with_part(facts: Facts, part: float) -> Facts:
    return msgspec.structs.replace(
        facts,
        amount_minor=round(facts.amount_minor * part),
        amount_base_minor=round(facts.amount_base_minor * part),
    )

"""A decision as it is shown and stored: with the facts and features it was made from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec
import numpy as np

from avalist.app.explain import Explanation, Told, tell
from avalist.app.merchant import Merchant
from avalist.domain.core import DecisionCore, EventCore
from avalist.domain.decisions import Decision
from avalist.domain.facts import Facts
from avalist.domain.money import exponent_of
from avalist.models.trees import F32
from avalist.policy.choose import in_words
from avalist.ports.documents import Documents

DECISIONS = "decisions"
"""Collection of the decisions."""
PROJECTIONS: Final = (DECISIONS,)
"""Collections that are made of the log; the others stand in the documents alone."""


def folded(generation: int, fold: str = "follower/2") -> str:
    """Return the name of the mark of how far a generation's log is folded into the documents, or by another fold."""
    return fold if generation == 1 else f"{fold}@{generation}"


class StoredDecision(msgspec.Struct, frozen=True, kw_only=True):
    """A decision with everything it was made from; an unknown feature is None. `words` say what was weighed.

    `reasons` are the decision's own, in words: found together with the score, by what each split moved it. The
    `explanation` is made later, exactly; None before the follower came by, and where it had no time for an approval.
    """

    decision: Decision
    facts: Facts | None
    features: dict[str, float | None]
    words: str = ""
    reasons: tuple[Told, ...] = ()
    explanation: Explanation | None = None


def stored_decision(
    merchant: Merchant, core: EventCore, decided: DecisionCore, typical: F32 | None = None
) -> StoredDecision:
    """Return the stored form of a merchant's decision; `typical` float32 [columns] are its model's usual values."""
    columns, exponent = merchant.plan.columns, exponent_of(merchant.schema.base_currency)
    values = np.frombuffer(decided.features, dtype="<f4").tolist()
    named = {name: None if value != value else value for name, value in zip(columns, values, strict=False)}
    words = in_words(decided.decision.expected_profit_minor, exponent)
    told = tell(merchant.plan, decided.decision.reasons, typical, merchant.schema.base_currency)
    return StoredDecision(decision=decided.decision, facts=core.facts, features=named, words=words, reasons=told)


def numbered(decision: Decision, seq: int) -> Decision:
    """Return a decision with the ``seq`` of its event: a fallback that a gateway gave by itself came without one."""
    return decision if decision.seq else msgspec.structs.replace(decision, seq=seq)


def document_id(decision: Decision) -> str:
    """Return the id that a decision is stored under: its payment and checkpoint."""
    return f"{decision.payment_id}/{decision.checkpoint}"


def forget(documents: Documents, merchants: Iterable[str], generation: int, part: str = "") -> None:
    """Delete what is made of the log of these merchants, so that the follower makes it again from the beginning."""
    documents.put_many([], mark=(folded(generation) + part, 0))
    for merchant in merchants:
        for collection in PROJECTIONS:
            documents.clear(merchant, collection)

"""A decision as it is shown and stored: with the facts and features it was made from."""

from __future__ import annotations

import msgspec
import numpy as np

from avalist.domain.core import DecisionCore, EventCore
from avalist.domain.decisions import Decision
from avalist.domain.facts import Facts

DECISIONS = "decisions"
"""Collection of the decisions."""


def folded(generation: int) -> str:
    """Return the name of the mark of how far a generation's log is folded into the documents."""
    return "follower/2" if generation == 1 else f"follower/2@{generation}"


class StoredDecision(msgspec.Struct, frozen=True, kw_only=True):
    """A decision with everything it was made from; an unknown feature is None."""

    decision: Decision
    facts: Facts | None
    features: dict[str, float | None]


def stored_decision(columns: tuple[str, ...], core: EventCore, decided: DecisionCore) -> StoredDecision:
    """Return the stored form of a decision whose features stand in the plan's `columns`."""
    values = np.frombuffer(decided.features, dtype="<f4").tolist()
    named = {name: None if value != value else value for name, value in zip(columns, values, strict=False)}
    return StoredDecision(decision=decided.decision, facts=core.facts, features=named)


def document_id(decision: Decision) -> str:
    """Return the id that a decision is stored under: its payment and checkpoint."""
    return f"{decision.payment_id}/{decision.checkpoint}"

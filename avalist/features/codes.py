"""Reason codes: stable names of what a column tells, for rules and letters that outlive a plan's columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from avalist.domain.records import FoldKind
from avalist.features.declare import Feature

CODES: Final = {
    "amount": "this payment's amount",
    "number": "another number of this payment",
    "time": "time of day, or weekday",
    "velocity": "how often it pays",
    "velocity_change": "how often it pays now, against before",
    "recency": "time since its last payment",
    "familiarity": "whether it was seen before, and since when",
    "spending": "amounts, against its own history",
    "shared": "how many others it is seen with",
    "fraud_history": "its known frauds",
    "failed_payments": "payments that its issuer declined",
    "failed_logins": "failed logins",
    "prior": "what the network prior says",
}
"""What a reason's code says; after a dot follows the entity that it says it of. A code is never removed."""
_OF: Final = {
    "hour": "time", "weekday": "time", "known": "familiarity", "since_first": "familiarity", "since_last": "recency",
    "distinct": "shared", "sum": "spending", "mean": "spending", "max": "spending", "rate": "fraud_history",
    "captured": "fraud_history", "frauds": "fraud_history", "fraud_mean": "fraud_history",
    "since_fraud": "fraud_history", "since_first_fraud": "fraud_history", "clean": "fraud_history",
}  # fmt: skip


def code_of(feature: Feature, named: Mapping[str, Feature]) -> str:
    """Return a column's reason code.

    >>> code_of(Feature(name="x", aggregate="count", entity="card", window_ms=3_600_000), {})
    'velocity.card'
    >>> code_of(Feature(name="amount", aggregate="value"), {})
    'amount'
    """
    kind, of = _kind(feature, named), feature
    if feature.over is not None:
        of = named[feature.over[1]]
    entity = of.entity or (of.field if kind == "number" else "")
    return f"{kind}.{entity}" if entity else kind


def _kind(feature: Feature, named: Mapping[str, Feature]) -> str:
    if feature.over is not None:
        below = _kind(named[feature.over[1]], named)
        return "velocity_change" if below == "velocity" else below
    if feature.aggregate == "value":
        return "amount" if feature.field == "amount" else "number"
    if feature.kinds == 1 << FoldKind.AUTH_DECLINED:
        return "failed_payments"
    if feature.kinds == 1 << FoldKind.LOGIN_FAILED:
        return "failed_logins"
    return _OF.get(feature.aggregate, "velocity")

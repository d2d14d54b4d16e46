"""Exploration: a few would-be declines are released, to learn what they were (modelling §4, ADR 14).

Everything here is read from inputs: the merchant's keyed hashes, the day, and counts of payments seen before. Nothing
counts decisions, so batches and replay need no memory of what was released.
"""

from __future__ import annotations

import hashlib
import math
import struct
from typing import Any, Final

import numpy as np

from avalist.domain.core import EventCore
from avalist.domain.row import AT, keys_at
from avalist.domain.schema import DAY_MS, PATTERN_SOURCES, Schema
from avalist.models.trees import F32, F64
from avalist.policy.economics import Exploration, Policy

_IDENTITIES: Final = ("customer.id", "method.fingerprint", "device.id")
_PATTERNS: Final = ("email_shape", "device_shape", *PATTERN_SOURCES)
_BUSY: Final = 2.0
"""So many times its usual rate, and a pattern or the whole merchant is in a wave."""
_WORD: Final = struct.Struct("<q")
_MERCHANT: Final = ("merchant__count__events__1h", "merchant__count__events__7d")


def worth(p: Any, amount: Any, margin: Any, policy: Policy) -> Any:
    """Return what releasing a payment teaches for its price: √(p(1−p)a² / (p((1−m)a + φ)))."""
    price = (1.0 - margin) * amount + policy.chargeback_cost_minor + 1.0
    return ((1.0 - p) * amount * amount / price) ** 0.5


def chance(p: float, amount: int, margin: float, policy: Policy, scale: float) -> float:
    """Return the chance of one would-be decline to be released, before it is thinned for its cost."""
    plan = policy.exploration
    if amount > plan.order_limit_minor:
        return 0.0
    return min(max(float(scale * worth(p, amount, margin, policy)), plan.floor), plan.cap)


def chances(p: F64, amount: F64, margin: F64, policy: Policy, scale: float) -> F64:
    """Return :func:`chance` of many, float64 [n]."""
    plan = policy.exploration
    found = np.minimum(np.maximum(scale * worth(p, amount, margin, policy), plan.floor), plan.cap)
    return np.where(amount <= plan.order_limit_minor, found, 0.0)


class Explorer:
    """Says of a merchant's would-be declines with which chance they are released, and whether they are.

    A payment may be released only if its account, card and device made no other payment within a day, if it has a
    pattern and each of its patterns was seen at most twice as often as usual within a day (one never seen before: not
    at all), and if the merchant's last hour was at most twice the usual.
    """

    def __init__(self, schema: Schema, columns: tuple[str, ...]) -> None:
        place = {name: n for n, name in enumerate(columns)}
        by_source = {entity.source: n for n, entity in enumerate(schema.entities)}
        names = [entity.name for entity in schema.entities]
        self.missing: list[str] = []

        def column(name: str) -> int:
            if name not in place:
                self.missing.append(name)
            return place.get(name, 0)

        identities = [by_source[source] for source in _IDENTITIES if source in by_source]
        patterns = [by_source[source] for source in _PATTERNS if source in by_source]
        first = keys_at(schema)
        self._keys = [first + n for n in (*identities, *patterns)]
        self._own = [column(f"{names[n]}__count__events__1d") for n in identities]
        counts = [f"{names[n]}__count__events" for n in patterns]
        self._shared = [(column(f"{count}__1d"), column(f"{count}__30d")) for count in counts]
        self._hour, self._week = (column(name) for name in _MERCHANT)
        self.missing += [
            " or ".join(of) for of, found in ((_IDENTITIES, identities), (_PATTERNS, patterns)) if not found
        ]

    def quiet(self, event: EventCore, features: F32) -> bool:
        """Tell whether no key of a payment was busy before it; a later checkpoint has itself behind it."""
        own = 0.0 if event.checkpoint == "pre_auth" else 1.0
        if any(features[n] > own for n in self._own):  # NaN, an absent entity, is not above
            return False
        if all(math.isnan(features[day]) for day, _ in self._shared):
            return False
        for day, month in self._shared:
            if features[day] > own + _BUSY * _known(features[month]) / 30.0:
                return False
        return bool(features[self._hour] <= own + _BUSY * _known(features[self._week]) / (7.0 * 24.0))

    def draw(self, event: EventCore) -> float:
        """Return the payment's number in [0, 1): one for its strongest key and day. Whoever lacks the merchant's secret
        cannot tell it, for the key is hashed with it.
        """
        row = event.row
        keys = (_WORD.unpack_from(row, 8 * n)[0] for n in self._keys)
        strongest = next((key for key in keys if key), 0)
        day = _WORD.unpack_from(row, 8 * AT)[0] // DAY_MS
        digest = hashlib.blake2b(struct.pack("<qq", strongest, day), digest_size=8, person=b"avalist-explore").digest()
        return float(int.from_bytes(digest, "little") >> 11) / float(1 << 53)


def _known(count: float) -> float:
    return 0.0 if math.isnan(count) else float(count)


def solve_chances(p: F64, amount: F64, margin: F64, policy: Policy, days: float) -> tuple[float, float]:
    """Return the scale at which would-be declines are released with the wanted share on average, and the part of it
    that the money budget allows.

    The cost of a release is what approving loses against declining, expected.
    """
    plan: Exploration = policy.exploration
    if not plan.on or not len(p):
        return 0.0, 0.0
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if chances(p, amount, margin, policy, middle).mean() < plan.share:
            low = middle
        else:
            high = middle
    found = chances(p, amount, margin, policy, low)
    loss = p * policy.dispute_share * ((1 - margin) * amount + policy.chargeback_cost_minor)
    gain = (1 - p) * (margin * amount + policy.lifetime_value_minor)
    per_day = float(found @ np.maximum(loss - gain, 0.0)) / days
    return low, min(1.0, plan.daily_cost_minor / per_day) if per_day > 0 else 1.0

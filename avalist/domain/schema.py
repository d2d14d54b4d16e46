"""What a merchant declares of its data. The feature plan is derived from it: columns are listed, not features."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from avalist.domain.errors import BadInput
from avalist.domain.events import Currency
from avalist.domain.money import exponent_of

Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
DAY_MS = 86_400_000
WAVE_SOURCES = ("wave.evidence", "wave.payments", "wave.alarms", "wave.excess")
"""Numbers that the merchant's state gives a payment: the evidence of a wave in hundredths of a nat, the payments it
rests on, how many of the payment's patterns are in alarm, how many in a hundred of an alarm's latest payments are more
than usual."""
PATTERN_SOURCES = (
    "pattern.payment", "pattern.goods", "pattern.identity", "pattern.device", "pattern.person", "pattern.session",
    "pattern.conduct", "pattern.behaviour",
)  # fmt: skip
"""Entities that are a shape, not a thing."""
WATCHED = frozenset((*PATTERN_SOURCES, "bin", "ip24", "payee.id", "receiver"))
"""Sources of entities that many accounts share by habit: they are watched for waves, where a schema asks for a wave's
numbers."""
_LARGEST_RATE = 1e9
_MOST_DAYS = 3650


class EntityDecl(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An entity whose behaviour is followed: an account, a card, a device.

    `source` is a dotted path into the event (``customer.id``, ``method.fingerprint``, ``custom.terminal``) or a derived
    fact (``ip24``, ``email``, ``email_domain``, ``email_shape``, ``bin``, ``product``, ``receiver``, ``device_class``)
    or a pattern (``pattern.payment``, ``pattern.device``).
    """

    name: Name
    source: str


class NumberDecl(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A number besides the amount; state holds it as an integer of ``10**-decimals``."""

    name: Name
    source: str
    decimals: Annotated[int, msgspec.Meta(ge=0, le=6)] = 0


class CategoryDecl(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A field with few values: a product category, a country."""

    name: Name
    source: str


class Schema(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A merchant's declared schema.

    `label_delay_d` is L of the lagged fraud rate (days); `memory_d` is M, after which an entity unseen is unknown
    again; `capture` says whether a payment counts as captured at once (``assumed``) or by its ``capture`` event
    (``explicit``). `report_delay_d` is the declared law of how long a fraud report takes, (median, 95th percentile) in
    days, lognormal; equal values mean a constant. `rates` holds units of base currency per unit of another.
    """

    base_currency: Currency
    entities: tuple[EntityDecl, ...]
    numbers: tuple[NumberDecl, ...] = ()
    categories: tuple[CategoryDecl, ...] = ()
    pairs: tuple[tuple[Name, Name], ...] | None = None
    distinct: tuple[tuple[Name, Name], ...] | None = None
    windows_s: tuple[int, ...] = (600, 3600, 86_400, 7 * 86_400, 30 * 86_400, 90 * 86_400)
    rate_windows_d: tuple[int, ...] = (1, 3, 7, 30, 90)
    label_delay_d: Annotated[float, msgspec.Meta(ge=0, le=365)] = 14.0
    report_delay_d: tuple[float, float] = (25.0, 90.0)
    memory_d: Annotated[int, msgspec.Meta(ge=1, le=3650)] = 400
    capture: Literal["assumed", "explicit"] = "assumed"
    rates: dict[str, float] = {}

    def check(self) -> Schema:
        """Return self if it makes sense.

        Raises
        ------
        BadInput
            For a repeated name, a pair of undeclared entities, an unknown currency, a window beyond the memory, a rate
            or delay that is not positive.
        """
        exponent_of(self.base_currency)
        names = [e.name for e in self.entities] + [n.name for n in self.numbers] + [c.name for c in self.categories]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise BadInput(f"declared twice: {', '.join(twice)}", field="$.entities", expected="distinct names")
        if not self.entities:
            raise BadInput("declare at least one entity", field="$.entities", expected="one or more", got="none")
        known = {e.name for e in self.entities} | {c.name for c in self.categories}
        for pair in (*(self.pairs or ()), *(self.distinct or ())):
            for name in pair:
                if name not in known:
                    raise BadInput("no such entity", field="$.pairs", expected=" or ".join(sorted(known)), got=name)
        _check_numbers(self)
        longest = max((*self.windows_s, *(round((w + self.label_delay_d) * 86_400) for w in self.rate_windows_d)))
        if longest > self.memory_d * 86_400 or min(self.windows_s, default=60) < 60:
            raise BadInput(
                "windows lie between one minute and the memory",
                field="$.windows_s",
                expected=f"60 to {self.memory_d * 86_400}",
                got=str(longest)[:64],
            )
        return self


def _check_numbers(schema: Schema) -> None:
    windows, days = schema.windows_s, schema.rate_windows_d
    if len(windows) < 3 or list(windows) != sorted(set(windows)):
        raise BadInput("windows ascend", field="$.windows_s", expected="three or more", got=str(windows)[:64])
    if min(days, default=1) < 1 or max(days, default=1) > _MOST_DAYS or len(set(days)) < len(days):
        expected = f"distinct, 1 to {_MOST_DAYS}"
        raise BadInput("not windows in days", field="$.rate_windows_d", expected=expected, got=str(days)[:64])
    median, p95 = schema.report_delay_d
    if not 0 < median <= p95 < 36_500:
        raise BadInput("not a delay", field="$.report_delay_d", expected="0 < median <= p95", got=f"{median}, {p95}")
    for currency, rate in schema.rates.items():
        exponent_of(currency)
        if not 0 < rate < _LARGEST_RATE:
            raise BadInput("not a rate", field=f"$.rates.{currency}", expected=f"0 to {_LARGEST_RATE}", got=str(rate))


DIGITAL_GOODS = Schema(
    base_currency="EUR",
    entities=(
        EntityDecl("account", "customer.id"),
        EntityDecl("card", "method.fingerprint"),
        EntityDecl("device", "device.id"),
        EntityDecl("ip", "ip"),
        EntityDecl("ip24", "ip24"),
        EntityDecl("email", "email"),
        EntityDecl("payee", "receiver"),
        EntityDecl("bin", "bin"),
        EntityDecl("product", "product"),
        EntityDecl("identity_pattern", "pattern.identity"),
        EntityDecl("device_pattern", "pattern.device"),
        EntityDecl("payment_pattern", "pattern.payment"),
        EntityDecl("goods_pattern", "pattern.goods"),
        EntityDecl("person_pattern", "pattern.person"),
        EntityDecl("conduct_pattern", "pattern.conduct"),
    ),
    numbers=(
        NumberDecl("session_ms", "session.duration_ms"),
        NumberDecl("session_pages", "session.pages"),
        NumberDecl("session_keys", "session.key_presses"),
        NumberDecl("session_pointer", "session.pointer_moves"),
        NumberDecl("session_pastes", "session.pastes"),
        NumberDecl("items", "items"),
        NumberDecl("account_age_s", "account_age_s"),
        NumberDecl("wave_evidence", "wave.evidence"),
        NumberDecl("wave_payments", "wave.payments"),
        NumberDecl("wave_alarms", "wave.alarms"),
        NumberDecl("wave_excess", "wave.excess"),
    ),
    categories=(
        CategoryDecl("email_domain", "email_domain"),
        CategoryDecl("item_kind", "item_kind"),
        CategoryDecl("method_kind", "method_kind"),
        CategoryDecl("billing_country", "billing.country"),
    ),
    capture="explicit",
)
"""Default for merchants of games, gift cards, top-ups and crypto."""

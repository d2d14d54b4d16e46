"""Facts: what is known of an event beyond its own words, flat and typed; logged once and never recomputed."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from avalist.domain.decisions import WarningCode

NO_TABLES: Final = 1
"""The number of no tables: facts are of the event's own words alone."""


SessionState = Literal["", "none", "given", "joined", "not_found"]


class Facts(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Facts of a payment or identity event. Holds no clear personal data.

    `amount_base_minor` is in the merchant's base currency; `account_age_s` counts from the declared creation of the
    account; an empty string or None means the event does not carry it.
    `session_state` says how its session is known: ``given`` with the payment, ``joined`` from the session logged under
    its id, ``not_found`` under it, or ``none``; empty before this was noted. `tells` are its signs of automation.
    `warnings` are what is odd of a payment by itself; `missing` names the schema's sources that it gives nothing for.
    `tables_version` is the number of the reference tables that made what stands from `ip_country` on; without tables
    all of it is empty. `country_shape` says how the countries of address, issuer, bill, time zone, language and phone
    agree, and `countries` how many there are; distances are between countries.
    """

    tables_version: int = NO_TABLES
    currency: str = ""
    amount_minor: int = 0
    amount_base_minor: int = 0
    occurred_at_ms: int = 0
    email_domain: str = ""
    email_shape: str = ""
    device_class: str = ""
    device_shape: str = ""
    method_kind: str = ""
    bin: str = ""
    issuer_country: str = ""
    billing_country: str = ""
    item_kind: str = ""
    product: str = ""
    items: int = 0
    account_age_s: int | None = None
    session: bool = False
    session_state: SessionState = ""
    tells: tuple[str, ...] = ()
    categories: dict[str, str] = {}
    warnings: tuple[WarningCode, ...] = ()
    missing: tuple[str, ...] = ()
    ip_country: str = ""
    asn: str = ""
    ip_class: str = ""
    email_class: str = ""
    card_brand: str = ""
    agent_class: str = ""
    browser: str = ""
    os: str = ""
    timezone_country: str = ""
    language_country: str = ""
    phone_country: str = ""
    country_shape: str = ""
    countries: int | None = None
    ip_billing_km: int | None = None
    ip_issuer_km: int | None = None
    ip_timezone_km: int | None = None
    phone_class: str = ""
    phone_billing_km: int | None = None
    phone_ip_km: int | None = None
    phone_issuer_km: int | None = None


_FIELDS = Facts.__struct_fields__
OF_TABLES: Final = frozenset(_FIELDS[_FIELDS.index("ip_country") :])
"""Facts that reference tables give."""

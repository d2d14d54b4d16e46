"""Facts: what is known of an event beyond its own words, flat and typed; logged once and never recomputed."""

from __future__ import annotations

import msgspec

from avalist.domain.decisions import WarningCode


class Facts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Facts of a payment or identity event. Holds no clear personal data.

    `amount_base_minor` is in the merchant's base currency; `account_age_s` counts from the declared creation of the
    account; an empty string or None means the event does not carry it.
    `warnings` are what is odd of a payment by itself; `missing` names the schema's sources that it gives nothing for.
    """

    tables_version: int = 1
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
    categories: dict[str, str] = {}
    warnings: tuple[WarningCode, ...] = ()
    missing: tuple[str, ...] = ()

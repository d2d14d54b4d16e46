"""Facts of an event, from what it carries."""

from __future__ import annotations

import functools
from typing import Any, get_args

from avalist.domain.decisions import WarningCode
from avalist.domain.errors import BadInput
from avalist.domain.events import (
    Card,
    CartItem,
    CryptoPurchase,
    Customer,
    Device,
    GameCurrency,
    GiftCard,
    IdentityEvent,
    Method,
    OtherItem,
    Payment,
    PrepaidTopUp,
    to_ms,
)
from avalist.domain.facts import NO_TABLES, Facts, SessionState
from avalist.domain.money import MAX_MINOR, convert_minor
from avalist.domain.schema import Schema
from avalist.enrich.shapes import device_class, email_parts
from avalist.enrich.tables import NOTHING, Known, Tables

_NO_GOODS = "", "", 0
_NO_EMAIL = "", "", ""
_NO_WORDS = "", ""
_TAG = {kind: str(kind.__struct_config__.tag) for kind in (*get_args(Method), *get_args(CartItem))}


def payment_facts(
    event: Payment,
    schema: Schema,
    warnings: tuple[WarningCode, ...] = (),
    tables: Tables | None = None,
    session_state: SessionState = "",
) -> Facts:
    """Return the facts of a payment, with the `warnings` found of it; without `tables`, of its own words alone.

    Raises
    ------
    UnknownCurrency
        If the schema has no rate for the payment's currency.
    BadInput
        If the amount in base currency exceeds 10¹² minor units.
    """
    base = convert_minor(event.amount_minor, event.currency, schema.base_currency, schema.rates)
    if base > MAX_MINOR:
        raise BadInput(
            "the amount is too large", field="$.amount_minor", expected=f"at most {MAX_MINOR}", got=str(base)
        )
    customer, device, method, cart = event.customer, event.device, event.method, event.cart
    occurred_at_ms = to_ms(event.occurred_at)
    domain, shape, _ = email_parts(customer.email) if customer is not None and customer.email else _NO_EMAIL
    card = method if isinstance(method, Card) else None
    bin, issuer = ((card.bin or ""), (card.issuer_country or "")) if card else ("", "")
    billing = (event.billing.country or "") if event.billing else ""
    machine, machine_shape = _NO_WORDS if device is None else _device(device)
    item, product, items = _goods(cart) if cart else _NO_GOODS
    tells = event.session.tells or () if event.session else ()
    known = _known(tables, event.ip, domain, bin, device, issuer, billing, customer) if tables else NOTHING
    return Facts(  # by place: so many names would cost ten times as much
        tables.version if tables else NO_TABLES, event.currency, event.amount_minor, base, occurred_at_ms, domain,
        shape, machine, machine_shape, _TAG[type(method)] if method else "", bin, issuer, billing, item, product, items,
        _account_age_s(customer, occurred_at_ms), event.session is not None, session_state, tells, {}, warnings, (),
        *_looked_up(known),
    )  # fmt: skip


def identity_facts(event: IdentityEvent, tables: Tables | None = None) -> Facts:
    """Return the facts of a sign-up, login, profile change, KYC step or session."""
    customer, device = event.customer, event.device
    domain, shape, _ = email_parts(customer.email) if customer is not None and customer.email else _NO_EMAIL
    occurred_at_ms = to_ms(event.occurred_at)
    machine, machine_shape = _NO_WORDS if device is None else _device(device)
    tells = event.session.tells or () if event.session else ()
    known = _known(tables, event.ip, domain, "", device, "", "", customer) if tables else NOTHING
    return Facts(
        tables.version if tables else NO_TABLES, "", 0, 0, occurred_at_ms, domain, shape, machine, machine_shape,
        "", "", "", "", "", "", 0, _account_age_s(customer, occurred_at_ms), event.session is not None, "", tells, {},
        (), (), *_looked_up(known),
    )  # fmt: skip


def _known(
    tables: Tables, ip: str | None, domain: str, bin: str, device: Device | None, issuer: str, billing: str,
    customer: Customer | None,
) -> Known:  # fmt: skip
    """Look up what the tables know; the device's language counts before the account's."""
    agent = timezone = language = phone = ""
    if device is not None:
        agent, timezone, language = device.user_agent or "", device.timezone or "", device.language or ""
    if customer is not None:
        language, phone = language or customer.language or "", customer.phone or ""
    return tables.known(ip or "", domain, bin, agent, issuer, billing, timezone, language, phone)


def _value(item: CartItem) -> int:
    return (item.unit_amount_minor or 0) * item.quantity


def _account_age_s(customer: Customer | None, occurred_at_ms: int) -> int | None:
    if customer is None or customer.created_at is None:
        return None
    return max((occurred_at_ms - to_ms(customer.created_at)) // 1000, 0)


def _device(device: Device) -> tuple[str, str]:
    """Return a device's class and shape."""
    return _device_words(device.user_agent or "", device.screen or "", device.timezone or "", device.language or "")


@functools.lru_cache(maxsize=8192)
def _device_words(*parts: str) -> tuple[str, str]:
    """Return a device's class, and user agent, screen, timezone and language together: a farm's machines share them."""
    return device_class(parts[0]) if parts[0] else "", "|".join(parts) if any(parts) else ""


def _goods(cart: tuple[CartItem, ...]) -> tuple[str, str, int]:
    """Return kind and product of the cart's main item, and how many items there are."""
    main = cart[0] if len(cart) == 1 else max(cart, key=_value)
    return _TAG[type(main)], _product(main), sum([item.quantity for item in cart])


def _looked_up(known: Known) -> tuple[Any, ...]:
    """Return what stands in facts from ``ip_country`` on; nothing where nothing is known: all of it can be left out."""
    if known is NOTHING:
        return ()
    network, agent, phone, places = known.network, known.agent, known.phone, known.places
    return (
        network.country, network.asn, network.kind, known.email_class, known.card_brand, agent.kind, agent.browser,
        agent.os, places.timezone, places.language, phone.country, *places[2:7], phone.kind, *places[7:],
    )  # fmt: skip


def _product(item: CartItem) -> str:
    if item.sku:
        return item.sku
    match item:
        case GameCurrency():
            return item.title
        case GiftCard():
            return item.brand
        case PrepaidTopUp():
            return item.operator
        case CryptoPurchase():
            return item.asset
        case OtherItem():
            return item.category

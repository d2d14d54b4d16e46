"""Facts of an event, from what it carries."""

from __future__ import annotations

from typing import get_args

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
from avalist.enrich.shapes import device_class, email_domain, email_shape
from avalist.enrich.tables import NOTHING, Known, Tables

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
    customer, device, method = event.customer, event.device, event.method
    cart = event.cart
    main = cart[0] if len(cart) == 1 else max(cart, key=_value, default=None)
    occurred_at_ms = to_ms(event.occurred_at)
    email = (customer and customer.email) or ""
    domain, card = email_domain(email), method if isinstance(method, Card) else None
    bin, issuer = ((card.bin or ""), (card.issuer_country or "")) if card else ("", "")
    billing = (event.billing.country or "") if event.billing else ""
    known = _known(tables, event.ip, domain, bin, device, issuer, billing, customer) if tables else NOTHING
    network, agent, places = known.network, known.agent, known.places
    return Facts(
        tables_version=tables.version if tables else NO_TABLES,
        currency=event.currency,
        amount_minor=event.amount_minor,
        amount_base_minor=base,
        occurred_at_ms=occurred_at_ms,
        email_domain=domain,
        email_shape=email_shape(email),
        device_class=device_class(device.user_agent) if device and device.user_agent else "",
        device_shape=_device_shape(device),
        method_kind=_TAG[type(method)] if method else "",
        bin=bin,
        issuer_country=issuer,
        billing_country=billing,
        item_kind=_TAG[type(main)] if main else "",
        product=_product(main) if main else "",
        items=main.quantity if main and len(cart) == 1 else sum([item.quantity for item in cart]),
        account_age_s=_account_age_s(customer, occurred_at_ms),
        session=event.session is not None,
        session_state=session_state,
        tells=(event.session.tells or ()) if event.session else (),
        warnings=warnings,
        ip_country=network.country,
        asn=network.asn,
        ip_class=network.kind,
        email_class=known.email_class,
        card_brand=known.card_brand,
        agent_class=agent.kind,
        browser=agent.browser,
        os=agent.os,
        timezone_country=places.timezone,
        language_country=places.language,
        phone_country=known.phone_country,
        country_shape=places.shape,
        countries=places.countries,
        ip_billing_km=places.ip_billing_km,
        ip_issuer_km=places.ip_issuer_km,
        ip_timezone_km=places.ip_timezone_km,
    )


def identity_facts(event: IdentityEvent, tables: Tables | None = None) -> Facts:
    """Return the facts of a sign-up, login, profile change, KYC step or session."""
    customer = event.customer
    email = (customer and customer.email) or ""
    domain = email_domain(email)
    occurred_at_ms = to_ms(event.occurred_at)
    known = _known(tables, event.ip, domain, "", event.device, "", "", customer) if tables else NOTHING
    network, agent, places = known.network, known.agent, known.places
    return Facts(
        tables_version=tables.version if tables else NO_TABLES,
        occurred_at_ms=occurred_at_ms,
        email_domain=domain,
        email_shape=email_shape(email),
        device_class=device_class(event.device.user_agent) if event.device and event.device.user_agent else "",
        device_shape=_device_shape(event.device),
        account_age_s=_account_age_s(customer, occurred_at_ms),
        session=event.session is not None,
        tells=(event.session.tells or ()) if event.session else (),
        ip_country=network.country,
        asn=network.asn,
        ip_class=network.kind,
        email_class=known.email_class,
        agent_class=agent.kind,
        browser=agent.browser,
        os=agent.os,
        timezone_country=places.timezone,
        language_country=places.language,
        phone_country=known.phone_country,
        country_shape=places.shape,
        countries=places.countries,
        ip_timezone_km=places.ip_timezone_km,
    )


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


def _device_shape(device: Device | None) -> str:
    """User agent, screen, timezone and language together: shared by the machines of one farm."""
    if device is None:
        return ""
    parts = (device.user_agent or "", device.screen or "", device.timezone or "", device.language or "")
    return "|".join(parts) if any(parts) else ""


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

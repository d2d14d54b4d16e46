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
from avalist.domain.facts import Facts
from avalist.domain.money import MAX_MINOR, convert_minor
from avalist.domain.schema import Schema
from avalist.enrich.shapes import device_class, email_domain, email_shape

TABLES_VERSION = 1
_TAG = {kind: str(kind.__struct_config__.tag) for kind in (*get_args(Method), *get_args(CartItem))}


def payment_facts(event: Payment, schema: Schema, warnings: tuple[WarningCode, ...] = ()) -> Facts:
    """Return the facts of a payment, with the `warnings` found of it.

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
    return Facts(
        tables_version=TABLES_VERSION,
        currency=event.currency,
        amount_minor=event.amount_minor,
        amount_base_minor=base,
        occurred_at_ms=occurred_at_ms,
        email_domain=email_domain(email),
        email_shape=email_shape(email),
        device_class=device_class(device.user_agent) if device and device.user_agent else "",
        device_shape=_device_shape(device),
        method_kind=_TAG[type(method)] if method else "",
        bin=(method.bin or "") if isinstance(method, Card) else "",
        issuer_country=(method.issuer_country or "") if isinstance(method, Card) else "",
        billing_country=(event.billing.country or "") if event.billing else "",
        item_kind=_TAG[type(main)] if main else "",
        product=_product(main) if main else "",
        items=main.quantity if main and len(cart) == 1 else sum([item.quantity for item in cart]),
        account_age_s=_account_age_s(customer, occurred_at_ms),
        session=event.session is not None,
        warnings=warnings,
    )


def identity_facts(event: IdentityEvent) -> Facts:
    """Return the facts of a sign-up, login, profile change, KYC step or session."""
    email = event.customer.email or ""
    occurred_at_ms = to_ms(event.occurred_at)
    return Facts(
        tables_version=TABLES_VERSION,
        occurred_at_ms=occurred_at_ms,
        email_domain=email_domain(email),
        email_shape=email_shape(email),
        device_class=device_class(event.device.user_agent) if event.device and event.device.user_agent else "",
        device_shape=_device_shape(event.device),
        account_age_s=_account_age_s(event.customer, occurred_at_ms),
        session=event.session is not None,
    )


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

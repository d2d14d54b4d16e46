"""What is sent and what is answered. Written by ``sdk/generate.py`` from the OpenAPI document."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Literal, NotRequired, TypeAlias, TypedDict

import msgspec

Action: TypeAlias = Literal["approve", "challenge", "decline", "not_reviewed", "review"]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One value that would have had to be another. `feature` is ``amount`` where the amount itself is meant."""

    code: str
    feature: str
    words: str
    value: float | None
    instead: float


Factor: TypeAlias = Literal["budget", "capacity", "explored", "new_account_limit", "product_limit"]


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """One feature's part in the score, in log-odds; positive raises the risk."""

    feature: str
    value: float | None
    contribution: float


WarningCode: TypeAlias = str


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one payment at one checkpoint.

    `p_fraud` is P(fraud report), rounded to 1e-9, or None where nothing was scored; `risk_score` its percentile among
    the payments before the model's training, 0 to 99. `expected_profit_minor` gives the expected profit of every action
    that could have been taken, in minor units of the base currency. In mode ``observe`` the action is ``not_reviewed``
    and `advised_action` says what live would have done.

    `factors` say what turned the choice away from the best of them. `propensity` is the chance with which the policy
    takes the action it took (`advised_action` in mode ``observe``), given all that it knew: 1 but for would-be declines
    that might have been released; with ``explored`` among the `factors`, this one was. A review has a deadline, and
    what is to be done past it.

    `missing` names the sources of the merchant's schema that the payment gives nothing for. `generation` and `seq` name
    the decision: `seq` counts the inputs of that generation.
    """

    payment_id: str
    event_id: str
    checkpoint: str
    action: Action
    seq: int
    engine: int
    mode: Literal["live", "observe", "off"]
    advised_action: Action | None = None
    p_fraud: float | None = None
    risk_score: int | None = None
    reasons: tuple[Reason, ...] = ()
    warnings: tuple[WarningCode, ...] = ()
    missing: tuple[str, ...] = ()
    expected_profit_minor: dict[str, int] = {}
    cover: str = "unrequested"
    model_version: str = ""
    policy_version: str = ""
    degraded: bool = False
    durable: bool = True
    generation: int = 1
    propensity: float = 1.0
    factors: tuple[Factor, ...] = ()
    review_deadline_s: int | None = None
    review_default: Action | None = None


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A reason in words. `contribution` is in log-odds, `raises` tells whether it raises the risk; `typical` is the
    column's median among honest payments, None where unknown.
    """

    code: str
    feature: str
    words: str
    value: float | None
    typical: float | None
    raises: bool
    contribution: float


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """A way to be approved: all of these changes together, and the probability of fraud that there would be then."""

    changes: tuple[Change, ...]
    p_fraud: float


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """The follower's explanation of a stored decision.

    With the `base`, log-odds, all columns' Shapley values add up to the model's margin: `reasons` are the largest.
    `approved_if` are the least ways to be approved, empty for what was approved, and where there is none of so few
    changes.
    """

    method: str = "shapley"
    base: float
    reasons: tuple[Told, ...]
    approved_if: tuple[Way, ...] = ()


class Facts(msgspec.Struct, frozen=True, kw_only=True):
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
    session_state: Literal["", "given", "joined", "none", "not_found"] = ""
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


class FoundDecision(msgspec.Struct, frozen=True, kw_only=True):
    """A decision that was found, and the facts it was made from; its features are at ``GET /v1/decisions/{id}``."""

    decision: Decision
    facts: Facts | None


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """The decisions found, newest first. `next` continues the list; None where it ends."""

    decisions: tuple[FoundDecision, ...]
    next: int | None = None


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """An RFC 9457 problem document; `field`, `expected` and `got` name what to mend."""

    type: str
    title: str
    status: int
    detail: str
    field: str = ""
    expected: str = ""
    got: str = ""


class NotRecorded(msgspec.Struct, frozen=True, kw_only=True):
    """An event of a batch that was not recorded: its place, its id, and why."""

    at: int
    event_id: str
    problem: Problem


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a batch: how many events were recorded, and why the others were not, by place in the batch."""

    recorded: int
    errors: tuple[NotRecorded, ...] = ()


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


class Address(TypedDict):
    """A postal address; every part optional."""

    name: NotRequired[str | None]
    line1: NotRequired[str | None]
    line2: NotRequired[str | None]
    city: NotRequired[str | None]
    region: NotRequired[str | None]
    postcode: NotRequired[str | None]
    country: NotRequired[str | None]


class AuthorisationResult(TypedDict):
    """What the issuer said."""

    type: Literal["authorisation_result"]
    event_id: NotRequired[str]
    occurred_at: NotRequired[dt.datetime | str]
    sent_at: NotRequired[dt.datetime | str | None]
    received_at: NotRequired[dt.datetime | str | None]
    version: NotRequired[Literal[1]]
    payment_id: str
    approved: bool
    issuer_code: NotRequired[str]
    avs: NotRequired[str]
    cvv: NotRequired[str]
    three_d_secure: NotRequired[Literal["", "attempted", "authenticated", "failed", "none"]]


class Capture(TypedDict):
    """Money was taken: from now on the payment is a training row."""

    type: Literal["capture"]
    event_id: NotRequired[str]
    occurred_at: NotRequired[dt.datetime | str]
    sent_at: NotRequired[dt.datetime | str | None]
    received_at: NotRequired[dt.datetime | str | None]
    version: NotRequired[Literal[1]]
    payment_id: str
    amount_minor: NotRequired[int | None]


class Chargeback(TypedDict):
    """A step in a chargeback's life. ``opened`` with `fraud` is a fraud label."""

    type: Literal["chargeback"]
    event_id: NotRequired[str]
    occurred_at: NotRequired[dt.datetime | str]
    sent_at: NotRequired[dt.datetime | str | None]
    received_at: NotRequired[dt.datetime | str | None]
    version: NotRequired[Literal[1]]
    payment_id: str
    stage: NotRequired[Literal["lost", "opened", "represented", "withdrawn", "won"]]
    fraud: NotRequired[bool]
    reason_code: NotRequired[str]
    amount_minor: NotRequired[int | None]


class EarlyFraudWarning(TypedDict):
    """A scheme fraud report (TC40, SAFE): a fraud label."""

    type: Literal["early_fraud_warning"]
    event_id: NotRequired[str]
    occurred_at: NotRequired[dt.datetime | str]
    sent_at: NotRequired[dt.datetime | str | None]
    received_at: NotRequired[dt.datetime | str | None]
    version: NotRequired[Literal[1]]
    payment_id: str
    scheme: NotRequired[str]
    reason_code: NotRequired[str]


class Customer(TypedDict):
    """The account at the merchant. Without an `id` it is known by its e-mail address."""

    id: NotRequired[str | None]
    email: NotRequired[str | None]
    phone: NotRequired[str | None]
    name: NotRequired[str | None]
    created_at: NotRequired[dt.datetime | str | None]
    language: NotRequired[str | None]


class Device(TypedDict):
    """What the browser or app says of itself."""

    id: NotRequired[str | None]
    user_agent: NotRequired[str | None]
    screen: NotRequired[str | None]
    timezone: NotRequired[str | None]
    language: NotRequired[str | None]


class DeviceTraits(TypedDict):
    """What the browser tells of its machine besides its agent; `renderer` and `fonts` are the merchant's own words or
    hashes.
    """

    cores: NotRequired[int | None]
    memory_mb: NotRequired[int | None]
    touch_points: NotRequired[int | None]
    renderer: NotRequired[str | None]
    fonts: NotRequired[str | None]


class Pointer(TypedDict):
    """How the pointer moved: median speed (pixels a second), path over distance, clicks, pauses before a click."""

    speed: NotRequired[float | None]
    detour: NotRequired[float | None]
    clicks: NotRequired[int | None]
    pause_ms: NotRequired[int | None]


class Timings(TypedDict):
    """When things happened in a session, ms; counted from its first page."""

    first_input_ms: NotRequired[int | None]
    form_ms: NotRequired[int | None]
    idle_ms: NotRequired[int | None]
    last_input_before_pay_ms: NotRequired[int | None]


class Touch(TypedDict):
    """How a screen was touched: taps, swipes, median of how long a tap lasts and how much that varies."""

    taps: NotRequired[int | None]
    swipes: NotRequired[int | None]
    hold_ms: NotRequired[int | None]
    hold_spread: NotRequired[float | None]


class Typing(TypedDict):
    """How keys were pressed: medians of how long a key is held and of the time between two, and how much they vary
    (interquartile range over median).
    """

    hold_ms: NotRequired[int | None]
    flight_ms: NotRequired[int | None]
    hold_spread: NotRequired[float | None]
    flight_spread: NotRequired[float | None]
    corrections: NotRequired[int | None]


class SessionSummary(TypedDict):
    """One session folded into numbers; its beacons are not events.

    `journey` are the names of its steps in order, yours to choose; `pasted` the fields that were pasted into or filled
    by the browser; `tells` the signs of automation that were seen: nothing seen is an empty list, not looked at null.
    """

    id: NotRequired[str | None]
    duration_ms: NotRequired[int | None]
    pages: NotRequired[int | None]
    key_presses: NotRequired[int | None]
    pointer_moves: NotRequired[int | None]
    pastes: NotRequired[int | None]
    journey: NotRequired[Sequence[str] | None]
    timings: NotRequired[Timings | None]
    typing: NotRequired[Typing | None]
    pointer: NotRequired[Pointer | None]
    touch: NotRequired[Touch | None]
    pasted: NotRequired[Sequence[str] | None]
    device: NotRequired[DeviceTraits | None]
    tells: NotRequired[
        Sequence[
            Literal["emulator", "headless", "no_focus", "patched", "untrusted_input", "virtual_machine", "webdriver"]
        ]
        | None
    ]


class KycStep(TypedDict):
    """A step of identity verification ended."""

    type: Literal["kyc_step"]
    event_id: NotRequired[str]
    occurred_at: NotRequired[dt.datetime | str]
    sent_at: NotRequired[dt.datetime | str | None]
    received_at: NotRequired[dt.datetime | str | None]
    version: NotRequired[Literal[1]]
    customer: Customer
    device: NotRequired[Device | None]
    session: NotRequired[SessionSummary | None]
    ip: NotRequired[str | None]
    custom: NotRequired[dict[str, str | int | float | bool | None]]
    step: str
    result: Literal["failed", "passed", "pending"]


class Label(TypedDict):
    """An analyst's or importer's word; the last label logged before a decision counts."""

    type: Literal["label"]
    event_id: NotRequired[str]
    occurred_at: NotRequired[dt.datetime | str]
    sent_at: NotRequired[dt.datetime | str | None]
    received_at: NotRequired[dt.datetime | str | None]
    version: NotRequired[Literal[1]]
    payment_id: str
    fraud: bool
    source: NotRequired[str]


class Login(TypedDict):
    """A login was tried."""

    type: Literal["login"]
    event_id: NotRequired[str]
    occurred_at: NotRequired[dt.datetime | str]
    sent_at: NotRequired[dt.datetime | str | None]
    received_at: NotRequired[dt.datetime | str | None]
    version: NotRequired[Literal[1]]
    customer: Customer
    device: NotRequired[Device | None]
    session: NotRequired[SessionSummary | None]
    ip: NotRequired[str | None]
    custom: NotRequired[dict[str, str | int | float | bool | None]]
    ok: NotRequired[bool]


class Bank(TypedDict):
    """A bank account, by a fingerprint the merchant makes."""

    kind: Literal["bank"]
    fingerprint: str
    country: NotRequired[str | None]


class Card(TypedDict):
    """A card by its fingerprint, never by its number."""

    kind: Literal["card"]
    fingerprint: str
    bin: NotRequired[str | None]
    last4: NotRequired[str | None]
    holder: NotRequired[str | None]
    expiry: NotRequired[str | None]
    issuer_country: NotRequired[str | None]


class CryptoAddress(TypedDict):
    """Payment from a crypto address."""

    kind: Literal["crypto_address"]
    asset: str
    address: str


class CryptoPurchase(TypedDict):
    """A crypto asset; the quantity is a decimal string."""

    kind: Literal["crypto"]
    sku: NotRequired[str]
    name: NotRequired[str]
    quantity: NotRequired[int]
    unit_amount_minor: NotRequired[int | None]
    asset: NotRequired[str]
    asset_quantity: NotRequired[str]
    address: NotRequired[str | None]


class GameCurrency(TypedDict):
    """Coins, gems, season passes of one title."""

    kind: Literal["game_currency"]
    sku: NotRequired[str]
    name: NotRequired[str]
    quantity: NotRequired[int]
    unit_amount_minor: NotRequired[int | None]
    title: NotRequired[str]
    region: NotRequired[str]


class GiftCard(TypedDict):
    """A stored-value code of one brand."""

    kind: Literal["gift_card"]
    sku: NotRequired[str]
    name: NotRequired[str]
    quantity: NotRequired[int]
    unit_amount_minor: NotRequired[int | None]
    brand: NotRequired[str]
    face_value_minor: NotRequired[int | None]
    recipient_email: NotRequired[str | None]


class OtherItem(TypedDict):
    """Anything else."""

    kind: Literal["other"]
    sku: NotRequired[str]
    name: NotRequired[str]
    quantity: NotRequired[int]
    unit_amount_minor: NotRequired[int | None]
    category: NotRequired[str]


class Payee(TypedDict):
    """Who receives the goods, where it is not the payer."""

    id: str
    kind: NotRequired[str]


class PrepaidTopUp(TypedDict):
    """Credit on a phone line or a prepaid account."""

    kind: Literal["prepaid_top_up"]
    sku: NotRequired[str]
    name: NotRequired[str]
    quantity: NotRequired[int]
    unit_amount_minor: NotRequired[int | None]
    operator: NotRequired[str]
    phone: NotRequired[str | None]


class Wallet(TypedDict):
    """A wallet such as Apple Pay or PayPal."""

    kind: Literal["wallet"]
    provider: str
    account: str


class Payment(TypedDict):
    """A payment to decide on. `captured` is known for history only; live payments send a ``capture`` event later."""

    type: Literal["payment"]
    event_id: NotRequired[str]
    occurred_at: NotRequired[dt.datetime | str]
    sent_at: NotRequired[dt.datetime | str | None]
    received_at: NotRequired[dt.datetime | str | None]
    version: NotRequired[Literal[1]]
    payment_id: str
    amount_minor: int
    currency: str
    checkpoint: NotRequired[Literal["post_auth", "pre_auth", "rescore"]]
    cart: NotRequired[Sequence[GameCurrency | GiftCard | PrepaidTopUp | CryptoPurchase | OtherItem]]
    method: NotRequired[Card | Wallet | Bank | CryptoAddress | None]
    customer: NotRequired[Customer | None]
    device: NotRequired[Device | None]
    session: NotRequired[SessionSummary | None]
    ip: NotRequired[str | None]
    billing: NotRequired[Address | None]
    payee: NotRequired[Payee | None]
    custom: NotRequired[dict[str, str | int | float | bool | None]]
    captured: NotRequired[bool | None]


class ProfileChange(TypedDict):
    """E-mail, phone, password or address changed."""

    type: Literal["profile_change"]
    event_id: NotRequired[str]
    occurred_at: NotRequired[dt.datetime | str]
    sent_at: NotRequired[dt.datetime | str | None]
    received_at: NotRequired[dt.datetime | str | None]
    version: NotRequired[Literal[1]]
    customer: Customer
    device: NotRequired[Device | None]
    session: NotRequired[SessionSummary | None]
    ip: NotRequired[str | None]
    custom: NotRequired[dict[str, str | int | float | bool | None]]
    changed: NotRequired[Sequence[str]]


class Refund(TypedDict):
    """Money went back; velocity stays."""

    type: Literal["refund"]
    event_id: NotRequired[str]
    occurred_at: NotRequired[dt.datetime | str]
    sent_at: NotRequired[dt.datetime | str | None]
    received_at: NotRequired[dt.datetime | str | None]
    version: NotRequired[Literal[1]]
    payment_id: str
    amount_minor: NotRequired[int | None]


class ReviewResult(TypedDict):
    """What a person did with a payment that was to be reviewed. It is no word on fraud: that is a ``label``."""

    type: Literal["review"]
    event_id: NotRequired[str]
    occurred_at: NotRequired[dt.datetime | str]
    sent_at: NotRequired[dt.datetime | str | None]
    received_at: NotRequired[dt.datetime | str | None]
    version: NotRequired[Literal[1]]
    payment_id: str
    verdict: Literal["approve", "decline"]
    by: NotRequired[str]


class SessionClosed(TypedDict):
    """A session closed; `session` carries its summary. A payment that names its id gets it from here.

    A visitor who is not logged in has no account: `customer` may be left out.
    """

    type: Literal["session"]
    event_id: NotRequired[str]
    occurred_at: NotRequired[dt.datetime | str]
    sent_at: NotRequired[dt.datetime | str | None]
    received_at: NotRequired[dt.datetime | str | None]
    version: NotRequired[Literal[1]]
    customer: NotRequired[Customer | None]
    device: NotRequired[Device | None]
    session: NotRequired[SessionSummary | None]
    ip: NotRequired[str | None]
    custom: NotRequired[dict[str, str | int | float | bool | None]]


class SignUp(TypedDict):
    """An account was opened."""

    type: Literal["sign_up"]
    event_id: NotRequired[str]
    occurred_at: NotRequired[dt.datetime | str]
    sent_at: NotRequired[dt.datetime | str | None]
    received_at: NotRequired[dt.datetime | str | None]
    version: NotRequired[Literal[1]]
    customer: Customer
    device: NotRequired[Device | None]
    session: NotRequired[SessionSummary | None]
    ip: NotRequired[str | None]
    custom: NotRequired[dict[str, str | int | float | bool | None]]


class Void(TypedDict):
    """The authorisation was released without capture."""

    type: Literal["void"]
    event_id: NotRequired[str]
    occurred_at: NotRequired[dt.datetime | str]
    sent_at: NotRequired[dt.datetime | str | None]
    received_at: NotRequired[dt.datetime | str | None]
    version: NotRequired[Literal[1]]
    payment_id: str


Event: TypeAlias = (
    Payment
    | SignUp
    | Login
    | ProfileChange
    | KycStep
    | SessionClosed
    | AuthorisationResult
    | Capture
    | Void
    | Refund
    | EarlyFraudWarning
    | Chargeback
    | Label
    | ReviewResult
)


Outcome: TypeAlias = (
    AuthorisationResult | Capture | Void | Refund | EarlyFraudWarning | Chargeback | Label | ReviewResult
)


class DecisionRequest(TypedDict):
    """A payment to decide on. `captured` is known for history only; live payments send a ``capture`` event later."""

    type: NotRequired[Literal["payment"]]
    event_id: NotRequired[str]
    occurred_at: NotRequired[dt.datetime | str]
    sent_at: NotRequired[dt.datetime | str | None]
    received_at: NotRequired[dt.datetime | str | None]
    version: NotRequired[Literal[1]]
    payment_id: str
    amount_minor: int
    currency: str
    checkpoint: NotRequired[Literal["post_auth", "pre_auth", "rescore"]]
    cart: NotRequired[Sequence[GameCurrency | GiftCard | PrepaidTopUp | CryptoPurchase | OtherItem]]
    method: NotRequired[Card | Wallet | Bank | CryptoAddress | None]
    customer: NotRequired[Customer | None]
    device: NotRequired[Device | None]
    session: NotRequired[SessionSummary | None]
    ip: NotRequired[str | None]
    billing: NotRequired[Address | None]
    payee: NotRequired[Payee | None]
    custom: NotRequired[dict[str, str | int | float | bool | None]]
    captured: NotRequired[bool | None]


class Lookup(TypedDict):
    """Which decisions are wanted: those on payments with this `value`, in clear text; it is hashed and not kept.

    `before` is the ``next`` of an earlier answer: it continues where that one ended.
    """

    by: Literal["customer_id", "device_id", "email", "fingerprint", "ip", "payment_id"]
    value: str
    limit: NotRequired[int]
    before: NotRequired[int | None]

"""The wire schema: what a merchant tells us, typed and versioned.

Every event carries ``event_id`` (the retry key) and ``occurred_at`` (when it happened). ``received_at`` may be supplied
only with import, sandbox and simulation keys: the live clock is the writer's.

>>> decode_event(b'{"type":"login","event_id":"l1","occurred_at":"2026-01-01T00:00:00Z","customer":{"id":"a"}}').type
'login'
"""

from __future__ import annotations

import datetime as dt
import functools
import json
import re
import socket
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Final, Literal, TypeVar, get_args

import msgspec

from avalist.domain.cards import holds_card_number
from avalist.domain.errors import BadInput
from avalist.domain.expected import expected_at, no_such_field

UNSEEN = r"\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff"
"""Characters that no id may hold: control characters, what turns the direction of text, what has no width."""
ID_PATTERN = r"^[^\x00-\x1f\x7f]+$"
"""What the contract said of ids first. `UNSEEN` refuses more: see _check_ids."""
# Not a pattern of the type: it would cost more than all the rest of decoding.
Id = Annotated[str, msgspec.Meta(min_length=1, max_length=128, extra_json_schema={"pattern": ID_PATTERN})]
Text = Annotated[str, msgspec.Meta(max_length=512)]
ShortText = Annotated[str, msgspec.Meta(max_length=128)]
Currency = Annotated[str, msgspec.Meta(min_length=3, max_length=3, pattern=r"^[A-Z]{3}$")]
AmountMinor = Annotated[int, msgspec.Meta(ge=0, le=10**12)]
Quantity = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
DecimalText = Annotated[str, msgspec.Meta(max_length=64, pattern=r"^[0-9]+(\.[0-9]+)?$")]
Instant = Annotated[dt.datetime, msgspec.Meta(tz=True)]
Whole = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Millis = Annotated[int, msgspec.Meta(ge=0, le=10**10)]
Count = Annotated[int, msgspec.Meta(ge=0, le=10**7)]
Ratio = Annotated[float, msgspec.Meta(ge=0, le=1e6)]
Custom = dict[Annotated[str, msgspec.Meta(min_length=1, max_length=64)], Text | Whole | float | bool | None]

Checkpoint = Literal["pre_auth", "post_auth", "rescore"]
Verdict = Literal["approve", "decline"]


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    pass


# --- what a payment is made of -------------------------------------------------------------------------------------


class _Item(_Part, tag_field="kind", frozen=True, kw_only=True):
    sku: ShortText = ""
    name: Text = ""
    quantity: Quantity = 1
    unit_amount_minor: AmountMinor | None = None


class GameCurrency(_Item, tag="game_currency", frozen=True, kw_only=True):
    """Coins, gems, season passes of one title."""

    title: ShortText = ""
    region: ShortText = ""


class GiftCard(_Item, tag="gift_card", frozen=True, kw_only=True):
    """A stored-value code of one brand."""

    brand: ShortText = ""
    face_value_minor: AmountMinor | None = None
    recipient_email: Text | None = None


class PrepaidTopUp(_Item, tag="prepaid_top_up", frozen=True, kw_only=True):
    """Credit on a phone line or a prepaid account."""

    operator: ShortText = ""
    phone: ShortText | None = None


class CryptoPurchase(_Item, tag="crypto", frozen=True, kw_only=True):
    """A crypto asset; the quantity is a decimal string."""

    asset: ShortText = ""
    asset_quantity: DecimalText = "0"
    address: ShortText | None = None


class OtherItem(_Item, tag="other", frozen=True, kw_only=True):
    """Anything else."""

    category: ShortText = ""


CartItem = GameCurrency | GiftCard | PrepaidTopUp | CryptoPurchase | OtherItem


class Card(_Part, tag="card", tag_field="kind", frozen=True, kw_only=True):
    """A card by its fingerprint, never by its number."""

    fingerprint: Id
    bin: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{6,8}$")] | None = None
    last4: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{4}$")] | None = None
    holder: Text | None = None
    expiry: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{4}-[0-9]{2}$")] | None = None
    issuer_country: ShortText | None = None


class Wallet(_Part, tag="wallet", tag_field="kind", frozen=True, kw_only=True):
    """A wallet such as Apple Pay or PayPal."""

    provider: ShortText
    account: Id


class Bank(_Part, tag="bank", tag_field="kind", frozen=True, kw_only=True):
    """A bank account, by a fingerprint the merchant makes."""

    fingerprint: Id
    country: ShortText | None = None


class CryptoAddress(_Part, tag="crypto_address", tag_field="kind", frozen=True, kw_only=True):
    """Payment from a crypto address."""

    asset: ShortText
    address: Id


Method = Card | Wallet | Bank | CryptoAddress


class Address(_Part, frozen=True, kw_only=True):
    """A postal address; every part optional."""

    name: Text | None = None
    line1: Text | None = None
    line2: Text | None = None
    city: ShortText | None = None
    region: ShortText | None = None
    postcode: ShortText | None = None
    country: ShortText | None = None


class Customer(_Part, frozen=True, kw_only=True):
    """The account at the merchant. Without an `id` it is known by its e-mail address."""

    id: Id | None = None
    email: Text | None = None
    phone: ShortText | None = None
    name: Text | None = None
    created_at: Instant | None = None
    language: ShortText | None = None


class Device(_Part, frozen=True, kw_only=True):
    """What the browser or app says of itself."""

    id: Id | None = None
    user_agent: Text | None = None
    screen: ShortText | None = None
    timezone: ShortText | None = None
    language: ShortText | None = None


class Timings(_Part, frozen=True, kw_only=True):
    """When things happened in a session, ms; counted from its first page."""

    first_input_ms: Millis | None = None
    form_ms: Millis | None = None
    idle_ms: Millis | None = None
    last_input_before_pay_ms: Millis | None = None


class Typing(_Part, frozen=True, kw_only=True):
    """How keys were pressed: medians of how long a key is held and of the time between two, and how much they vary
    (interquartile range over median).
    """

    hold_ms: Millis | None = None
    flight_ms: Millis | None = None
    hold_spread: Ratio | None = None
    flight_spread: Ratio | None = None
    corrections: Count | None = None


class Pointer(_Part, frozen=True, kw_only=True):
    """How the pointer moved: median speed (pixels a second), path over distance, clicks, pauses before a click."""

    speed: Ratio | None = None
    detour: Ratio | None = None
    clicks: Count | None = None
    pause_ms: Millis | None = None


class Touch(_Part, frozen=True, kw_only=True):
    """How a screen was touched: taps, swipes, median of how long a tap lasts and how much that varies."""

    taps: Count | None = None
    swipes: Count | None = None
    hold_ms: Millis | None = None
    hold_spread: Ratio | None = None


class DeviceTraits(_Part, frozen=True, kw_only=True):
    """What the browser tells of its machine besides its agent; `renderer` and `fonts` are the merchant's own words or
    hashes.
    """

    cores: Count | None = None
    memory_mb: Count | None = None
    touch_points: Count | None = None
    renderer: ShortText | None = None
    fonts: ShortText | None = None


Step = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Tell = Literal["webdriver", "headless", "untrusted_input", "no_focus", "patched", "emulator", "virtual_machine"]


class SessionSummary(_Part, frozen=True, kw_only=True):
    """One session folded into numbers; its beacons are not events.

    `journey` are the names of its steps in order, yours to choose; `pasted` the fields that were pasted into or filled
    by the browser; `tells` the signs of automation that were seen: nothing seen is an empty list, not looked at null.
    """

    id: Id | None = None
    duration_ms: Millis | None = None
    pages: Annotated[int, msgspec.Meta(ge=0, le=10**6)] | None = None
    key_presses: Count | None = None
    pointer_moves: Count | None = None
    pastes: Annotated[int, msgspec.Meta(ge=0, le=10**6)] | None = None
    journey: Annotated[tuple[Step, ...], msgspec.Meta(max_length=64)] | None = None
    timings: Timings | None = None
    typing: Typing | None = None
    pointer: Pointer | None = None
    touch: Touch | None = None
    pasted: Annotated[tuple[Step, ...], msgspec.Meta(max_length=32)] | None = None
    device: DeviceTraits | None = None
    tells: Annotated[tuple[Tell, ...], msgspec.Meta(max_length=16)] | None = None


class Payee(_Part, frozen=True, kw_only=True):
    """Who receives the goods, where it is not the payer."""

    id: Id
    kind: ShortText = ""


# --- events ----------------------------------------------------------------------------------------------------


class Event(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    tag_field="type",
    gc=False,
):
    """What every event carries."""

    event_id: Id
    occurred_at: Instant
    sent_at: Instant | None = None
    received_at: Instant | None = None
    version: Literal[1] = 1

    @property
    def type(self) -> str:
        """Return the event's type as it stands on the wire."""
        return _TYPES[self.__class__]


class _CustomerEvent(Event, frozen=True, kw_only=True):
    customer: Customer
    device: Device | None = None
    session: SessionSummary | None = None
    ip: ShortText | None = None
    custom: Custom = {}


class Payment(Event, tag="payment", frozen=True, kw_only=True):
    """A payment to decide on. `captured` is known for history only; live payments send a ``capture`` event later."""

    payment_id: Id
    amount_minor: AmountMinor
    currency: Currency
    checkpoint: Checkpoint = "pre_auth"
    cart: Annotated[tuple[CartItem, ...], msgspec.Meta(max_length=200)] = ()
    method: Method | None = None
    customer: Customer | None = None
    device: Device | None = None
    session: SessionSummary | None = None
    ip: ShortText | None = None
    billing: Address | None = None
    payee: Payee | None = None
    custom: Custom = {}
    captured: bool | None = None


class SignUp(_CustomerEvent, tag="sign_up", frozen=True, kw_only=True):
    """An account was opened."""


class Login(_CustomerEvent, tag="login", frozen=True, kw_only=True):
    """A login was tried."""

    ok: bool = True


class ProfileChange(_CustomerEvent, tag="profile_change", frozen=True, kw_only=True):
    """E-mail, phone, password or address changed."""

    changed: Annotated[tuple[ShortText, ...], msgspec.Meta(max_length=32)] = ()


class KycStep(_CustomerEvent, tag="kyc_step", frozen=True, kw_only=True):
    """A step of identity verification ended."""

    step: ShortText
    result: Literal["passed", "failed", "pending"]


class SessionClosed(_CustomerEvent, tag="session", frozen=True, kw_only=True):
    """A session closed; `session` carries its summary. A payment that names its id gets it from here.

    A visitor who is not logged in has no account: `customer` may be left out.
    """

    customer: Customer | None = None  # type: ignore[assignment]


class OfPayment(Event, frozen=True, kw_only=True):
    """What is said of a payment that came before. To ask for this class costs a tenth of asking for each of a union."""

    payment_id: Id


class AuthorisationResult(OfPayment, tag="authorisation_result", frozen=True, kw_only=True):
    """What the issuer said."""

    approved: bool
    issuer_code: ShortText = ""
    avs: ShortText = ""
    cvv: ShortText = ""
    three_d_secure: Literal["none", "attempted", "authenticated", "failed", ""] = ""


class Capture(OfPayment, tag="capture", frozen=True, kw_only=True):
    """Money was taken: from now on the payment is a training row."""

    amount_minor: AmountMinor | None = None


class Void(OfPayment, tag="void", frozen=True, kw_only=True):
    """The authorisation was released without capture."""


class Refund(OfPayment, tag="refund", frozen=True, kw_only=True):
    """Money went back; velocity stays."""

    amount_minor: AmountMinor | None = None


class EarlyFraudWarning(OfPayment, tag="early_fraud_warning", frozen=True, kw_only=True):
    """A scheme fraud report (TC40, SAFE): a fraud label."""

    scheme: ShortText = ""
    reason_code: ShortText = ""


class Chargeback(OfPayment, tag="chargeback", frozen=True, kw_only=True):
    """A step in a chargeback's life. ``opened`` with `fraud` is a fraud label."""

    stage: Literal["opened", "represented", "won", "lost", "withdrawn"] = "opened"
    fraud: bool = True
    reason_code: ShortText = ""
    amount_minor: AmountMinor | None = None


class Label(OfPayment, tag="label", frozen=True, kw_only=True):
    """An analyst's or importer's word; the last label logged before a decision counts."""

    fraud: bool
    source: ShortText = "analyst"


class ReviewResult(OfPayment, tag="review", frozen=True, kw_only=True):
    """What a person did with a payment that was to be reviewed. It is no word on fraud: that is a ``label``."""

    verdict: Verdict
    by: ShortText = ""


IMPUTED: Final = "imputed"
"""Source of a label whose time was drawn from the declared delay law."""

IdentityEvent = SignUp | Login | ProfileChange | KycStep | SessionClosed
OutcomeEvent = AuthorisationResult | Capture | Void | Refund | EarlyFraudWarning | Chargeback | Label | ReviewResult
OtherEvent = IdentityEvent | OutcomeEvent
WireEvent = Payment | OtherEvent

_TYPES: Final = {kind: str(kind.__struct_config__.tag) for kind in get_args(WireEvent)}

E = TypeVar("E", bound=WireEvent)

_ANY: msgspec.json.Decoder[WireEvent] = msgspec.json.Decoder(WireEvent)
_PAYMENT = msgspec.json.Decoder(Payment)
_SESSION = msgspec.json.Decoder(SessionClosed)
_UNSEEN = re.compile(f"[{UNSEEN}]")

UNDECODABLE = (ValueError, RecursionError)
"""What decoders raise: ``msgspec.DecodeError`` and ``UnicodeDecodeError`` are ``ValueError`` too."""
_SHOWN, _LONGEST = 300, 400
_MALFORMED: Final = ("JSON is malformed", "Input data was truncated")
_JSON: Final = "one JSON value in UTF-8"
_NAMED = re.compile(r"(missing required|unknown) field `(.*)`", re.DOTALL)
_EARLIEST, _LATEST = dt.datetime(1970, 1, 1, tzinfo=dt.UTC), dt.datetime(2100, 1, 1, tzinfo=dt.UTC)


def decode_event(body: bytes) -> WireEvent:
    """Decode one event from JSON.

    Raises
    ------
    BadInput
        Naming the field, what was expected and what came.
    """
    return _decoded(_ANY, body)


def decode_many(bodies: Sequence[bytes]) -> list[WireEvent]:
    """Decode events, each of one line, as :func:`decode_event` does one: many cost half as much. Raises as it does, of
    the first that is bad.
    """
    joined = b"\n".join(bodies)
    if joined.isascii() and b"\\" not in joined and b"\x7f" not in joined and _is_one_a_line(joined, len(bodies)):
        try:
            events = _ANY.decode_lines(joined)
        except UNDECODABLE:
            events = []
        if len(events) == len(bodies) and _look_sound(events):
            return events
    return list(map(decode_event, bodies))


def _is_one_a_line(joined: bytes, lines: int) -> bool:
    """Tell whether objects end where lines do: what stands between lines can stand within no object."""
    return joined[:1] == b"{" and joined[-1:] == b"}" and joined.count(b"}\n{") == lines - 1


def _look_sound(events: list[WireEvent]) -> bool:
    """Tell whether no event has a time or an address that may have to be refused."""
    times = [event.occurred_at for event in events]
    times += [at for event in events if (at := event.received_at) is not None]
    times += [at for event in events if (at := event.sent_at) is not None]
    customers = [customer for event in events if (customer := getattr(event, "customer", None)) is not None]
    times += [at for customer in customers if (at := customer.created_at) is not None]
    years = {at.year for at in times}
    ips = {ip for event in events if (ip := getattr(event, "ip", None))}
    return min(years) > 1970 and max(years) < 2099 and all(map(is_ip, ips))


def decode_again(bodies: Iterable[bytes]) -> list[WireEvent]:
    """Decode events that :func:`decode_event` took before, each of one line: what it checked holds."""
    return _ANY.decode_lines(b"\n".join(bodies))


def decode_payment(body: bytes) -> Payment:
    """Decode a payment; its ``type`` may be left out. Raises as :func:`decode_event`."""
    return _decoded(_PAYMENT, body)


def decode_session(body: bytes) -> SessionClosed:
    """Decode a session that names its id; its ``type`` may be left out. Raises as :func:`decode_event`."""
    event = _decoded(_SESSION, body)
    if event.session is None or event.session.id is None:
        raise BadInput(
            "a session is found by its id",
            field="$.session.id",
            expected="the id that its payments name",
            got="nothing",
        )
    return event


def _decoded(decoder: msgspec.json.Decoder[E], body: bytes) -> E:
    try:
        event = decoder.decode(body)
    except UNDECODABLE as error:
        raise bad_body(error, body, decoder.type) from None
    if b"\\" in body or b"\x7f" in body or not body.isascii():  # nothing else could write such a character
        _check_ids(event, "$")
    check_times(event)
    _check_ip(event)
    return event


def decode_any(body: bytes) -> object:
    """Decode JSON of no type. Raises as :func:`decode_event`."""
    try:
        return msgspec.json.decode(body)
    except UNDECODABLE as error:
        raise bad_body(error) from None


def _check_ids(part: msgspec.Struct, path: str) -> None:
    """Raise ``BadInput`` for an unseen character in an id, or in another field of one pattern: ``$`` lets one pass."""
    for name in part.__struct_fields__:
        value, at = getattr(part, name), f"{path}.{name}"
        if isinstance(value, msgspec.Struct):
            _check_ids(value, at)
        elif isinstance(value, tuple):
            for place, inner in enumerate(value):
                if isinstance(inner, msgspec.Struct):
                    _check_ids(inner, f"{at}[{place}]")
        elif isinstance(value, str) and _UNSEEN.search(value) and name in _patterned(type(part)):
            expected = "no control characters, and none that turn text or cannot be seen"
            raise BadInput("an unseen character stands in an id", field=at, expected=expected, got=ascii(value)[:32])


@functools.cache
def _patterned(kind: type[msgspec.Struct]) -> frozenset[str]:
    """Return the fields whose type has a pattern. Reading types is slow and leaves cycles: once a type."""
    found = set()
    for field in msgspec.structs.fields(kind):
        for option in (field.type, *get_args(field.type)):
            metas = getattr(option, "__metadata__", ())
            if any(isinstance(m, msgspec.Meta) and (m.pattern or m.extra_json_schema) for m in metas):
                found.add(field.name)
    return frozenset(found)


def _check_ip(event: WireEvent) -> None:
    """Raise ``BadInput`` for an IP that is none: a made-up one would be followed as an entity."""
    ip: str | None = getattr(event, "ip", None)
    if ip and not is_ip(ip):
        expected = "IPv4 or IPv6, such as 8.8.4.4 or 2001:db8::1"
        raise BadInput("not an IP address", field="$.ip", expected=expected, got=ascii(ip)[:64])


def is_ip(text: str) -> bool:
    """Tell whether a text is an IP address, in the notation of its standard.

    >>> is_ip("8.8.4.4"), is_ip("2001:db8::1"), is_ip("8.8.4.4:80"), is_ip("abc")
    (True, True, False, False)
    """
    return is_address(socket.AF_INET, text) or is_address(socket.AF_INET6, text)


def is_address(family: socket.AddressFamily, text: str) -> bool:
    """Tell whether a text is an address of a family, in the notation of its standard."""
    try:
        socket.inet_pton(family, text)
    except (OSError, ValueError):
        return False
    return True


def check_times(event: WireEvent) -> None:
    """Raise ``BadInput`` for a time outside the years 1970 to 2099: a default of some clock, not a time."""
    _check_time("$.occurred_at", event.occurred_at)
    if event.sent_at is not None:
        _check_time("$.sent_at", event.sent_at)
    if event.received_at is not None:
        _check_time("$.received_at", event.received_at)
    customer: Customer | None = getattr(event, "customer", None)
    if customer is not None and customer.created_at is not None:
        _check_time("$.customer.created_at", customer.created_at)


def _check_time(field: str, at: dt.datetime) -> None:
    if not 1970 < at.year < 2099 and not _EARLIEST <= at < _LATEST:  # two times of any zones compare slowly
        raise BadInput("a time is out of range", field=field, expected="the years 1970 to 2099", got=at.isoformat())


def bad_body(error: Exception, body: bytes = b"", kind: Any = None) -> BadInput:
    """Turn a decoder's error into one that names the field and what was expected there.

    `body`, where given, tells which key of ``custom`` it is, and `kind`, the type wanted, which choices there are.

    >>> import msgspec
    >>> bad_body(msgspec.ValidationError("Expected `int`, got `str` - at `$.amount_minor`")).field
    '$.amount_minor'
    """
    if not isinstance(error, msgspec.DecodeError):
        nested = isinstance(error, RecursionError)
        return BadInput(
            "the body is nested too deeply" if nested else "the body is not valid UTF-8 JSON", field="$", expected=_JSON
        )
    message, _, path = str(error).rpartition(" - at ") if " - at " in str(error) else (str(error), "", "")
    field = path[path.find("$") :].strip("`") or "$"
    named = _NAMED.search(message)
    said = "" if named else expected_at(kind, field, message)
    expected, _, got = message.removeprefix("Expected ").partition(", got ")
    if named:
        near = no_such_field(kind, field, named[2][:_SHOWN])
        expected, got = ("a value", "nothing") if named[1] != "unknown" else (near, "an unknown field")
        field = f"{field}.{named[2]}"
    elif field == "$.custom[...]":
        field = _in_custom(body) or field
    if holds_card_number(f"{message[:_LONGEST]} {field[:_LONGEST]}"):  # it names an unknown field or choice
        message, field = "something does not belong there", path[path.find("$") :].strip("`") or "$"
        expected = got = ""
    where = "" if field == "$" or named else f" - at `{field[:_SHOWN]}`"
    return BadInput(
        f"{message[:_SHOWN]}{where}",
        field=field[:_SHOWN],
        expected=said
        or (_JSON if message.startswith(_MALFORMED) else "")
        or (expected[:_SHOWN].replace("`", "") if named or message.startswith("Expected ") else ""),
        got=got[:_SHOWN].strip("`"),
    )


def _in_custom(body: bytes) -> str:
    """Return the path of the first value of ``custom`` that does not fit, or nothing."""
    try:
        custom = json.loads(body)["custom"].items()
    except (*UNDECODABLE, LookupError, AttributeError, TypeError):
        return ""
    for name, value in custom:
        try:
            msgspec.convert({name: value}, Custom)
        except msgspec.ValidationError:
            return f"$.custom.{name}"
    return ""


def known_at(event: WireEvent) -> dt.datetime:
    """Return when an event of the past was known: on arrival, or else when it happened."""
    return event.received_at or event.occurred_at


def to_ms(instant: dt.datetime) -> int:
    """Return milliseconds since 1970, exactly.

    >>> to_ms(dt.datetime(1970, 1, 2, tzinfo=dt.UTC))
    86400000
    """
    delta = instant - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1000 + delta.microseconds // 1000


def from_ms(ms: int) -> dt.datetime:
    """Return the instant `ms` milliseconds after 1970, in UTC."""
    return _EPOCH + dt.timedelta(milliseconds=ms)


_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

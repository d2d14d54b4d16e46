"""Intake, facts, shapes, seals: from a clear event to keys and numbers that hold nothing clear."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import given
from hypothesis import strategies as st

from avalist.domain.errors import BadInput
from avalist.domain.facts import OF_TABLES
from avalist.domain.records import FoldKind
from avalist.domain.row import CAPTURED_DELTA, KIND, MISSING, OCCURRED, VALUES, keys_at, unpack_row
from avalist.domain.schema import DIGITAL_GOODS, CategoryDecl, EntityDecl, Schema
from avalist.enrich.facts import identity_facts, payment_facts
from avalist.enrich.intake import Intake
from avalist.enrich.patterns import PATTERNS
from avalist.enrich.seal import seal, seal_all, unseal
from avalist.enrich.shapes import device_class, email_domain, email_shape, network_of, normal_email
from avalist.enrich.sources import Sources, is_of_identity, is_text
from avalist.enrich.tables import Tables
from tests.shop import DAY_MS, SCHEMA, T0_MS, event, iso, payment
from tests.tables import contents

SECRET = b"s" * 32


def row(**changes: Any) -> tuple[int, ...]:
    return unpack_row(Intake(SCHEMA, SECRET).payment(payment(**changes))[0])


# --- the fold row --------------------------------------------------------------------------------------------------


def test_a_payments_row() -> None:
    words = row(custom={"lat": 52.5}, billing={"country": "DE"})
    assert (words[KIND], words[CAPTURED_DELTA], words[OCCURRED], words[VALUES]) == (FoldKind.PAYMENT, 0, T0_MS, 2500)
    assert words[VALUES + 1] == 52_500
    assert len(set(words[VALUES + 2 :])) == 4


def test_what_is_absent_is_missing_or_0() -> None:
    words = row(ip=None, customer=None, method=None)
    assert words[VALUES + 1 :] == (MISSING, 0, 0, 0, 0)


@pytest.mark.parametrize("ip", ["192.0.2.7", "192.0.2.250"])
def test_addresses_of_a_network_share_its_key(ip: str) -> None:
    assert row(ip=ip)[VALUES + 4] == row()[VALUES + 4] != row(ip="192.0.3.7")[VALUES + 4]


@pytest.mark.parametrize(
    ("customer", "known_as"), [({"email": "Ann@x.io"}, "Ann@x.io"), ({"id": "a", "email": "b@x.io"}, "a")]
)
def test_an_account_without_an_id_is_known_by_its_address(customer: dict[str, str], known_as: str) -> None:
    asked, login = row(customer=customer), event("login", "l", customer=customer)
    assert asked[VALUES + 2] == Intake(SCHEMA, SECRET).key(known_as)
    known, _ = Intake(SCHEMA, SECRET).identity(login)  # type: ignore[arg-type]
    assert unpack_row(known)[VALUES + 2] == asked[VALUES + 2]


@pytest.mark.parametrize(
    ("told", "receiver"),
    [
        ({"payee": {"id": "bob"}, "cart": [{"kind": "crypto", "address": "bc1q"}]}, "bob"),
        ({"cart": [{"kind": "game_currency"}, {"kind": "crypto", "asset": "BTC", "address": "bc1q"}]}, "bc1q"),
        ({"cart": [{"kind": "prepaid_top_up", "phone": "+4917"}]}, "+4917"),
        ({"cart": [{"kind": "gift_card", "recipient_email": "B.Ob@gmail.com"}]}, "bob@gmail.com"),
        ({"cart": [{"kind": "gift_card"}]}, None),
    ],
)
def test_the_receiver_is_the_payee_or_where_the_cart_is_sent(told: dict[str, Any], receiver: str | None) -> None:
    event = payment(**told)
    assert Sources(["receiver"]).payment(event, payment_facts(event, SCHEMA)) == [receiver]


WHOLE = {
    "customer": {"id": "a", "email": "a.b@x.io", "name": "A B", "phone": "+43", "language": "de", "created_at": iso(0)},
    "device": {"id": "d", "user_agent": "Mozilla/5.0 (iPhone)", "screen": "1x1", "timezone": "Europe/Vienna"},
    "session": {"id": "s", "duration_ms": 5, "tells": ["headless"], "journey": ["home"]},
    "ip": "8.8.4.4", "custom": {"terminal": "t"},
}  # fmt: skip
KEYS = [
    *PATTERNS, *filter(is_text, sorted(OF_TABLES)), "customer.id", "customer.phone", "device.id", "ip", "ip24", "email",
    "email_domain", "email_shape", "device_class", "device_shape", "session.id", "session_state", "bin", "receiver",
    "method.fingerprint", "method_kind", "payee.kind", "product", "item_kind", "currency", "items", "billing.country",
    "billing_country", "issuer_country", "custom.terminal", "wave.evidence",
]  # fmt: skip


def test_what_identity_events_cannot_give_is_not_looked_for() -> None:
    login = event("login", "l", **WHOLE)
    given = Sources(KEYS).identity(login, identity_facts(login, Tables(contents())))  # type: ignore[arg-type]
    assert not [source for source, value in zip(KEYS, given, strict=True) if value and not is_of_identity(source)]


def test_a_key_of_an_identity_event_stands_where_a_payments_does() -> None:
    schema = Schema(
        base_currency="EUR", entities=tuple(EntityDecl(f"e{n}", source) for n, source in enumerate(KEYS)),
        categories=(CategoryDecl("bin", "bin"), CategoryDecl("domain", "email_domain")),
    )  # fmt: skip
    intake, login = Intake(schema, SECRET), event("login", "l", **WHOLE)
    packed, facts = intake.identity(login)  # type: ignore[arg-type]
    given = Sources([*KEYS, "bin", "email_domain"]).identity(login, facts)  # type: ignore[arg-type]
    assert [*unpack_row(packed)[keys_at(schema) :]] == [0 if one in (None, "") else intake.key(one) for one in given]
    assert facts.categories == {"domain": "x.io"}


def test_an_account_that_has_neither_is_none() -> None:
    assert row(customer={"phone": "5"})[VALUES + 2] == 0


def test_capture_is_as_declared_unless_the_payment_says() -> None:
    assumed = Intake(msgspec.structs.replace(SCHEMA, capture="assumed"), SECRET)
    told = [unpack_row(assumed.payment(payment(captured=c))[0])[CAPTURED_DELTA] for c in (None, True, False)]
    assert told == [1, 1, 0]
    assert row(captured=True)[CAPTURED_DELTA] == 1


@pytest.mark.parametrize(("ok", "kind"), [(True, FoldKind.LOGIN_OK), (False, FoldKind.LOGIN_FAILED)])
def test_a_logins_row(ok: bool, kind: FoldKind) -> None:
    packed, facts = Intake(SCHEMA, SECRET).identity(event("login", "l", customer={"id": "ann"}, ok=ok, ip="192.0.2.9"))  # type: ignore[arg-type]
    words = unpack_row(packed)
    assert (words[KIND], words[VALUES]) == (kind, MISSING)
    assert words[VALUES + 2] == row()[VALUES + 2]
    assert facts.email_domain == ""


@pytest.mark.parametrize(
    "method",
    [
        {"kind": "wallet", "provider": "paypal", "account": "X"},
        {"kind": "bank", "fingerprint": "X"},
        {"kind": "crypto_address", "asset": "BTC", "address": "X"},
        {"kind": "card", "fingerprint": "X"},
    ],
)
def test_every_method_has_an_instrument(method: dict[str, Any]) -> None:
    assert row(method=method)[VALUES + 3] == Intake(SCHEMA, SECRET).key("X")


@pytest.mark.parametrize("value", ["north", 1e300, -1e300, 10**9 + 1, -(10**9) - 0.001, 4.6e15])
def test_what_is_no_number_of_a_possible_size_is_refused(value: object) -> None:
    with pytest.raises(BadInput) as refused:
        row(custom={"lat": value})
    assert refused.value.field == "number lat"


@pytest.mark.parametrize("value", [10**9, -(10**9), 1e9])
def test_the_largest_numbers_are_taken(value: float) -> None:
    assert row(custom={"lat": value})[VALUES + 1] == value * 1000


def test_numbers_and_keys_that_callers_did_not_send_are_named() -> None:
    _, facts = Intake(SCHEMA, SECRET).payment(payment(custom={"lat": 0, "terminal": ""}))
    assert "custom.lat" not in facts.missing
    _, facts = Intake(SCHEMA, SECRET).payment(payment(custom={}))
    assert "custom.lat" in facts.missing


# --- keys ----------------------------------------------------------------------------------------------------------


@given(st.text(min_size=1, max_size=40), st.text(min_size=1, max_size=40))
def test_keys_are_words_that_tell_values_apart(a: str, b: str) -> None:
    intake = Intake(SCHEMA, SECRET)
    assert (intake.key(a) == intake.key(b)) == (a == b)
    assert intake.key(a) != 0
    assert -(2**63) <= intake.key(a) < 2**63


def test_another_secret_gives_other_keys() -> None:
    assert Intake(SCHEMA, SECRET).key("ann") != Intake(SCHEMA, b"t" * 32).key("ann")


def test_a_cached_key_is_the_key() -> None:
    intake = Intake(SCHEMA, SECRET)
    first = [intake.key(str(n)) for n in range(20_000)]
    assert [intake.key(str(n)) for n in range(20_000)] == first


@given(st.permutations([1, True, 1.0, "1", "True", 0, False, "", "0"]))
def test_a_key_does_not_depend_on_what_came_before(values: list[object]) -> None:
    declared = msgspec.structs.replace(SCHEMA, entities=(EntityDecl("e", "custom.x"),))
    used = Intake(declared, SECRET)
    for value in values:
        event = payment(custom={"x": value})
        assert used.payment(event) == Intake(declared, SECRET).payment(event)


@pytest.mark.parametrize("text", ["", "a\u0000b", "ümlaut", "😀", "x" * 128])
def test_any_text_may_be_an_entity(text: str) -> None:
    declared = msgspec.structs.replace(SCHEMA, entities=(EntityDecl("e", "custom.x"),))
    words = unpack_row(Intake(declared, SECRET).payment(payment(custom={"x": text}))[0])
    assert (words[VALUES + 2] == 0) == (text == "")


# --- facts ---------------------------------------------------------------------------------------------------------


def test_facts_name_the_main_item_and_hold_no_clear_name() -> None:
    cart = [
        {"kind": "gift_card", "brand": "big", "unit_amount_minor": 2000},
        {"kind": "game_currency", "sku": "gems", "unit_amount_minor": 900, "quantity": 3},
    ]
    facts = payment_facts(payment(cart=cart), SCHEMA)
    assert (facts.item_kind, facts.product, facts.items) == ("game_currency", "gems", 4)
    assert b"ann@" not in msgspec.json.encode(facts)


def test_the_amount_stands_in_the_base_currency_too() -> None:
    facts = payment_facts(payment(amount_minor=1000, currency="JPY"), SCHEMA)
    assert (facts.amount_minor, facts.amount_base_minor) == (1000, 600)


def test_an_amount_beyond_what_state_may_hold_is_refused() -> None:
    rich = msgspec.structs.replace(SCHEMA, rates={"KWD": 100.0})
    with pytest.raises(BadInput, match="too large"):
        payment_facts(payment(amount_minor=10**12, currency="KWD"), rich)


@pytest.mark.parametrize(("age_ms", "age_s"), [(90_000, 90), (0, 0), (-5_000, 0)])
def test_an_account_of_the_future_has_no_age(age_ms: int, age_s: int) -> None:
    customer = {"id": "ann", "created_at": iso(T0_MS - age_ms)}
    assert payment_facts(payment(customer=customer), SCHEMA).account_age_s == age_s


def test_the_default_schema_takes_a_bare_payment() -> None:
    bare = payment(customer=None, method=None, ip=None)
    words = unpack_row(Intake(DIGITAL_GOODS, SECRET).payment(bare)[0])
    assert words[VALUES] == 2500


# --- shapes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("anna.kuhn77@web.de", "mary.jane19@web.de", True),
        ("anna.kuhn77@web.de", "anna_kuhn77@web.de", False),
        ("anna77@web.de", "anna77@gmx.de", False),
        ("x9k2q@web.de", "a1b2c@web.de", True),
    ],
)
def test_shapes_collide_where_a_wave_does(one: str, other: str, alike: bool) -> None:
    assert (email_shape(one) == email_shape(other)) == alike


@given(st.text(max_size=60))
def test_shapes_take_any_text(text: str) -> None:
    for shape in (email_shape, email_domain, normal_email, device_class, network_of):
        assert isinstance(shape(text), str)
    assert network_of(text) == "" or "/" in network_of(text)


@pytest.mark.parametrize(
    ("one", "other"), [("J.Doe+x@gmail.com", "jdoe@googlemail.com"), (" A@b.de ", "a@b.de"), ("a+1@b.de", "a+2@b.de")]
)
def test_one_mailbox_has_one_normal_address(one: str, other: str) -> None:
    assert normal_email(one) == normal_email(other)


@pytest.mark.parametrize(
    ("ip", "network"),
    [
        ("10.1.2.3", "10.1.2.0/24"), ("2001:db8:1:2::3", "2001:db8:1::/48"), ("::ffff:10.1.2.3", "::/48"),
        ("10.1.2", ""), ("10.1.2.256", ""), ("010.1.2.3", ""), ("fe80::1%eth0", ""), ("", ""), ("1.2.3.4\x00", ""),
    ],
)  # fmt: skip
def test_networks(ip: str, network: str) -> None:
    assert network_of(ip) == network


@pytest.mark.parametrize(
    ("agent", "kind"),
    [
        ("Googlebot/2.1 (Android)", "bot"),
        ("iPad; Mobile", "tablet"),
        ("Android 15", "mobile"),
        ("X11; CrOS", "desktop"),
        ("", "other"),
    ],
)
def test_device_classes_from_the_surest_sign_on(agent: str, kind: str) -> None:
    assert device_class(agent) == kind


# --- seals ---------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=200), st.integers(0, 4 * 10**12), st.binary(max_size=20))
def test_a_seal_opens_in_its_month(clear: bytes, at_ms: int, name: bytes) -> None:
    sealed = seal(SECRET, at_ms, name, clear)
    assert unseal(SECRET, at_ms, sealed) == clear
    assert len(clear) < 4 or clear not in sealed


@pytest.mark.parametrize("months_later", [1, 12])
def test_another_month_or_merchant_does_not_open_it(months_later: int) -> None:
    sealed = seal(SECRET, T0_MS, b"n", b"clear")
    for secret, at_ms in ((SECRET, T0_MS + months_later * 31 * DAY_MS), (b"t" * 32, T0_MS)):
        with pytest.raises(InvalidTag):
            unseal(secret, at_ms, sealed)


def test_an_altered_seal_does_not_open() -> None:
    sealed = bytearray(seal(SECRET, T0_MS, b"n", b"clear"))
    for at in range(len(sealed)):
        sealed[at] ^= 1
        with pytest.raises(InvalidTag):
            unseal(SECRET, T0_MS, bytes(sealed))
        sealed[at] ^= 1


@given(st.lists(st.tuples(st.integers(0, 4 * 10**12), st.binary(max_size=9), st.binary(max_size=40)), max_size=9))
def test_many_are_sealed_as_each_is(parts: list[tuple[int, bytes, bytes]]) -> None:
    ats, names, clears = ([part[place] for part in parts] for place in range(3))
    assert seal_all(SECRET, ats, names, clears) == [seal(SECRET, *part) for part in parts]  # type: ignore[arg-type]


def test_another_name_gives_another_nonce() -> None:
    assert seal(SECRET, 0, b"a", b"clear")[:12] != seal(SECRET, 0, b"b", b"clear")[:12]

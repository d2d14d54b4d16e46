"""Reference tables: what they know, how they are kept, and that a decision sees them from their event on."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from avalist.adapters.memory.blobs import MemoryBlobs
from avalist.adapters.packages import archive_in, fetch, version_in
from avalist.app.administer import SetTables
from avalist.app.replay import replay
from avalist.app.tables import StoredTables
from avalist.bootstrap import open_tables
from avalist.domain.errors import ArtefactInvalid, BadInput, NotFound, Unavailable
from avalist.domain.facts import NO_TABLES, Facts
from avalist.domain.schema import EntityDecl, NumberDecl
from avalist.enrich.agents import agent_of
from avalist.enrich.facts import identity_facts, payment_facts
from avalist.enrich.packages import SOURCES, add, check_sum, shipped
from avalist.enrich.phones import parse
from avalist.enrich.tables import Contents, Tables, from_bytes, to_bytes, version_of
from tests.shop import SCHEMA, Shop, event, opened, payment
from tests.tables import COUNTRIES, archive, contents

TABLES = Tables(contents())
ROOT = Path(__file__).parents[2]


def facts(**changes: Any) -> Facts:
    return payment_facts(payment(**changes), SCHEMA, (), TABLES)


# --- what they know ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ip", "known"),
    [
        ("9.0.0.0", ("DE", "3320", "other")),
        ("9.0.255.255", ("DE", "3320", "other")),
        ("9.1.0.0", ("US", "64500", "hosting")),
        ("9.2.7.7", ("SE", "39351", "anonymiser")),
        ("1.0.0.255", ("AU", "13335", "hosting")),
        ("1.0.1.0", ("", "", "")),
        ("8.255.255.255", ("", "", "")),
        ("255.255.255.255", ("", "", "private")),
        ("10.1.2.3", ("", "", "private")),
        ("::1", ("", "", "private")),
        ("2a01:4f8:1::1", ("DE", "24940", "hosting")),
        ("2a01:4f8:ffff:ffff:ffff:ffff:ffff:ffff", ("DE", "24940", "hosting")),
        ("2a01:4f9::", ("", "", "")),
        ("::ffff:9.0.0.1", ("DE", "3320", "other")),
        ("9.0.0", ("", "", "")),
        ("nonsense", ("", "", "")),
    ],
)
def test_whose_an_address_is(ip: str, known: tuple[str, str, str]) -> None:
    assert TABLES.network(ip) == known


@pytest.mark.parametrize(
    ("domain", "kind"),
    [
        ("gmail.com", "free"), ("mailinator.com", "disposable"), ("in.mailinator.com", "disposable"),
        ("shop.example", "other"), ("", ""), ("com", "other"),
    ],
)  # fmt: skip
def test_what_an_email_domain_is(domain: str, kind: str) -> None:
    assert TABLES.email_class(domain) == kind


@pytest.mark.parametrize(
    ("phone", "told"),
    [
        ("+49 30 123456", ("DE", "fixed")), ("0049 (151) 123", ("DE", "mobile")), ("+33-6-12", ("FR", "mobile")),
        ("+1-212-555-0100", ("US", "fixed_or_mobile")), ("+1 204 234 5678", ("CA", "fixed_or_mobile")),
        ("+1 900 234 5678", ("US", "premium")), ("+1 441 370 1234", ("BM", "mobile")), ("+7 701 123", ("KZ", "mobile")),
        ("+44 1481 256789", ("GG", "fixed")), ("+44 56 1234 5678", ("GB", "voip")), ("+979 123456789", ("", "premium")),
        ("+800 1234 5678", ("", "toll_free")), ("+351 21", ("PT", "fixed")), ("+49", ("DE", "")), ("030 123", ("", "")),
        ("+999", ("", "")), ("call me", ("", "")), ("+\u0664\u0669 30", ("", "")), ("", ("", "")),
    ],
)  # fmt: skip
def test_what_a_phone_number_begins_with(phone: str, told: tuple[str, str]) -> None:
    assert TABLES.phone(phone) == told


def test_no_more_of_a_phone_number_is_kept_than_tells_its_line() -> None:
    tables = Tables(contents())
    tables.phone("+49 151 2345 6789")
    tables.phone("+49 151 2345 0000")
    assert tables._phone.cache_info().currsize == 1


def test_tables_of_before_know_calling_codes() -> None:
    old = Tables(msgspec.structs.replace(contents(), calling_codes={"1": "US", "49": "DE"}))
    assert [old.phone(n) for n in ("+1 204 234 5678", "+49 151 1")] == [("US", ""), ("DE", "")]


@pytest.mark.parametrize("pattern", ["(?=1)2", "[12", "1+", "(?:1", "1)", "x"])
def test_a_numbering_plan_of_another_dialect_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=re.escape(pattern)):
        parse(pattern)


@pytest.mark.parametrize(
    ("agent", "says"),
    [
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Safari/604",
            ("browser", "safari", "ios"),
        ),
        ("Mozilla/5.0 (Linux; Android 9; Redmi Go) Chrome/140 Safari/537", ("browser", "chrome", "android")),
        ("Mozilla/5.0 (Linux; Android 15; SM-S911B; wv) Version/4.0 Chrome/140", ("webview", "chrome", "android")),
        ("Mozilla/5.0 (X11; Linux x86_64) HeadlessChrome/140.0", ("automation", "chrome", "linux")),
        ("Mozilla/5.0 (compatible; bingbot/2.0)", ("bot", "", "")),
        ("Go-http-client/1.1", ("library", "", "")),
        ("okhttp/4.12", ("app", "", "android")),
        ("7", ("other", "", "")),
        ("", ("other", "", "")),
    ],
)
def test_what_a_user_agent_says(agent: str, says: tuple[str, str, str]) -> None:
    assert agent_of(agent) == says


def test_how_countries_agree() -> None:
    places = TABLES.places("DE", "DE", "us", "Asia/Calcutta", "de-AT,de;q=0.9", "")
    assert places[:4] == ("IN", "AT", "00123-", 4)
    assert (places.ip_issuer_km, places.ip_billing_km, places.ip_timezone_km) == (0, 6317, 7037)


@pytest.mark.parametrize("billing", ["Germany", "", "X1", "D"])
def test_a_country_that_is_none_is_missing(billing: str) -> None:
    assert TABLES.places("DE", "", billing, "Mars/Phobos", "en", "").shape == "0-----"


def test_distances_are_the_same_both_ways_and_none_to_oneself() -> None:
    made = contents()
    km = np.frombuffer(made.distances_km, "<u2").reshape(len(made.placed), -1)
    assert (km == km.T).all()
    assert not km.diagonal().any()
    assert km.max() < 20_040


def test_how_far_a_phone_is_from_the_rest() -> None:
    places = TABLES.places("DE", "US", "IN", "", "", "DE")
    assert (places.phone_ip_km, places.phone_billing_km, places.phone_issuer_km) == (0, 7037, 6317)
    assert TABLES.places("DE", "US", "IN", "", "", "")[-3:] == (None, None, None)


# --- facts ---------------------------------------------------------------------------------------------------------


def test_facts_of_a_payment() -> None:
    device = {"user_agent": "curl/8.0", "timezone": "Europe/Vienna", "language": "de-CH"}
    card = {"kind": "card", "fingerprint": "f", "bin": "555555", "issuer_country": "US"}
    found = facts(ip="9.1.2.3", device=device, method=card, customer={"id": "a", "email": "a@yopmail.com"})
    assert found.tables_version == TABLES.version > NO_TABLES
    assert (found.ip_country, found.asn, found.ip_class, found.card_brand) == ("US", "64500", "hosting", "mastercard")
    assert (found.email_class, found.agent_class, found.timezone_country) == ("disposable", "library", "AT")
    assert (found.country_shape, found.countries, found.ip_issuer_km) == ("00-12-", 3, 0)


def test_facts_of_a_login() -> None:
    login = event("login", "l", customer={"id": "a", "language": "pt-BR"}, ip="9.0.0.1")
    found = identity_facts(login, TABLES)  # type: ignore[arg-type]
    assert (found.ip_country, found.language_country, found.country_shape) == ("DE", "BR", "0---1-")


def test_a_payment_with_nothing_has_no_facts_of_tables() -> None:
    bare = facts(ip=None, customer=None, method=None)
    names = Facts.__struct_fields__[Facts.__struct_fields__.index("ip_country") :]
    assert {getattr(bare, name) for name in names} == {"", None}


def test_a_domain_too_long_to_be_one_is_looked_up_by_its_end() -> None:
    assert facts(customer={"id": "a", "email": f"a@{'x.' * 200}mailinator.com"}).email_class == "disposable"


def test_without_tables_facts_are_as_before() -> None:
    found = payment_facts(payment(ip="9.0.0.1"), SCHEMA)
    assert (found.tables_version, found.ip_country, found.email_class, found.card_brand) == (NO_TABLES, "", "", "")


# --- keeping them --------------------------------------------------------------------------------------------------


def test_tables_at_rest_are_the_same_under_the_same_number() -> None:
    made = contents()
    assert from_bytes(to_bytes(made)) == made
    assert version_of(from_bytes(to_bytes(made))) == version_of(made) != version_of(shipped())


@pytest.mark.parametrize("data", [b"", b"\x00" * 40, to_bytes(Contents())[:-3], b"\x08" + b"\x00" * 7 + b"nonsense"])
def test_damaged_tables_are_refused(data: bytes) -> None:
    with pytest.raises(ArtefactInvalid):
        from_bytes(data)


def test_a_package_of_another_shape_changes_nothing() -> None:
    with pytest.raises(BadInput, match="does not read"):
        add(contents(), COUNTRIES, "0", archive("other", []))


def test_an_archive_that_is_not_the_one_is_refused() -> None:
    with pytest.raises(BadInput, match="not the one"):
        check_sum(COUNTRIES, COUNTRIES.version, b"another")
    check_sum(COUNTRIES, "another version", b"another")


def test_stored_tables() -> None:
    said: list[str] = []
    stored = StoredTables(MemoryBlobs(), said.append)
    assert (stored.current(), stored.load(NO_TABLES), stored.versions()) == (NO_TABLES, None, [])
    version = stored.put(contents())
    loaded = stored.load(version)
    assert loaded is not None
    assert (loaded.version, stored.current(), stored.versions(), said) == (version, version, [version], [])
    assert stored.load(version) is loaded


def test_tables_that_are_missing_are_told_and_facts_go_without() -> None:
    said: list[str] = []
    assert StoredTables(MemoryBlobs(), said.append).load(77) is None
    assert "tables 77 cannot be had" in said[0]


def test_tables_under_a_wrong_number_are_damaged() -> None:
    blobs = MemoryBlobs()
    blobs.put("_", "tables/77", to_bytes(contents()))
    with pytest.raises(ArtefactInvalid, match="77"):
        StoredTables(blobs).stage(77)


def test_old_tables_leave_memory() -> None:
    stored = StoredTables(MemoryBlobs())
    for asn in ("64501", "64502", "64503", "64504"):
        stored.load(stored.put(contents(("9.9.0.0/16", "FR", asn, "A Telco"))))
    assert len(stored._held) == 4


# --- in force ------------------------------------------------------------------------------------------------------


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with opened(tmp_path) as shop:
        shop.create(schema=msgspec.structs.replace(SCHEMA, entities=(*SCHEMA.entities, EntityDecl("asn", "asn"))))
        yield shop


def put_in_force(shop: Shop, *more: tuple[str, str, str, str]) -> int:
    version = open_tables(shop.installation.blobs).put(contents(*more))
    shop.installation.administration.set_tables(SetTables(version), shop.clock.ms)
    return version


def seen(shop: Shop, n: int) -> Facts:
    core, _ = shop.writer.lookup("shop", f"p{n}", "pre_auth")
    assert core.facts is not None
    return core.facts


def test_a_swap_counts_from_its_event_and_changes_nothing_before(shop: Shop) -> None:
    shop.decide(1, ip="9.9.0.1")
    first = put_in_force(shop)
    shop.decide(2, ip="9.9.0.1")
    before = seen(shop, 2)
    second = put_in_force(shop, ("9.9.0.0/16", "FR", "64501", "A Telco"))
    shop.decide(3, ip="9.9.0.1")
    assert [seen(shop, n).tables_version for n in (1, 2, 3)] == [NO_TABLES, first, second]
    assert [seen(shop, n).asn for n in (1, 2, 3)] == ["", "", "64501"]
    assert seen(shop, 2) == before
    replay(shop.installation.log, shop.installation.load_model).check()


def test_an_entity_of_the_tables_is_followed(shop: Shop) -> None:
    put_in_force(shop)
    for n in (1, 2):
        shop.decide(n, ip=f"9.1.{n}.1", customer={"id": f"c{n}"})
    assert shop.features(2)["asn__count__events__10m"] == 1


def test_tables_in_force_survive_a_start_and_new_merchants_get_them(tmp_path: Path) -> None:
    with opened(tmp_path) as shop:
        version = put_in_force(shop)
        shop.create("early")
    with opened(tmp_path) as again:
        again.create("late")
        for merchant in ("early", "late"):
            answer = again.decide(1, merchant, ip="9.0.0.1")
            assert answer.core.facts is not None
            assert (answer.core.facts.tables_version, answer.core.facts.ip_country) == (version, "DE")


def test_a_sandbox_twin_has_its_owners_tables(shop: Shop) -> None:
    version = put_in_force(shop)
    shop.key("shop", "sandbox")
    assert shop.writer.merchant("shop~1").tables_version == version


def test_tables_that_are_not_stored_are_not_put_in_force(shop: Shop) -> None:
    with pytest.raises(NotFound, match="intel update"):
        shop.installation.administration.set_tables(SetTables(77), shop.clock.ms)
    assert shop.writer.merchant("shop").tables_version == NO_TABLES


def test_the_same_tables_again_are_no_news(shop: Shop) -> None:
    version = put_in_force(shop)
    answer = shop.installation.administration.set_tables(SetTables(version), shop.clock.ms)
    assert (answer.tables_version, answer.changed) == (version, 0)


def test_a_number_of_the_tables_may_be_declared(shop: Shop) -> None:
    shop.create("far", msgspec.structs.replace(SCHEMA, numbers=(NumberDecl("km", "ip_billing_km"),)))
    put_in_force(shop)
    shop.decide(1, "far", ip="9.0.0.1", billing={"country": "US"})
    assert shop.features(1, merchant="far")["km"] == 6317


# --- packages and licences -------------------------------------------------------------------------------------------


def test_every_package_is_named_with_its_licence() -> None:
    notice, page = (ROOT / "NOTICE").read_text(), (ROOT / "docs/reference/tables.md").read_text()
    for source in SOURCES:
        assert f"`{source.name}`" in page
        assert source.licence in {"MIT", "Apache-2.0", "CC-BY-4.0", "CC0-1.0"}
        for text in (notice, page):
            assert source.attribution in " ".join(text.split()), source.name
    for package in shipped().packages:
        assert re.search(rf"^{re.escape(package.name)} .*{re.escape(package.licence)}", notice, re.MULTILINE)


def test_what_is_shipped_is_what_the_sources_say() -> None:
    ours = {one.name: (one.version, one.sha256) for one in shipped().packages}
    assert ours == {one.name: (one.version, one.sha256) for one in SOURCES if one.shipped}


def test_archives_are_known_by_their_names(tmp_path: Path) -> None:
    for name in ("ip-location-db-asn-2.3.9.tgz", "ip-location-db-asn-country-2.3.1.tgz"):
        (tmp_path / name).touch()
    found = [archive_in(tmp_path, source) for source in SOURCES]
    assert [version_in(one, source) for one, source in zip(found, SOURCES, strict=True) if one] == ["2.3.1", "2.3.9"]


def test_a_tool_that_is_missing_or_fails_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(Unavailable, match="npm is not here"):
        fetch(SOURCES[0], "1")
    failed = subprocess.CompletedProcess([], 1, "", "no such version")
    monkeypatch.setattr(subprocess, "run", lambda *args, **options: failed)
    with pytest.raises(Unavailable, match="no such version"):
        fetch(SOURCES[2], "1")

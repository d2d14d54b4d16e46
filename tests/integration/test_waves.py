"""Waves through the service: decisions are told, replay and snapshots agree, the analyst's list names the payments."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from avalist.api.metrics import EmbeddedMetrics
from avalist.app.followed import Followed, tell
from avalist.app.followed import told as told_by
from avalist.app.replay import replay
from avalist.app.waves import ALERTS, Alert, Wave, waves_of
from avalist.bootstrap import open_webhooks
from avalist.cli import app
from avalist.domain.decisions import WarningCode
from avalist.domain.events import Payment
from avalist.domain.schema import EntityDecl, NumberDecl
from avalist.render.html import page as html_page
from avalist.render.markdown import page as markdown_page
from avalist.render.waves import waves_page
from tests.gateway import Gateway
from tests.shop import DAY_MS, SCHEMA, T0_MS, Shop, iso, opened, payment

AGENT = "Mozilla/5.0 (X11; Linux x86_64) Chrome/143.0"
WATCHED = msgspec.structs.replace(
    SCHEMA,
    entities=(*SCHEMA.entities, EntityDecl("device_pattern", "pattern.device")),
    numbers=(
        *SCHEMA.numbers,
        NumberDecl("wave_evidence", "wave.evidence"),
        NumberDecl("wave_alarms", "wave.alarms"),
    ),
)
USUAL, WAVE = 1_500, 12


def live(shop: Shop) -> list[tuple[WarningCode, ...]]:
    """Live three days of strangers and then a wave of one machine; return the wave's warnings."""
    shop.create(schema=WATCHED)
    for n in range(USUAL):
        shop.record(_by(n, T0_MS + n * 3 * DAY_MS // USUAL, f"{n % 97}x{n % 89}"))
    told = []
    for n in range(WAVE):
        shop.clock.ms = T0_MS + 3 * DAY_MS + n * 60_000
        answer = shop.writer.decide("shop", _by(USUAL + n, None, "1024x1"), shop.clock.ms)
        told.append(answer.decision.warnings)
    shop.installation.log.sync()
    return told


def _by(n: int, at_ms: int | None, screen: str) -> Payment:
    device = {"id": f"d{n}", "user_agent": AGENT, "screen": screen}
    changes = {"received_at": iso(at_ms), "occurred_at": iso(at_ms)} if at_ms else {}
    return payment(n, customer={"id": f"c{n}"}, device=device, **changes)


def test_a_webhook_is_told_of_a_wave(tmp_path: Path) -> None:
    with opened(tmp_path) as shop:
        shop.create(schema=WATCHED)
        here = shop.installation
        webhooks = open_webhooks(here.settings, here.documents)
        shop.clock.ms = T0_MS
        id = webhooks.add("shop", "https://shop.example/hooks", ["wave.alert"], T0_MS).webhook
        for n in range(USUAL):
            shop.record(_by(n, T0_MS + n * 3 * DAY_MS // USUAL, f"{n % 97}x{n % 89}"))
        for n in range(WAVE):
            shop.clock.ms = T0_MS + 3 * DAY_MS + n * 60_000
            shop.writer.decide("shop", _by(USUAL + n, None, "1024x1"), shop.clock.ms)
        here.log.sync()
        follower = shop.follower()
        while follower.behind_bytes:
            follower.advance()
        (sent,) = [msgspec.json.decode(one.message.body) for one in webhooks.waiting("shop", id)]
        (alert,) = [msgspec.json.decode(body, type=Alert) for _, body in here.documents.find("shop", ALERTS)]
    assert (sent["data"]["wave"], sent["data"]["words"]) == (alert.wave, alert.words)
    assert sent["data"]["payments"] == alert.payments > 1
    assert sent["data"]["event_id"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("waves")


@pytest.fixture(scope="module")
def told(folder: Path) -> list[tuple[WarningCode, ...]]:
    with opened(folder) as shop:
        return live(shop)


def found(folder: Path) -> list[Wave]:
    with opened(folder) as shop:
        return waves_of(shop.installation.log.read(), "shop")[1]


def test_a_decision_is_told_from_the_fifth_payment_on(told: list[tuple[WarningCode, ...]]) -> None:
    assert [WarningCode.WAVE in warnings for warnings in told].index(True) < 5
    assert all(WarningCode.WAVE in warnings for warnings in told[5:])


def test_it_is_a_column_too(told: object, folder: Path) -> None:
    with opened(folder) as shop:
        first, last = (shop.features(USUAL + n) for n in (0, WAVE - 1))
    assert first["wave_alarms"] == 0.0
    assert last["wave_alarms"] == 1.0
    assert last["wave_evidence"] > first["wave_evidence"] > 0.0


def test_replay_and_recovery_agree(told: object, folder: Path) -> None:
    with opened(folder) as shop:
        again = replay(shop.installation.log, shop.installation.load_model)
        again.check()
        assert again.decisions == WAVE
        assert again.digests["shop"] == shop.writer.merchant("shop").features.digest()


def test_the_digest_holds_it(told: object, folder: Path) -> None:
    with opened(folder) as shop:
        features = shop.writer.merchant("shop").features
        before = features.digest()
        assert features.watch is not None
        features.watch.words[2] += 1
        assert features.digest() != before


def test_a_snapshot_keeps_it(told: object, folder: Path) -> None:
    with opened(folder) as shop:
        follower = shop.follower()
        while follower.behind_bytes:
            follower.advance()
        follower.states.save()
        expected = shop.writer.merchant("shop").features.digest()
        assert follower.states.parity.merchants["shop"].different == 0
    with opened(folder) as shop:
        assert shop.writer.merchant("shop").features.digest() == expected


def test_the_list_names_every_payment_and_what_they_share(told: object, folder: Path) -> None:
    (wave,) = found(folder)
    assert [one.payment_id for one in wave.payments] == [f"p{USUAL + n}" for n in range(WAVE)]
    assert wave.shared[0].fact == "device_shape"
    assert wave.shared[0].share == 1.0
    assert wave.shared[0].usual < 0.01
    assert not wave.closed
    assert wave.patterns == ["device_pattern"]


def test_the_page_says_it_in_words(told: object, folder: Path) -> None:
    page = waves_page("shop", found(folder), "EUR")
    assert "12 payments of 300.00 EUR in 11 minutes" in markdown_page(page)
    assert "<svg" in html_page(page)
    assert f"p{USUAL}" in html_page(page)


def test_the_command(told: object, folder: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["waves", "shop", "--data", str(folder), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "goes on" in result.output
    assert (tmp_path / "out" / "waves.md").read_text().startswith("# Waves of shop")


def test_a_merchant_that_is_not_watched_is_told_so(tmp_path: Path) -> None:
    with opened(tmp_path) as shop:
        shop.create()
    result = CliRunner().invoke(app, ["waves", "shop", "--data", str(tmp_path)])
    assert "nothing is watched" in result.output


# --- as documents --------------------------------------------------------------------------------------------------


def kept(shop: Shop, *, after: int = 0) -> list[Alert]:
    """Let a new follower catch up, after `after` more payments of nobody's; return the alerts, newest first."""
    for n in range(after):
        shop.record(_by(9_000 + n, shop.clock.ms, f"{n}y"))
    shop.installation.log.sync()
    follower = shop.follower()
    while follower.behind_bytes:
        follower.advance()
    follower.states.save()
    found = shop.installation.documents.find("shop", ALERTS)
    return [msgspec.json.decode(body, type=Alert) for _, body in found]


def test_an_alert_says_in_words_what_a_wave_shares_and_closes_by_itself(tmp_path: Path) -> None:
    with opened(tmp_path) as shop:
        live(shop)
        (alert,) = kept(shop)
        assert (alert.type, alert.payments) == ("wave.opened", WAVE)
        assert "12 payments of 300.00 EUR" in alert.words
        assert "They share device" in alert.words
        assert {one.payment_id for one in alert.listed} == {f"p{USUAL + n}" for n in range(WAVE)}
        shop.clock.ms += DAY_MS
        closed, opened_ = kept(shop, after=1)
        assert (closed.type, opened_.type) == ("wave.closed", "wave.opened")
        assert closed.wave == opened_.wave
        assert "It is over." in closed.words


def test_another_follower_goes_on_where_the_last_one_was(tmp_path: Path) -> None:
    with opened(tmp_path) as shop:
        live(shop)
        kept(shop)
        shop.writer.decide("shop", _by(USUAL + WAVE, None, "1024x1"), shop.clock.ms)
        follower_s = kept(shop)
        assert [(one.type, one.payments) for one in follower_s] == [("wave.opened", WAVE + 1)]


def test_lost_documents_are_made_again_from_the_log(tmp_path: Path) -> None:
    with opened(tmp_path) as shop:
        live(shop)
        before = kept(shop)
    for file in tmp_path.glob("documents.sqlite*"):
        file.unlink()
    with opened(tmp_path) as shop:
        assert kept(shop) == before


def test_the_gateway_lists_alerts_of_the_caller_alone_and_counts_open_waves(gateway: Gateway) -> None:
    shop = gateway.shop
    alert = Alert(
        type="wave.opened", wave="p", at_ms=1, words="w", payments=1, amount_minor=1, currency="EUR", first_ms=0,
        last_ms=1, patterns=(), shared=(), listed=(),
    )  # fmt: skip
    rows = [(who, ALERTS, "wave.opened/p", msgspec.json.encode(alert)) for who in ("shop", "rival")]
    shop.installation.documents.put_many([rows[1]])
    assert gateway.get("/v1/alerts").json() == {"alerts": []}
    shop.installation.documents.put_many(rows)
    assert [one["wave"] for one in gateway.get("/v1/alerts?limit=1").json()["alerts"]] == ["p"]
    assert gateway.get("/v1/alerts?limit=0").status_code == 422
    tell(shop.installation.documents, Followed(at_ms=0, position=0, snapshot=0, waves_open=2))
    shop.installation.log.sync()
    metrics = EmbeddedMetrics()
    metrics.followed(told_by(shop.installation.documents), 1, 0)
    assert metrics.registry.get_sample_value("avalist_waves_open") == 2

"""What is made of the log is made again, equal to what the follower made day by day; what is not is left alone."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from avalist.app.administer import SetPolicy, SettleReview
from avalist.app.health import Health, keep, kept
from avalist.app.reviews import REVIEWS
from avalist.app.stored import DECISIONS
from avalist.app.waves import ALERTS, WAVES
from avalist.bootstrap import open_documents
from avalist.cli.documents import rebuild
from avalist.config import Settings
from avalist.follow.follower import Follower
from avalist.models.artefact import Artefact
from avalist.policy.economics import Policy, Review
from avalist.ports.documents import Documents
from tests.integration.test_waves import USUAL, WATCHED, WAVE, _by
from tests.shop import DAY_MS, T0_MS, Shop, opened

ALWAYS = Policy(review=Review(cost_minor=0, catches=1.0, passes=1.0, in_time=1.0))
MADE = (DECISIONS, REVIEWS, WAVES, ALERTS, "learning")


def caught_up(shop: Shop, follower: Follower) -> None:
    shop.installation.log.sync()
    while follower.behind_bytes:
        follower.advance()


def live(shop: Shop, artefact: Artefact) -> None:
    """Live two waves, the first of which ends, with reviews and a verdict; a follower takes each payment at once."""
    shop.create(schema=WATCHED)
    shop.activate(artefact)
    office, follower = shop.installation.administration, shop.follower()
    office.carry_out(SetPolicy("shop", msgspec.Raw(msgspec.json.encode(ALWAYS))), T0_MS)
    for n in range(USUAL):
        shop.record(_by(n, T0_MS + n * 3 * DAY_MS // USUAL, f"{n % 97}x{n % 89}"))
    for n in range(2 * WAVE):
        late = DAY_MS if n >= WAVE else 0
        shop.clock.ms = T0_MS + 3 * DAY_MS + late + n * 60_000
        shop.writer.decide("shop", _by(USUAL + n, None, f"1024x{1 + n // WAVE}"), shop.clock.ms)
        caught_up(shop, follower)
    office.carry_out(SettleReview("shop", f"p{USUAL}", "decline", "kim"), shop.clock.ms)
    caught_up(shop, follower)
    keep(shop.installation.documents, Health(merchant="shop", at_ms=1, days=7, payments=1, checks=1))
    shop.key()


def made(documents: Documents) -> dict[str, dict[str, object]]:
    """Return what is made of the log, each document decoded."""
    found = {name: documents.find("shop", name, limit=10_000) for name in MADE}
    return {name: {id: msgspec.json.decode(body) for id, body in rows} for name, rows in found.items()}


@pytest.mark.parametrize("snapshot", [True, False], ids=["behind a snapshot", "from the log alone"])
def test_a_rebuild_makes_what_the_follower_made(tmp_path: Path, artefact_of_watched: Artefact, snapshot: bool) -> None:
    with opened(tmp_path) as shop:
        live(shop, artefact_of_watched)
        before = made(shop.installation.documents)
        if snapshot:
            follower = shop.follower()
            caught_up(shop, follower)
            follower.states.save()
        for name in MADE[:-1]:
            shop.installation.documents.clear("shop", name)
        rows = [("shop", name, "forged", b"{}") for name in MADE[:-1]]
        shop.installation.documents.put_many([*rows, ("shop", "learning", "standing-1", b"{}")])
    rebuild(nobody_erased=True, data=tmp_path)
    documents = open_documents(Settings(data=tmp_path))
    assert {name: len(rows) for name, rows in before.items()} == dict(zip(MADE, (24, 24, 2, 3, 1), strict=True))
    assert made(documents) == before
    assert kept(documents, "shop") is not None
    documents.close()
    with opened(tmp_path) as shop:
        assert shop.installation.administration.keys


@pytest.fixture(scope="module")
def artefact_of_watched() -> Artefact:
    from tests.unit.test_explore import model_for

    return model_for(WATCHED)

"""Sessions: given with a payment, or joined with it by their id from the log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from avalist.app.replay import replay
from avalist.domain.decisions import WarningCode
from avalist.domain.errors import BadInput
from avalist.domain.events import SessionSummary, decode_session
from avalist.domain.facts import Facts
from avalist.domain.schema import NumberDecl
from avalist.enrich.sources import Sources, is_given
from tests.shop import SCHEMA, T0_MS, Shop, event, iso, opened, payment

TELLS = msgspec.structs.replace(
    SCHEMA,
    numbers=(
        *SCHEMA.numbers,
        NumberDecl("pages", "session.pages"),
        NumberDecl("flight_ms", "session.typing.flight_ms"),
        NumberDecl("session_tells", "session_tells"),
    ),
)
SUMMARY: dict[str, Any] = {"id": "s1", "pages": 3, "typing": {"flight_ms": 90}, "tells": ["webdriver"]}


@pytest.fixture
def game(shop: Shop) -> Shop:
    shop.create("game", TELLS)
    return shop


def decided(game: Shop, n: int, **changes: Any) -> tuple[Facts, tuple[WarningCode, ...], dict[str, float]]:
    answer = game.decide(n, "game", **changes)
    assert answer.core.facts is not None
    return answer.core.facts, answer.decision.warnings, game.features(n, merchant="game")


def close(game: Shop, id: str = "s1", n: int = 1, **changes: Any) -> None:
    game.record(event("session", f"closed-{n}", session={**SUMMARY, "id": id, **changes}), "game")


def test_a_session_of_nobody_is_joined_with_the_payment_that_names_it(game: Shop) -> None:
    close(game)
    facts, warnings, columns = decided(game, 1, session={"id": "s1"})
    assert (facts.session_state, facts.tells) == ("joined", ("webdriver",))
    assert (columns["pages"], columns["flight_ms"], columns["session_tells"]) == (3.0, 90.0, 1.0)
    assert WarningCode.SESSION_MISSING not in warnings


def test_what_a_payment_carries_itself_stands(game: Shop) -> None:
    close(game)
    facts, _, columns = decided(game, 1, session={"id": "s1", "pages": 9})
    assert (facts.session_state, columns["pages"]) == ("given", 9.0)


@pytest.mark.parametrize(("session", "state"), [({"id": "other"}, "not_found"), (None, "none")])
def test_missing_is_a_fact_with_its_own_code(game: Shop, session: Any, state: str) -> None:
    close(game)
    facts, warnings, columns = decided(game, 1, session=session)
    assert facts.session_state == state
    assert WarningCode.SESSION_MISSING in warnings
    assert columns["pages"] != columns["pages"]


def test_a_session_that_did_not_come_is_missing_once(shop: Shop) -> None:
    whole = msgspec.structs.replace(TELLS, numbers=(*TELLS.numbers, NumberDecl("keys", "session.key_presses")))
    shop.create("whole", whole)
    lacking = shop.decide(1, "whole", custom={"lat": 1}, billing={"country": "DE"}).decision
    assert lacking.missing == ("session",)
    assert WarningCode.FIELDS_MISSING not in lacking.warnings
    partly = shop.decide(2, "whole", session={"pages": 1}, custom={"lat": 1}, billing={"country": "DE"}).decision
    assert (partly.missing, WarningCode.FIELDS_MISSING in partly.warnings) == (("session.key_presses",), True)


def test_a_schema_without_sessions_misses_none(shop: Shop) -> None:
    assert WarningCode.SESSION_MISSING not in shop.decide(1).decision.warnings


def test_the_last_word_on_a_session_counts(game: Shop) -> None:
    close(game)
    close(game, n=2, pages=7)
    assert decided(game, 1, session={"id": "s1"})[2]["pages"] == 7.0


def test_a_session_that_comes_later_changes_nothing(game: Shop) -> None:
    decided(game, 1, session={"id": "s1"})
    close(game)
    assert game.decide(1, "game", session={"id": "s1"}).core.facts == decided(game, 1, session={"id": "s1"})[0]
    assert game.features(1, merchant="game")["pages"] != 3.0


def test_events_of_one_batch_find_each_other(game: Shop) -> None:
    both = [event("session", "c", session=SUMMARY), payment(1, session={"id": "s1"})]
    game.writer.record_many("game", both, T0_MS)
    game.writer.merchant("game").settle()
    assert decided(game, 2, session={"id": "s1"})[0].session_state == "joined"
    _, record = list(game.installation.log.read())[-3]
    assert b"joined" in record.core


def test_another_merchant_s_session_is_not_found(game: Shop) -> None:
    game.create("rival", TELLS)
    close(game)
    answer = game.decide(1, "rival", session={"id": "s1"})
    assert answer.core.facts is not None
    assert answer.core.facts.session_state == "not_found"


def test_after_a_restart_and_in_replay_it_is_the_same(tmp_path: Path) -> None:
    with opened(tmp_path) as shop:
        shop.create("game", TELLS)
        close(shop)
        follower = shop.follower()
        shop.installation.log.sync()
        while follower.behind_bytes:
            follower.advance()
        follower.states.save()
    with opened(tmp_path) as shop:
        assert decided(shop, 1, session={"id": "s1"})[0].session_state == "joined"
        again = replay(shop.installation.log, shop.installation.load_model)
        again.check()
        assert again.decisions == 1


def test_a_session_is_forgotten_after_some_days(game: Shop) -> None:
    close(game)
    for day in (3, 6):
        game.clock.ms = T0_MS + day * 86_400_000
        close(game, id=f"later-{day}", n=10 + day)
    assert decided(game, 1, session={"id": "s1"})[0].session_state == "not_found"


def test_a_session_without_an_id_is_refused_where_it_must_be_found() -> None:
    with pytest.raises(BadInput) as refused:
        decode_session(msgspec.json.encode({"event_id": "s", "occurred_at": iso(T0_MS), "session": {"pages": 1}}))
    assert refused.value.field == "$.session.id"


def test_details_are_sources_and_nothing_that_a_caller_must_send() -> None:
    sources = ["session.typing.flight_ms", "session.device.cores", "session_steps", "session.pages"]
    event_ = payment(1, session={**SUMMARY, "journey": ["home", "pay"], "device": {"cores": 8}})
    assert Sources(sources).payment(event_, Facts()) == [90, 8, 2, 3]
    assert Sources(sources).payment(payment(1, session={"id": "s"}), Facts()) == [None] * 4
    assert [is_given(source) for source in sources] == [False, False, False, True]


@pytest.mark.parametrize("source", ["session.typing", "session.journey", "session.typing.none", "session.tells"])
def test_what_holds_more_than_one_value_is_no_source(source: str) -> None:
    with pytest.raises(BadInput, match="no such source"):
        Sources([source])


def test_a_summary_knows_its_limits() -> None:
    with pytest.raises(msgspec.ValidationError, match="tells"):
        msgspec.json.decode(b'{"tells":["magic"]}', type=SessionSummary)

"""A shop on disk: closed, killed between two records, opened again, replayed (I1, I2, I5, I8)."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import msgspec
import numpy as np
import pytest

from avalist.app.administer import IssueKey, SetMode, SetPolicy
from avalist.app.replay import Replayed, replay
from avalist.app.writer import decode_decision
from avalist.bootstrap import Installation
from avalist.domain.decisions import Action, Mode
from avalist.domain.errors import (
    AvalistError,
    CardNumberRefused,
    DataFolderLocked,
    NotFound,
    ReplayMismatch,
)
from avalist.domain.events import decode_event
from avalist.domain.records import RecordKind
from avalist.models.artefact import Artefact
from avalist.models.score import Model
from tests.gateway import Gateway
from tests.shop import CARD_NUMBER, DAY_MS, T0_MS, FakeClock, Shop, event, iso, opened, payment


def drive(shop: Shop, artefact: Artefact, seed: int = 0) -> None:
    """Make two merchants live through everything that can happen to them."""
    rng = np.random.default_rng(seed)
    shop.create()
    shop.create("other")
    for n in range(120):
        shop.clock.ms += int(rng.integers(0, DAY_MS // 10))
        merchant = ("shop", "other")[int(rng.integers(2))]
        amount, card, customer = (int(x) for x in rng.integers(1, (90_000, 6, 4)))
        changes = {"amount_minor": amount, "method": {"kind": "card", "fingerprint": f"card-{card}"}}
        answer = shop.decide(n, merchant, customer={"id": f"customer-{customer}"}, **changes)
        happens(shop, merchant, n, int(rng.integers(8)), artefact)
        if n % 17 == 0:
            shop.writer.fallback(merchant, answer, shop.clock.ms, "deadline")


def happens(shop: Shop, merchant: str, n: int, what: int, artefact: Artefact) -> None:
    match what:
        case 0:
            shop.record(event("capture", f"c{n}", payment_id=f"p{n}"), merchant)
        case 1:
            shop.record(event("chargeback", f"cb{n}", payment_id=f"p{n}"), merchant)
        case 2:
            shop.record(event("login", f"l{n}", customer={"id": "customer-1"}, ok=False), merchant)
        case 3:
            shop.activate(artefact, merchant)
        case 4:
            modes: tuple[Mode, ...] = get_args(Mode)
            shop.installation.administration.carry_out(SetMode(merchant, modes[n % 3]), shop.clock.ms)
        case 5:
            policy = msgspec.Raw(b'{"margin":0.0%d}' % (n % 9))
            shop.installation.administration.carry_out(SetPolicy(merchant, policy), shop.clock.ms)
        case 6:
            shop.writer.answer_unscored(merchant, payment(f"over{n}"), shop.clock.ms)
        case _:
            shop.decide(f"r{n}", merchant, payment_id=f"p{n}", checkpoint="rescore")


def replayed(installation: Installation) -> Replayed:
    return replay(installation.log, installation.load_model)


def digests(shop: Shop) -> dict[str, str]:
    for merchant in shop.writer.merchants.values():
        merchant.settle()
    return {id: merchant.features.digest() for id, merchant in shop.writer.merchants.items()}


def standing(shop: Shop) -> list[object]:
    return [
        (m.id, m.seq, m.at_ms, m.mode, m.versions, m.fallbacks.dump().tolist()) for m in shop.writer.merchants.values()
    ]


# --- I2: replay and restart are the same fold ----------------------------------------------------------------------


def test_replay_makes_equal_decisions_and_equal_state(tmp_path: Path, artefact: Artefact) -> None:
    with opened(tmp_path) as shop:
        drive(shop, artefact)
        result = replayed(shop.installation)
        result.check()
        assert result.digests == digests(shop)
    assert result.decisions > 120


def test_a_restart_changes_nothing(tmp_path: Path, artefact: Artefact, clock: FakeClock) -> None:
    with opened(tmp_path, clock) as shop:
        drive(shop, artefact)
        before, stood = digests(shop), standing(shop)
    with opened(tmp_path, clock) as shop:
        assert (digests(shop), standing(shop)) == (before, stood)
        shop.decide("after")
        replayed(shop.installation).check()


def test_the_next_decision_does_not_depend_on_a_restart(tmp_path: Path, artefact: Artefact) -> None:
    answers = []
    for name in ("one", "two"):
        clock = FakeClock()
        with opened(tmp_path / name, clock) as shop:
            drive(shop, artefact)
            if name == "one":
                answers.append(shop.decide("last").decision)
        if name == "two":
            with opened(tmp_path / name, clock) as shop:
                answers.append(shop.decide("last").decision)
    assert answers[0] == answers[1]


def test_replay_sees_a_decision_that_was_altered(shop: Shop) -> None:
    answer = shop.decide(1)
    log = shop.installation.log
    *_, (_, record) = log.read()
    decided = decode_decision(record.core)
    forged = msgspec.structs.replace(decided.decision, action=Action.APPROVE)
    core = msgspec.msgpack.encode(msgspec.structs.replace(decided, decision=forged))
    log._records[answer.position] = msgspec.structs.replace(record, core=core)  # type: ignore[attr-defined]
    with pytest.raises(ReplayMismatch, match=r"1 of 1 .*payment p1: logged approve"):
        replayed(shop.installation).check()


def test_replay_leaves_decisions_of_another_engine_alone(shop: Shop) -> None:
    answer = shop.decide(1)
    log = shop.installation.log
    *_, (_, record) = log.read()
    decided = decode_decision(record.core)
    older = msgspec.structs.replace(decided.decision, engine=0, action=Action.APPROVE)
    core = msgspec.msgpack.encode(msgspec.structs.replace(decided, decision=older))
    log._records[answer.position] = msgspec.structs.replace(record, core=core)  # type: ignore[attr-defined]
    assert replayed(shop.installation).decisions == 0


def test_replay_of_one_merchant_leaves_the_others_out(tmp_path: Path, artefact: Artefact) -> None:
    with opened(tmp_path) as shop:
        drive(shop, artefact)
        result = replay(shop.installation.log, shop.installation.load_model, merchant="other")
        assert result.digests == {"other": digests(shop)["other"]}


# --- I5 across a restart -------------------------------------------------------------------------------------------


def test_a_retry_after_a_restart_gets_the_first_answer(tmp_path: Path) -> None:
    with opened(tmp_path) as shop:
        shop.create()
        first = shop.decide(1).decision
        fallen = shop.writer.fallback("shop", shop.decide(2), shop.clock.ms, "deadline")
        unscored = shop.writer.answer_unscored("shop", payment(3), shop.clock.ms)
    with opened(tmp_path) as shop:
        assert [shop.decide(n).decision for n in (1, 2, 3)] == [first, fallen, unscored]


def test_keys_survive_a_restart(tmp_path: Path) -> None:
    with opened(tmp_path) as shop:
        shop.create()
        key = shop.key()
    with opened(tmp_path) as shop:
        (held,) = shop.installation.administration.keys.values()
        assert held.merchant == "shop"
        assert key not in str(held)


# --- a crash between an event and its answer -----------------------------------------------------------------------


def torn(shop: Shop, keep: int) -> Installation:
    """Leave the first `keep` records in the memory log, and recover a new writer from it."""
    del shop.installation.log._records[keep:]  # type: ignore[attr-defined]
    shop.writer.__init__(shop.installation.log, shop.installation.load_model, shop.installation.secrets.merchant)  # type: ignore[misc]
    shop.writer.recover()
    return shop.installation


@pytest.mark.parametrize("known", [0, 3])
def test_an_event_torn_from_its_decision_is_decided_again_and_the_same(shop: Shop, known: int) -> None:
    for n in range(known):
        shop.decide(n)
    first = shop.decide(9)
    before = digests(shop)
    replayed(torn(shop, shop.installation.log.end - 1)).check()
    assert digests(shop) == before
    assert shop.decide(9).decision == first.decision


def test_an_event_torn_from_its_fallback_gets_an_answer(shop: Shop) -> None:
    shop.writer.answer_unscored("shop", payment(1), shop.clock.ms)
    torn(shop, shop.installation.log.end - 1)
    assert shop.decide(1).decision.degraded is False
    shop.decide(2)
    assert shop.features(2)["card__count__events__10m"] == 1


def test_history_at_the_end_of_the_log_is_not_decided(shop: Shop) -> None:
    shop.record(payment(1))
    torn(shop, shop.installation.log.end)
    assert [r.kind for _, r in shop.installation.log.read()] == [RecordKind.CONTROL, RecordKind.EVENT]


# --- I8: card numbers are nowhere ----------------------------------------------------------------------------------


def everything_under(folder: Path) -> Iterator[bytes]:
    for path in folder.rglob("*"):
        if path.is_file():
            yield path.read_bytes()


@pytest.mark.parametrize(
    "hidden",
    [
        {"custom": {"note": CARD_NUMBER}},
        {"custom": {CARD_NUMBER: "x"}},
        {"custom": {"n": int(CARD_NUMBER)}},
        {"custom": {"n": float(CARD_NUMBER)}},
        {"payment_id": CARD_NUMBER},
        {"event_id": f"order {CARD_NUMBER} 123"},
        {"method": {"kind": "card", "fingerprint": CARD_NUMBER}},
        {"cart": [{"kind": "other", "name": "4111-1111-1111-1111"}]},
        {"customer": {"id": "ann", "name": "4111 1111 1111 1111"}},
    ],
)
def test_a_card_number_is_nowhere_on_disk(
    tmp_path: Path, hidden: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    from avalist.api.routes.rest import _decode_batch

    caplog.set_level(logging.DEBUG)
    body = msgspec.json.encode({**msgspec.to_builtins(payment(1)), "type": "payment", **hidden})
    with opened(tmp_path) as shop:
        shop.create()
        with pytest.raises(CardNumberRefused) as refused:
            _decode_batch(body, decode_event)
    said = "".join((str(refused.value), refused.value.field, refused.value.got, caplog.text))
    for number in (CARD_NUMBER, "4111-1111-1111-1111", "4111 1111 1111 1111"):
        assert number not in said
        assert not any(number.encode() in data for data in everything_under(tmp_path))


def test_personal_data_is_sealed_on_disk(tmp_path: Path) -> None:
    with opened(tmp_path) as shop:
        shop.create()
        shop.decide(1, customer={"id": "customer-77", "email": "zoe.quark@example.com", "name": "Zoe Quark"})
        shop.follower().advance()
        shop.installation.log.sync()
    for clear in (b"zoe.quark", b"Zoe Quark", b"customer-77", b"192.0.2.7", b"card-1"):
        assert not any(clear in data for data in everything_under(tmp_path)), clear


# --- the follower --------------------------------------------------------------------------------------------------


def stored(shop: Shop, id: str) -> dict[str, object]:
    body = shop.installation.documents.get("shop", "decisions", id)
    return {} if body is None else msgspec.json.decode(body)


def test_the_follower_writes_what_is_durable_and_nothing_else(tmp_path: Path) -> None:
    with opened(tmp_path) as shop:
        shop.create()
        shop.decide(1)
        follower = shop.follower()
        assert (follower.advance(), stored(shop, "p1/pre_auth")) == (0, {})
        shop.installation.log.sync()
        assert (follower.advance(), follower.behind_bytes) == (2, 0)  # the decision, and a row of the vault
        document = stored(shop, "p1/pre_auth")
        assert document["decision"]["event_id"] == "e1"  # type: ignore[index]
        assert set(document["features"]) == set(shop.features(1))  # type: ignore[call-overload]


def test_a_new_follower_goes_on_where_the_last_one_stopped(tmp_path: Path, artefact: Artefact) -> None:
    with opened(tmp_path) as shop:
        drive(shop, artefact)
        log = shop.installation.log
        log.sync()
        written = shop.follower().advance()
        again = shop.follower()
        assert (again.advance(), again.position) == (0, log.durable_end)
        shop.decide("late")
        log.sync()
        assert (again.advance(), written > 120) == (2, True)


def test_the_document_of_a_payment_that_fell_back_is_the_fallback(tmp_path: Path) -> None:
    with opened(tmp_path) as shop:
        shop.create()
        shop.writer.fallback("shop", shop.decide(1), shop.clock.ms, "deadline")
        shop.installation.log.sync()
        shop.follower().advance()
        assert stored(shop, "p1/pre_auth")["decision"]["degraded"] is True  # type: ignore[index]


# --- the folder ----------------------------------------------------------------------------------------------------


def test_a_folder_has_one_owner(tmp_path: Path) -> None:
    with opened(tmp_path), pytest.raises(DataFolderLocked, match="belongs to the running process"), opened(tmp_path):
        pass
    with opened(tmp_path):
        pass


def test_an_administrator_cannot_forge_a_key_for_nobody(shop: Shop) -> None:
    with pytest.raises(Exception, match="no merchant 'nobody'"):
        shop.installation.administration.carry_out(IssueKey("nobody"), 0)


# --- what is let go (test_cycles.py has what decisions leave) ------------------------------------------------------


def test_refused_events_are_not_held(gateway: Gateway) -> None:
    nobody = {"type": "capture", "event_id": "c1", "occurred_at": iso(T0_MS), "payment_id": "nobody"}

    def ask() -> None:
        assert gateway.post("/v1/outcomes", nobody).status_code == 404
        assert gateway.decide("x", currency="XXX").status_code == 422

    ask()
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            ask()
        assert not [one for one in gc.get_objects() if isinstance(one, AvalistError) and "nobody" in str(one)]
    finally:
        gc.enable()


def test_mode_off_needs_no_model(shop: Shop, artefact: Artefact) -> None:
    shop.activate(artefact)
    shop.installation.administration.carry_out(SetMode("shop", "off"), shop.clock.ms)
    merchant = shop.writer.merchant("shop")
    merchant._model, merchant._load_model = None, lost
    assert shop.decide(1).decision.action == Action.NOT_REVIEWED


def lost(merchant: str, version: str) -> Model:
    raise NotFound("the blob is lost")

import ast
import hashlib
from collections import Counter, defaultdict
from importlib import resources
from pathlib import Path

import msgspec
import numpy as np
import pytest

from avalist import simulator
from avalist.domain.cards import find_card_number, refuse_card_numbers
from avalist.domain.events import (
    AuthorisationResult,
    Capture,
    Chargeback,
    EarlyFraudWarning,
    Event,
    Login,
    Payment,
    SignUp,
    WireEvent,
    decode_event,
)
from avalist.simulator import Attempt, WavePlan, World, history, play
from avalist.simulator.config import Vertical

VERTICALS: tuple[Vertical, ...] = ("games", "gift_cards", "crypto")
START_MS = World().start_ms


def small(vertical: Vertical = "gift_cards", seed: int = 5, extra: tuple[WavePlan, ...] = ()) -> World:
    return World(vertical=vertical, seed=seed, payments_per_day=400, extra_waves=extra)


def encoded(events: list[WireEvent]) -> bytes:
    return b"\n".join(map(msgspec.json.encode, events))


@pytest.fixture(scope="module")
def events() -> list[WireEvent]:
    """Five days of each vertical, with what comes late."""
    return [e for vertical in VERTICALS for e in history(small(vertical), 5, late=True)]


def test_the_same_seed_gives_the_same_bytes_and_another_gives_others() -> None:
    one, two, other = (encoded(list(history(small(seed=seed), 1))) for seed in (1, 1, 2))
    assert one == two != other


def test_a_shorter_run_is_a_prefix_of_a_longer_one() -> None:
    short, long = list(history(small(), 1.5)), list(history(small(), 3))
    assert short == long[: len(short)]
    assert long[len(short)].received_at >= short[-1].received_at  # type: ignore[operator]


def test_the_default_world_is_frozen() -> None:
    file = resources.files("avalist.simulator").joinpath("worlds/default-1.toml").read_bytes()
    day = encoded(list(history(World(seed=1), 1)))
    found = hashlib.sha256(file).hexdigest()[:16], hashlib.sha256(day).hexdigest()[:16]
    assert found == ("d405e31aaed6f86e", "d46d80fd5e159ed5"), "results name default-1: change it by adding default-2"


@pytest.mark.parametrize("vertical", VERTICALS)
def test_time_never_goes_back_and_no_id_comes_twice(vertical: Vertical) -> None:
    events = list(history(small(vertical), 3, late=True))
    times = [e.received_at for e in events]
    assert times == sorted(times, key=lambda at: (at is None, at))
    assert all(e.occurred_at == e.received_at for e in events)
    assert len({e.event_id for e in events}) == len(events)


def test_every_event_is_what_the_wire_accepts_and_holds_no_card_number(events: list[WireEvent]) -> None:
    for event in events[::2]:
        body = msgspec.json.encode(event)
        assert decode_event(body) == event
        assert find_card_number(body) < 0
        refuse_card_numbers(body, event)


def test_payments_carry_all_that_the_schema_follows(events: list[WireEvent]) -> None:
    payments = [e for e in events if isinstance(e, Payment)]
    assert len(payments) > 5000
    for p in payments:
        customer, device = p.customer, p.device
        assert p.checkpoint == "pre_auth"
        assert customer is not None
        assert device is not None
        assert customer.created_at is not None
        assert customer.created_at <= p.occurred_at
        assert all((customer.email, device.id, device.user_agent, p.ip, p.billing, p.method, p.cart))
    assert 0.94 < np.mean([p.session is not None for p in payments]) < 0.98
    assert len({p.ip.rpartition(".")[0] for p in payments if p.ip}) > 3000
    assert any(p.payee for p in payments)


def test_outcomes_follow_in_their_order(events: list[WireEvent]) -> None:
    told: dict[str, list[type[Event]]] = defaultdict(list)
    approved: dict[str, bool] = {}
    for event in events:
        if isinstance(event, AuthorisationResult):
            approved[event.payment_id] = event.approved
        if (payment_id := getattr(event, "payment_id", None)) is not None:
            told[payment_id].append(type(event))
    assert {tuple(story) for payment, story in told.items() if not approved[payment]} == {
        (Payment, AuthorisationResult)
    }
    captured = (Payment, AuthorisationResult, Capture)
    assert {tuple(story) for payment, story in told.items() if approved[payment]} == {
        captured,
        (*captured, EarlyFraudWarning),
        (*captured, Chargeback),
        (*captured, EarlyFraudWarning, Chargeback),
    }


def test_accounts_are_opened_before_they_are_used(events: list[WireEvent]) -> None:
    opened, used = set[str | None](), set[str | None]()
    for event in events:
        if isinstance(event, SignUp):
            assert event.customer.id not in used
            assert event.customer.created_at == event.occurred_at
            opened.add(event.customer.id)
        elif isinstance(event, Login | Payment) and event.customer:
            used.add(event.customer.id)
    assert len(opened) > 200
    assert opened <= used


def test_a_declined_payment_has_no_outcomes() -> None:
    asked: list[Attempt] = []

    def small_sums_only(attempt: Attempt) -> bool:
        asked.append(attempt)
        return attempt.payment.amount_minor < 3000

    events = list(play(small(), 3, small_sums_only, late=True))
    payments = {e.payment_id: e for e in events if isinstance(e, Payment)}
    assert [a.payment for a in asked] == list(payments.values())
    assert {e.payment_id for e in events if isinstance(e, AuthorisationResult)} == {
        i for i, p in payments.items() if p.amount_minor < 3000
    }
    assert list(payments.values()) == [e for e in history(small(), 3) if isinstance(e, Payment)]


def test_a_policy_is_asked_after_the_payment_was_handed_over() -> None:
    sent: list[str] = []
    for event in play(small(), 0.5, lambda attempt: sent[-1] == attempt.payment.event_id or pytest.fail("too early")):
        sent.append(event.event_id)  # noqa: PERF401  (the policy reads it meanwhile)
    assert len(sent) > 100


def test_what_is_due_after_the_end_is_left_out() -> None:
    kinds = Counter(e.type for e in history(small(), 3))
    late = Counter(e.type for e in history(small(), 3, late=True))
    assert kinds["chargeback"] + kinds["early_fraud_warning"] < late["chargeback"] + late["early_fraud_warning"]
    assert kinds["payment"] == late["payment"]


def test_an_extra_wave_comes_when_asked_and_changes_nothing_else() -> None:
    plan = WavePlan(start_ms=START_MS + 30 * 3_600_000, minutes=90, payments=120)
    plain, with_wave = list(history(small(), 3, late=True)), list(history(small(extra=(plan,)), 3, late=True))
    attempts = [a for b in small(extra=(plan,)).batches(3) for a in b.attempts if a.truth.wave_id == 1_000_000]
    times = [(a.payment.occurred_at.timestamp() * 1000 - plan.start_ms) / 60_000 for a in attempts]
    assert len(attempts) == 120
    assert 0 <= min(times) < 10 < 80 < max(times) <= 90
    rest = {e.event_id for e in plain}
    assert [e for e in with_wave if e.event_id in rest] == plain


def test_a_tiny_merchant_lives_too() -> None:
    attempts = [a for b in World(seed=2, payments_per_day=20).batches(40) for a in b.attempts]
    assert 600 < len(attempts) < 1000


def test_the_simulator_knows_the_domain_only() -> None:
    for path in Path(str(simulator.__file__)).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("avalist"):
                assert str(node.module).split(".")[1] in ("domain", "simulator"), path.name

"""Reviews: what waits for a person, the most telling first, within the day's capacity."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from avalist.adapters.memory.documents import MemoryDocuments
from avalist.app.administer import SetPolicy, SettleReview
from avalist.app.replay import replay
from avalist.app.reviews import REVIEWS, Queue, ReviewCase, queue
from avalist.domain.decisions import Action
from avalist.domain.errors import Conflict, NotFound
from avalist.models.artefact import Artefact
from avalist.policy.economics import Policy, Review
from tests.shop import DAY_MS, T0_MS, Shop

HOUR_MS = 3_600_000
ALWAYS = Policy(review=Review(cost_minor=0, catches=1.0, passes=1.0, in_time=1.0, capacity_per_day=2))
"""A look costs nothing and finds everything: whatever has a risk is reviewed."""


@pytest.fixture
def office(shop: Shop, artefact: Artefact) -> Shop:
    shop.activate(artefact)
    shop.installation.administration.carry_out(SetPolicy("shop", msgspec.Raw(msgspec.json.encode(ALWAYS))), 0)
    return shop


def ask(office: Shop, n: int, amount: int = 2500) -> Action:
    return office.decide(n, method={"kind": "card", "fingerprint": f"c{n}"}, amount_minor=amount).decision.action


def waiting(office: Shop, at_ms: int = 0) -> Queue:
    office.installation.log.sync()
    follower = office.follower()
    while follower.behind_bytes:
        follower.advance()
    return queue(office.installation.documents, "shop", at_ms or office.clock.ms, 2)


def settle(office: Shop, payment: str, verdict: Any = "approve") -> None:
    office.installation.administration.carry_out(SettleReview("shop", payment, verdict, "kim"), office.clock.ms)


def test_those_that_a_look_is_worth_most_are_first_and_the_rest_is_beyond_capacity(office: Shop) -> None:
    assert {ask(office, n, amount) for n, amount in enumerate((1_000, 50_000, 5_000))} == {Action.REVIEW}
    found = waiting(office).reviews
    assert [one.review.payment_id for one in found] == ["p1", "p2", "p0"]
    assert [one.state for one in found] == ["open", "open", "beyond_capacity"]
    values = [one.review.value_minor for one in found]
    assert values == sorted(values, reverse=True)
    assert found[0].review.deadline_ms == T0_MS + HOUR_MS
    assert found[0].review.default is Action.DECLINE


def test_a_verdict_is_an_event_and_leaves_the_queue(office: Shop) -> None:
    for n in range(3):
        ask(office, n)
    settle(office, "p1")
    found = waiting(office)
    assert [one.review.payment_id for one in found.reviews] == ["p0", "p2"]
    assert [one.state for one in found.reviews] == ["open", "beyond_capacity"]
    assert found.settled == 1
    stored = msgspec.json.decode(office.installation.documents.get("shop", REVIEWS, "p1") or b"", type=ReviewCase)
    assert (stored.verdict, stored.by, stored.settled_ms) == ("approve", "kim", T0_MS)


def test_it_is_settled_once(office: Shop) -> None:
    ask(office, 1)
    settle(office, "p1")
    with pytest.raises(Conflict, match="settled already"):
        settle(office, "p1", "decline")
    with pytest.raises(NotFound):
        settle(office, "nobody's")


def test_past_its_deadline_it_is_left_to_its_default(office: Shop) -> None:
    ask(office, 1)
    found = waiting(office, T0_MS + HOUR_MS + 1)
    assert (found.reviews, found.lapsed) == ((), 1)


def test_a_verdict_changes_no_features_and_replays(office: Shop) -> None:
    ask(office, 1)
    before = office.writer.merchant("shop").features.digest()
    settle(office, "p1")
    office.writer.merchant("shop").settle()
    assert office.writer.merchant("shop").features.digest() == before
    office.installation.log.sync()
    replay(office.installation.log, office.installation.load_model).check()


def test_after_a_restart_of_the_follower_the_queue_stands(office: Shop) -> None:
    ask(office, 1)
    waiting(office)
    settle(office, "p1", "decline")
    assert waiting(office).reviews == ()


def test_a_late_verdict_is_told_from_one_in_time() -> None:
    asked = ReviewCase(
        payment_id="p", seq=1, asked_ms=0, amount_minor=1, currency="EUR", value_minor=1, deadline_ms=100
    )
    states = [msgspec.structs.replace(asked, settled_ms=ms).state(DAY_MS) for ms in (100, 101)]
    assert [*states, asked.state(100), asked.state(101)] == ["settled", "late", "open", "lapsed"]


def test_without_a_review_in_the_policy_there_is_no_capacity() -> None:
    documents = MemoryDocuments()
    body = msgspec.json.encode(
        ReviewCase(payment_id="p", seq=1, asked_ms=0, amount_minor=1, currency="EUR", value_minor=1)
    )
    documents.put_many([("shop", REVIEWS, "p", body)])
    assert [one.state for one in queue(documents, "shop", 1, None).reviews] == ["open"]

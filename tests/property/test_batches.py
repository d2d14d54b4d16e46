"""Payments decided together are decided as one by one: answers, errors, features, state and log."""

from __future__ import annotations

from itertools import accumulate, pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avalist.app.writer import Answer, Asked
from avalist.domain.errors import AvalistError
from avalist.domain.events import Payment
from avalist.models.artefact import Artefact
from tests.shop import DAY_MS, T0_MS, Shop, iso, payment

_FEW = st.integers(0, 4)
PAYMENTS = st.builds(
    lambda n, of, checkpoint, card, amount, late_ms, currency: payment(
        n,
        payment_id=f"p{of}",
        checkpoint=checkpoint,
        amount_minor=amount,
        currency=currency,
        method={"kind": "card", "fingerprint": f"card-{card}"},
        received_at=None if late_ms is None else iso(T0_MS + late_ms),
    ),
    st.integers(0, 8), _FEW, st.sampled_from(["pre_auth", "pre_auth", "post_auth", "rescore"]), _FEW,
    st.sampled_from([100, 2500]), st.none() | st.integers(-5, 5), st.sampled_from(["EUR", "EUR", "EUR", "JPY", "XXX"]),
)  # fmt: skip


def one(shop: Shop, merchant: str, event: Payment) -> Answer | AvalistError:
    try:
        return shop.writer.decide(merchant, event, shop.clock.ms)
    except AvalistError as error:
        return error


def told(answer: Answer | AvalistError) -> object:
    """Return what an answer says, but for hashes under the merchant's own secret and places in the shared log."""
    if isinstance(answer, Answer):
        return answer.decision, answer.core.facts, answer.again
    return type(answer), str(answer)


@given(st.lists(PAYMENTS, max_size=24), st.lists(st.integers(1, 9), min_size=1), st.booleans())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_a_batch_is_decided_as_one_by_one(
    shop: Shop, artefact: Artefact, payments: list[Payment], sizes: list[int], scored: bool
) -> None:
    names = [f"{which}-{len(shop.writer.merchants)}" for which in ("alone", "together")]
    for name in names:
        shop.create(name)
        if scored:
            shop.activate(artefact, name)
    alone = [one(shop, names[0], event) for event in payments]
    cuts = [0, *accumulate(sizes), len(payments)]
    together = [
        answer
        for start, stop in pairwise(cuts)
        for answer in shop.writer.decide_many([Asked(names[1], e, shop.clock.ms) for e in payments[start:stop]])
    ][: len(payments)]
    assert list(map(told, together)) == list(map(told, alone))


DAYS = st.sampled_from([0, 0, 10, 20, 36, 75, 410, 900])


@given(st.lists(st.tuples(_FEW, _FEW, DAYS), min_size=2, max_size=24), st.lists(st.integers(2, 9), min_size=1))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_what_is_forgotten_in_a_batch_is_what_is_forgotten_one_by_one(
    shop: Shop, steps: list[tuple[int, int, int]], sizes: list[int]
) -> None:
    days = accumulate(days for _, _, days in steps)
    payments = [
        payment(n, payment_id=f"p{of}", received_at=iso(T0_MS + day * DAY_MS), ip=None)
        for (n, of, _), day in zip(steps, days, strict=True)
    ]
    names = [f"{which}-{len(shop.writer.merchants)}" for which in ("alone", "together", "recorded")]
    for name in names:
        shop.create(name)
    alone = [one(shop, names[0], event) for event in payments]
    cuts = [0, *accumulate(sizes), len(payments)]
    parts = [payments[start:stop] for start, stop in pairwise(cuts)]
    together = [a for part in parts for a in shop.writer.decide_many([Asked(names[1], e, 0) for e in part])]
    assert list(map(told, together[: len(payments)])) == list(map(told, alone))
    recorded = shop.writer.record_many(names[2], payments, 0)
    assert [isinstance(r, AvalistError) for r in recorded] == [isinstance(a, AvalistError) for a in alone]
    ids = [f"p{n}" for n in range(5)]
    known = [[position >= 0 for position, _ in shop.writer.merchant(name).find([], ids)[1]] for name in names]
    assert known[0] == known[1] == known[2]


def test_two_merchants_in_one_batch_do_not_meet(shop: Shop) -> None:
    shop.create("other")
    asked = [Asked(("shop", "other")[n % 2], payment(n // 2), shop.clock.ms) for n in range(8)]
    answers = shop.writer.decide_many(asked)
    assert [a.decision.seq for a in answers if isinstance(a, Answer)] == [2, 2, 3, 3, 4, 4, 5, 5]
    assert (
        shop.features(3)["card__count__events__10m"]
        == shop.features(3, merchant="other")["card__count__events__10m"]
        == 3
    )


def test_one_bad_payment_harms_no_other(shop: Shop) -> None:
    good, bad, late = shop.writer.decide_many(
        [Asked("shop", payment(n, currency=c), shop.clock.ms) for n, c in ((1, "EUR"), (2, "XXX"), (3, "EUR"))]
    )
    assert isinstance(bad, AvalistError)
    assert isinstance(good, Answer)
    assert isinstance(late, Answer)
    assert late.decision.seq == good.decision.seq + 1

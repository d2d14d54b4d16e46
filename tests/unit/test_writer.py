"""The writer on stores in memory: retries, checkpoints, modes, outcomes, clocks, isolation."""

from __future__ import annotations

from hashlib import blake2b
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest

from avalist.app.administer import SetMode, SetPolicy
from avalist.app.asked import raised, tell
from avalist.app.dataset import collect
from avalist.app.flags import CAPTURED, FRAUD
from avalist.app.merchant import decode_event_core
from avalist.app.take import same_content
from avalist.domain.core import ModelActivated, ModelStaged
from avalist.domain.decisions import Action, Mode
from avalist.domain.errors import ArtefactInvalid, AvalistError, BadInput, ClockWentBack, Conflict, NotFound
from avalist.domain.records import FoldKind, RecordKind
from avalist.domain.row import CAPTURED_DELTA, FRAUD_DELTA, KIND, VALUES, T, unpack_row
from avalist.models.artefact import Artefact
from tests.shop import DAY_MS, T0_MS, Shop, event, iso, payment

COUNT = "card__count__events__10m"


def last_row(shop: Shop) -> tuple[int, ...]:
    *_, (_, record) = shop.installation.log.read()
    return unpack_row(decode_event_core(record.core).row)


def kinds(shop: Shop) -> list[int]:
    return [record.kind for _, record in shop.installation.log.read()]


# --- I3, I6: what a decision reads ---------------------------------------------------------------------------------


def test_a_hundred_payments_on_one_card_read_0_to_99_each_once(shop: Shop) -> None:
    for n in range(100):
        shop.decide(n)
    counts = [shop.features(n)[COUNT] for n in range(100)]
    assert np.isnan(counts[0])  # a card never seen: empty is not zero
    assert counts[1:] == list(range(1, 100))


def test_a_login_and_an_outcome_are_read_by_the_next_decision(shop: Shop) -> None:
    shop.decide(1)
    shop.decide(2)
    shop.record(event("authorisation_result", "a1", payment_id="p1", approved=False, issuer_code="05"))
    shop.decide(3)
    declined = "card__count__auth_declined__1h"
    assert (shop.features(2)[declined], shop.features(3)[declined]) == (0.0, 1.0)


# --- I5: retries ---------------------------------------------------------------------------------------------------


def test_a_retry_gets_the_first_answer_and_counts_once(shop: Shop) -> None:
    first = shop.decide(1)
    shop.decide(2)
    again = shop.decide(1, sent_at=iso(T0_MS + 5))
    assert (again.decision, again.position, again.again) == (first.decision, first.position, True)
    shop.decide(3)
    assert shop.features(3)[COUNT] == 2


@pytest.mark.parametrize("change", [{"amount_minor": 2501}, {"custom": {"x": 1}}, {"payment_id": "p9"}])
def test_the_same_event_id_with_other_content_is_a_conflict(shop: Shop, change: dict[str, Any]) -> None:
    shop.decide(1)
    with pytest.raises(Conflict, match="'e1'"):
        shop.decide(1, **change)
    assert shop.writer.merchant("shop").seq == 2


def test_a_refusal_names_the_field_what_was_expected_and_what_came(shop: Shop) -> None:
    shop.decide(1)
    wrong = [payment(1, amount_minor=1), payment(2, payment_id="p1"), event("void", "v1", payment_id="p9")]
    errors = [error for error in shop.writer.record_many("shop", wrong, T0_MS) if isinstance(error, AvalistError)]
    assert [(error.field, error.got) for error in errors] == [
        ("$.event_id", "e1"), ("$.payment_id", "p1"), ("$.payment_id", "p9"),
    ]  # fmt: skip
    assert all(error.expected for error in errors)
    assert [vars(raised(tell(error))) for error in errors] == [vars(error) for error in errors]


def test_a_retry_may_order_custom_anew(shop: Shop) -> None:
    first = shop.decide(1, custom={"b": 1, "a": 2})
    assert shop.decide(1, custom={"a": 2, "b": 1}).position == first.position


def test_an_event_of_a_release_that_kept_the_order_of_custom_is_known(shop: Shop) -> None:
    sent = payment(1, custom={"b": 1, "a": 2})
    older = blake2b(msgspec.msgpack.encode(sent), digest_size=16).digest()
    assert same_content(sent, older)
    assert not same_content(payment(1, custom={"b": 1, "a": 3}), older)


@pytest.mark.parametrize(("n", "checkpoint"), [(1, "pre_auth"), (2, "post_auth"), (3, "rescore")])
def test_a_retry_is_known_for_as_long_as_its_payment_is(shop: Shop, n: int, checkpoint: str) -> None:
    shop.decide(1)
    first = shop.decide(n, payment_id="p1", checkpoint=checkpoint)
    for day in (40, 80):
        shop.clock.ms = T0_MS + day * DAY_MS
        shop.decide(day)
    assert not shop.writer.knows("shop", f"e{n}")
    seq = shop.writer.merchant("shop").seq
    again = shop.decide(n, payment_id="p1", checkpoint=checkpoint)
    assert (again.position, again.decision, shop.writer.merchant("shop").seq) == (first.position, first.decision, seq)
    with pytest.raises(Conflict, match=f"'e{n}' was used before with other content"):
        shop.decide(n, payment_id="p1", checkpoint=checkpoint, amount_minor=1)


def test_an_event_id_belongs_to_all_types_of_event(shop: Shop) -> None:
    shop.record(event("login", "e1", customer={"id": "ann"}))
    with pytest.raises(Conflict):
        shop.decide(1)
    with pytest.raises(Conflict):
        shop.record(event("login", "e1", customer={"id": "bob"}))


def test_a_retried_event_is_recorded_once(shop: Shop) -> None:
    login = event("login", "l1", customer={"id": "ann"})
    assert shop.record(login) == shop.record(login)
    assert kinds(shop).count(RecordKind.EVENT) == 1


def test_the_answer_to_a_retry_after_a_fallback_is_the_fallback(shop: Shop) -> None:
    answer = shop.decide(1)
    fallen = shop.writer.fallback("shop", answer, shop.clock.ms, "deadline")
    assert (fallen.degraded, fallen.durable, fallen.seq) == (True, False, answer.decision.seq)
    assert shop.decide(1).decision == fallen == shop.writer.lookup("shop", "p1", "pre_auth")[1].decision


def test_an_event_falls_back_once(shop: Shop) -> None:
    answer = shop.decide(1)
    first = shop.writer.fallback("shop", answer, shop.clock.ms, "deadline")
    assert shop.writer.fallback("shop", shop.decide(1), shop.clock.ms, "deadline") == first
    assert kinds(shop).count(RecordKind.FALLBACK) == 1
    assert shop.writer.first("shop", answer) == first


def test_an_unscored_answer_is_kept_and_counted_like_any_payment(shop: Shop) -> None:
    decision = shop.writer.answer_unscored("shop", payment(1), shop.clock.ms)
    assert (decision.action, decision.degraded) == (Action.REVIEW, True)
    assert shop.decide(1).decision == decision
    shop.decide(2)
    assert shop.features(2)[COUNT] == 1


@pytest.mark.parametrize(("amount", "action"), [(2000, Action.APPROVE), (2001, Action.REVIEW)])
def test_the_fallback_approves_up_to_its_amount(shop: Shop, amount: int, action: Action) -> None:
    answer = shop.decide(1, amount_minor=amount)
    assert shop.writer.fallback("shop", answer, shop.clock.ms, "deadline").action == action


# --- checkpoints ---------------------------------------------------------------------------------------------------


def test_a_later_checkpoint_reads_and_adds_no_velocity(shop: Shop) -> None:
    shop.decide(1)
    shop.decide("1b", payment_id="p1", checkpoint="post_auth")
    shop.decide("1c", payment_id="p1", checkpoint="rescore")
    shop.decide(2)
    assert (shop.features(1, "post_auth")[COUNT], shop.features(2)[COUNT]) == (1, 1)


def test_each_checkpoint_has_its_own_answer(shop: Shop) -> None:
    shop.decide(1)
    shop.decide("1b", payment_id="p1", checkpoint="post_auth")
    found = [shop.writer.lookup("shop", "p1", c)[0].event_id for c in ("pre_auth", "post_auth")]
    assert found == ["e1", "e1b"]
    with pytest.raises(NotFound, match="rescore"):
        shop.writer.lookup("shop", "p1", "rescore")


def test_a_rescore_may_come_again_and_the_last_one_is_found(shop: Shop) -> None:
    shop.decide(1)
    for id in ("r1", "r2"):
        shop.decide(id, payment_id="p1", checkpoint="rescore")
    assert shop.writer.lookup("shop", "p1", "rescore")[0].event_id == "er2"


@pytest.mark.parametrize("checkpoint", ["pre_auth", "post_auth"])
def test_a_checkpoint_comes_once(shop: Shop, checkpoint: str) -> None:
    shop.decide(1, checkpoint=checkpoint)
    with pytest.raises(Conflict, match=checkpoint):
        shop.decide(2, payment_id="p1", checkpoint=checkpoint)


def test_an_unknown_payment_has_nothing_to_rescore(shop: Shop) -> None:
    with pytest.raises(NotFound, match="pre_auth first"):
        shop.decide(1, checkpoint="rescore")
    assert shop.writer.merchant("shop").seq == 1


# --- I7: nothing is visible before its seq; modes ------------------------------------------------------------------


def test_a_model_scores_from_its_activation_on(shop: Shop, artefact: Artefact) -> None:
    before = shop.decide(1).decision
    shop.activate(artefact)
    after = shop.decide(2).decision
    assert (before.p_fraud, before.action, before.warnings[0]) == (None, Action.NOT_REVIEWED, "no_active_model")
    assert after.p_fraud is not None
    assert (before.model_version, after.model_version) == ("", artefact.version)
    assert shop.decide(1).decision == before


def test_a_staged_model_does_not_score(shop: Shop, artefact: Artefact) -> None:
    shop.installation.blobs.put("shop", f"model-{artefact.version}", artefact.to_bytes())
    shop.writer.control("shop", ModelStaged(artefact.version, artefact.plan_hash), 0)
    assert shop.decide(1).decision.p_fraud is None
    shop.writer.control("shop", ModelActivated(artefact.version), 0)
    assert shop.decide(2).decision.p_fraud is not None


def test_a_model_of_another_plan_is_refused_and_not_logged(shop: Shop, artefact: Artefact) -> None:
    shop.installation.blobs.put("shop", f"model-{artefact.version}", artefact.to_bytes())
    with pytest.raises(ArtefactInvalid, match="train again"):
        shop.writer.control("shop", ModelStaged(artefact.version, "another"), 0)
    assert len(kinds(shop)) == 1


def set_policy(shop: Shop, json: bytes) -> None:
    shop.installation.administration.carry_out(SetPolicy("shop", msgspec.Raw(json)), shop.clock.ms)


def test_a_policy_rules_from_its_seq_on(shop: Shop, artefact: Artefact) -> None:
    shop.activate(artefact)
    before = shop.decide(1).decision
    set_policy(shop, b'{"margin":0.0,"chargeback_cost_minor":900000,"lifetime_value_minor":0}')
    after = shop.decide(2).decision
    assert (before.action, after.action) == (Action.APPROVE, Action.DECLINE)
    assert before.policy_version != after.policy_version


@pytest.mark.parametrize("json", [b'{"margin":2}', b'{"margins":0.1}', b"{", b"[]", b'{"fallback":{"beyond":"no"}}'])
def test_a_policy_that_does_not_fit_changes_nothing(shop: Shop, json: bytes) -> None:
    before = shop.writer.merchant("shop").versions
    with pytest.raises(BadInput):
        set_policy(shop, json)
    assert (shop.writer.merchant("shop").versions, len(kinds(shop))) == (before, 1)


def test_a_label_shows_in_the_lagged_rate_from_its_seq_on(shop: Shop) -> None:
    shop.decide(1)
    shop.record(event("capture", "c1", payment_id="p1"))
    shop.clock.ms += 20 * DAY_MS
    shop.decide(2)
    shop.record(event("chargeback", "cb1", payment_id="p1", stage="opened", fraud=True))
    shop.decide(3)
    rates = [shop.features(n)["card__rate__fraud__7d"] for n in (2, 3)]
    assert rates[0] < 0.02 < rates[1]


@pytest.mark.parametrize("mode", ["off", "observe", "live"])
def test_modes(shop: Shop, artefact: Artefact, mode: Mode) -> None:
    shop.activate(artefact)
    shop.installation.administration.carry_out(SetMode("shop", mode), shop.clock.ms)
    decision = shop.decide(1).decision
    seen = decision.mode, decision.p_fraud is not None, decision.action, decision.advised_action
    assert (
        seen
        == {
            "off": ("off", False, Action.NOT_REVIEWED, None),
            "observe": ("observe", True, Action.NOT_REVIEWED, Action.APPROVE),
            "live": ("live", True, Action.APPROVE, None),
        }[mode]
    )


@pytest.mark.parametrize("mode", ["off", "observe"])
def test_a_fallback_does_not_act_unless_live(shop: Shop, mode: Mode) -> None:
    shop.installation.administration.carry_out(SetMode("shop", mode), shop.clock.ms)
    assert shop.writer.answer_unscored("shop", payment(1), shop.clock.ms).action == Action.NOT_REVIEWED


# --- outcomes ------------------------------------------------------------------------------------------------------


def flags(shop: Shop) -> int:
    _, ((_, found),) = shop.writer.merchant("shop").find([], ["p1"])
    return found & (CAPTURED | FRAUD)


def test_an_outcome_carries_its_payments_keys_amount_and_time(shop: Shop) -> None:
    shop.decide(1)
    paid = unpack_row(shop.writer.lookup("shop", "p1", "pre_auth")[0].row)
    shop.clock.ms += 1000
    shop.record(event("capture", "c1", payment_id="p1"))
    row = last_row(shop)
    assert row[VALUES:] == paid[VALUES:]
    assert (row[T], row[KIND], row[CAPTURED_DELTA]) == (T0_MS, FoldKind.OUTCOME, 1)


def test_capture_counts_once(shop: Shop) -> None:
    shop.decide(1)
    deltas = []
    for n in range(3):
        shop.record(event("capture", f"c{n}", payment_id="p1"))
        deltas.append(last_row(shop)[CAPTURED_DELTA])
    assert deltas == [1, 0, 0]


def test_a_label_changes_with_the_last_word_alone(shop: Shop) -> None:
    shop.decide(1)
    deltas = []
    for n, fraud in enumerate((True, True, False, False, True)):
        shop.record(event("label", f"l{n}", payment_id="p1", fraud=fraud))
        deltas.append(last_row(shop)[FRAUD_DELTA])
    assert deltas == [1, 0, -1, 0, 1]
    assert flags(shop) == FRAUD


@pytest.mark.parametrize(
    ("fields", "becomes"),
    [
        ({"type": "early_fraud_warning"}, CAPTURED | FRAUD),
        ({"type": "chargeback"}, CAPTURED | FRAUD),
        ({"type": "chargeback", "fraud": False}, 0),
        ({"type": "chargeback", "stage": "won"}, 0),
        ({"type": "refund"}, 0),
        ({"type": "void"}, 0),
        ({"type": "authorisation_result", "approved": True}, 0),
    ],
)
def test_what_an_outcome_says_of_its_payment(shop: Shop, fields: dict[str, object], becomes: int) -> None:
    shop.decide(1)
    shop.record(event(id="o1", payment_id="p1", **fields))  # type: ignore[arg-type]
    assert flags(shop) == becomes


@pytest.mark.parametrize(
    ("fields", "dated"),
    [
        ({"type": "chargeback"}, 1),
        ({"type": "early_fraud_warning"}, 1),
        ({"type": "label", "fraud": True}, 1),
        ({"type": "label", "fraud": True, "source": "imputed"}, 0),
    ],
)
def test_the_log_says_which_report_times_were_drawn(shop: Shop, fields: dict[str, object], dated: int) -> None:
    shop.decide(1)
    shop.record(event("capture", "c1", payment_id="p1"))
    shop.record(event(id="o1", payment_id="p1", **fields))  # type: ignore[arg-type]
    changes = collect(shop.installation.log.read, "shop").changes
    assert changes[changes[:, 2] == 1, 4].tolist() == [dated]


def test_a_label_logged_before_that_was_noted_is_not_trusted(shop: Shop) -> None:
    shop.decide(1)
    shop.record(event("label", "l1", payment_id="p1", fraud=True))
    records = list(shop.installation.log.read())
    old = msgspec.msgpack.encode(msgspec.msgpack.decode(records[-1][1].core)[:10])
    records[-1] = records[-1][0], msgspec.structs.replace(records[-1][1], core=old)
    assert collect(lambda: records, "shop").changes[-1].tolist()[2:] == [1, T0_MS, 0]


def test_an_outcome_of_an_unknown_payment_is_not_recorded(shop: Shop) -> None:
    with pytest.raises(NotFound, match="'p1'"):
        shop.record(event("capture", "c1", payment_id="p1"))
    shop.decide(1)
    shop.record(event("capture", "c1", payment_id="p1"))
    assert flags(shop) == CAPTURED


def test_a_long_line_of_outcomes_joins_the_first_event_of_its_payment(shop: Shop) -> None:
    shop.decide(1)
    shop.decide("1b", payment_id="p1", checkpoint="post_auth", amount_minor=1)
    shop.record(event("capture", "c1", payment_id="p1"))
    assert last_row(shop)[VALUES] == 2500


# --- clocks --------------------------------------------------------------------------------------------------------


def test_the_writers_clock_never_goes_back(shop: Shop) -> None:
    shop.decide(1)
    shop.clock.ms -= 60_000
    shop.decide(2)
    shop.clock.ms += 60_001
    shop.decide(3)
    at = [record.received_at_ms for _, record in shop.installation.log.read() if record.kind == RecordKind.EVENT]
    assert at == [T0_MS, T0_MS, T0_MS + 1]


def test_a_supplied_time_may_stand_still_but_not_decrease(shop: Shop) -> None:
    for n, later in enumerate((0, 5, 5)):
        shop.decide(n, received_at=iso(T0_MS + later))
    with pytest.raises(ClockWentBack) as refused:
        shop.decide(9, received_at=iso(T0_MS + 4))
    assert (refused.value.field, refused.value.expected) == ("$.received_at", f"at least {iso(T0_MS + 5)}")
    assert not shop.writer.knows("shop", "e9")


def test_what_operators_do_now_does_not_forbid_history(shop: Shop, artefact: Artefact) -> None:
    past = iso(T0_MS - 300 * DAY_MS)
    shop.activate(artefact)
    shop.decide(1, received_at=past)
    shop.writer.fallback("shop", shop.decide(1, received_at=past), shop.clock.ms, "deadline")
    shop.decide(2, received_at=past)
    assert shop.features(2)[COUNT] == 1


def test_a_time_of_an_event_is_clamped_to_its_arrival(shop: Shop) -> None:
    shop.record(event("login", "l1", customer={"id": "ann"}, occurred_at=iso(T0_MS + DAY_MS)))
    assert last_row(shop)[T] == T0_MS


@pytest.mark.parametrize("field", ["occurred_at", "received_at", "sent_at"])
@pytest.mark.parametrize("time", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"])
def test_a_time_beyond_the_calendar_is_refused(shop: Shop, field: str, time: str) -> None:
    with pytest.raises(BadInput) as refused:
        shop.decide(1, **{field: time})
    assert refused.value.field == f"$.{field}"
    shop.decide(2)


# --- I4: merchants -------------------------------------------------------------------------------------------------


def test_merchants_share_no_ids(shop: Shop) -> None:
    shop.create("other")
    mine, theirs = shop.decide(1), shop.decide(1, "other", amount_minor=99)
    assert (mine.decision.seq, theirs.decision.seq) == (2, 2)
    shop.record(event("capture", "c1", payment_id="p1"), "other")
    assert flags(shop) == 0
    with pytest.raises(NotFound):
        shop.writer.lookup("other", "p2", "pre_auth")


def test_merchants_hash_the_same_card_differently(shop: Shop) -> None:
    shop.create("other")
    rows = [unpack_row(shop.decide(1, merchant).core.row) for merchant in ("shop", "other")]
    keys = [set(row[VALUES + 2 :]) - {0} for row in rows]
    assert len(keys[0]) == 3
    assert not keys[0] & keys[1]


def test_what_one_merchant_does_leaves_anothers_features_alone(shop: Shop) -> None:
    shop.create("other")
    for n in range(5):
        shop.decide(n, "other")
    shop.decide(9)
    assert np.isnan(shop.features(9)["merchant__count__events__1h"])
    shop.decide(10)
    assert shop.features(10)["merchant__count__events__1h"] == 1


def test_an_unknown_merchant_is_named(shop: Shop) -> None:
    with pytest.raises(NotFound, match="merchant create nobody"):
        shop.decide(1, "nobody")


def test_a_merchant_exists_once(shop: Shop) -> None:
    with pytest.raises(Conflict, match="exists already"):
        shop.create()


@pytest.mark.parametrize("id", ["../evil", "A", "", "a b", "-a", "a" * 64, "a/b", "a.b"])
def test_a_merchants_id_can_stand_in_a_path(shop: Shop, id: str) -> None:
    with pytest.raises(BadInput) as refused:
        shop.create(id)
    assert refused.value.field == "$.merchant"


# --- a refused payment leaves no trace -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"currency": "USD"},
        {"currency": "XXX"},
        {"amount_minor": 10**12, "currency": "JPY", "custom": {"lat": 1e300}},
        {"custom": {"lat": "north"}},
        {"custom": {"lat": True}} | {"currency": "GBP"},
    ],
)
def test_a_payment_that_does_not_fit_the_schema_leaves_no_trace(shop: Shop, change: dict[str, Any]) -> None:
    before = shop.writer.merchant("shop").features.digest()
    with pytest.raises(BadInput) as refused:
        shop.decide(1, **change)
    assert refused.value.field
    assert shop.writer.merchant("shop").features.digest() == before
    assert (shop.writer.merchant("shop").seq, len(kinds(shop))) == (1, 1)


def test_the_records_of_a_merchant_count_its_inputs(shop: Shop) -> None:
    shop.decide(1)
    shop.record(event("login", "l1", customer={"id": "ann"}))
    shop.decide(2)
    seqs = [r.seq for _, r in shop.installation.log.read() if r.kind != RecordKind.DECISION]
    assert all(b - a == 1 for a, b in pairwise(seqs))
    assert seqs == [1, 2, 3, 4]

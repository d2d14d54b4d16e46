"""How a merchant's models stand: what the log's events make of it, and what is due."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from avalist.app.lineage import HOUR_MS, Standing, due, evidence_of, lineage, named
from avalist.app.merchant import decode_control
from avalist.domain.core import (
    Check,
    Control,
    Evidence,
    LearningSet,
    MerchantCreated,
    ModelActivated,
    ModelRefused,
    ModelStaged,
)
from avalist.domain.errors import BadInput, NotFound
from avalist.domain.records import Record, RecordKind
from avalist.domain.schema import DAY_MS
from tests.shop import SCHEMA, T0_MS, Shop, event

CREATED = MerchantCreated(SCHEMA, b"[]")
GOOD = Evidence(checks=(Check("profit", True, "more"),))


def told(*controls: Control, every_ms: int = HOUR_MS) -> list[tuple[int, Record]]:
    encode = msgspec.msgpack.encode
    return [
        (n, Record("shop", n + 1, RecordKind.CONTROL, T0_MS + n * every_ms, encode(control)))
        for n, control in enumerate((CREATED, *controls))
    ]


def standing(*controls: Control, **changes: Any) -> Standing:
    found, _ = lineage(told(*controls), "shop")
    for name, value in changes.items():
        setattr(found, name, value)
    return found


def activated(*versions: str) -> list[Control]:
    return [ModelActivated(version, "gate", GOOD) for version in versions]


def test_a_rollback_goes_back_one_and_another_one_more() -> None:
    found = standing(*activated("a", "b", "c"))
    assert (found.active, found.previous, found.earlier) == ("c", "b", ["a", "b"])
    found = standing(*activated("a", "b", "c"), ModelActivated("b", "rollback"))
    assert (found.active, found.previous) == ("b", "a")
    assert (found.watched(T0_MS), found.may_activate(T0_MS + 5 * HOUR_MS)) == (False, False)
    assert found.may_activate(T0_MS + 8 * DAY_MS)


def test_the_same_model_again_is_no_model_to_go_back_to() -> None:
    assert standing(*activated("a", "a")).previous == ""


def test_a_model_that_comes_with_evidence_is_on_trial_whoever_let_it_in() -> None:
    assert standing(*activated("a", "b")).watched(T0_MS + DAY_MS)
    assert not standing(*activated("a", "b")).watched(T0_MS + 4 * DAY_MS)
    assert not standing(*activated("a")).watched(T0_MS + DAY_MS)
    assert standing(*activated("a"), ModelActivated("b", "operator", GOOD)).watched(T0_MS + DAY_MS)
    assert not standing(*activated("a"), ModelActivated("b")).watched(T0_MS + DAY_MS)
    assert not standing(*activated("a", "b", "c"), ModelActivated("b", "rollback", GOOD)).watched(T0_MS + DAY_MS)


def test_a_promoted_model_takes_what_the_gate_found_against_the_active_one() -> None:
    old, new = (msgspec.structs.replace(GOOD, against=active) for active in ("a", "b"))
    _, steps = lineage(
        told(ModelStaged("c", "", "labels", old), ModelStaged("c", ""), ModelRefused("d", "", "labels", new)), "shop"
    )
    assert evidence_of(steps, "c", "a") == old
    assert evidence_of(steps, "c", "b") is None
    assert evidence_of(steps, "d", "b") == new


def test_manual_approval_waits_for_a_person() -> None:
    assert standing(*activated("a")).may_activate(T0_MS)
    assert not standing(*activated("a"), LearningSet(approval="manual")).may_activate(T0_MS)


def test_a_first_model_waits_for_a_person_too() -> None:
    assert not standing().may_activate(T0_MS)


@pytest.mark.parametrize(
    ("after_h", "changes", "cause"),
    [
        (48, {"news": True}, "schedule"), (48, {}, None), (20, {"news": True}, None),
        (20, {"news": True, "labels": 200}, "labels"), (5, {"news": True, "labels": 200}, None),
        (48, {"news": True, "learning": LearningSet(every_d=3.0)}, None),
        (4800, {"news": True, "labels": 999, "learning": LearningSet(every_d=0.0)}, None),
        (48, {"news": True, "active": "", "labels": 39}, None),
        (48, {"news": True, "active": "", "labels": 40}, "first"),
    ],
)  # fmt: skip
def test_what_makes_a_training_due(after_h: int, changes: dict[str, Any], cause: str | None) -> None:
    found = standing(ModelStaged("a", "p"), ModelActivated("a"), **changes)
    assert due(found, found.trained_ms + after_h * HOUR_MS) == cause


def test_a_training_starts_the_count_again_and_a_persons_refusal_does_not(shop: Shop) -> None:
    shop.decide(1)
    shop.record(event("early_fraud_warning", "f1", payment_id="p1"))
    found, _ = lineage(shop.installation.log.read(), "shop")
    assert (found.labels, found.news) == (1, True)
    for control, labels in ((ModelRefused("a", "p"), 1), (ModelRefused("a", "p", "labels", GOOD), 0)):
        found.take(told(control)[1][1])
        assert found.labels == labels


def test_events_of_before_decode() -> None:
    staged = msgspec.msgpack.encode({"type": "model_staged", "version": "a", "plan_hash": "p"})
    active = msgspec.msgpack.encode({"type": "model_activated", "version": "a"})
    assert decode_control(staged) == ModelStaged("a", "p")
    assert decode_control(active) == ModelActivated("a", "operator", None)


def test_a_version_is_named_by_its_beginning() -> None:
    _, steps = lineage(told(*activated("ab1", "ab2", "ac1")), "shop")
    assert named(steps, "ac") == "ac1"
    for text in ("ab", "x", ""):
        with pytest.raises(BadInput, match="no such model"):
            named(steps, text)
    with pytest.raises(NotFound):
        lineage(told(), "nobody")

"""Segments: parts of the graded payments, all under one threshold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from avalist.app.dataset import Dataset
from avalist.app.grade import Graded, grade_by
from avalist.app.report import evaluate
from avalist.app.segments import APPROVAL, Segment, segments
from avalist.policy.choose import Sold
from tests.judged import SMALL, dataset


def sold(data: Dataset, risky: str) -> Dataset:
    """Name the product of half of the payments by whether its risk is high, the other half ``plain``."""
    names = [risky if high else "plain" for high in data.x[:, 0] > 0.0]
    return replace(data, background=replace(data.background, sold=[Sold("gift_card", name, 1.0) for name in names]))


@pytest.fixture(scope="module")
def graded() -> Graded:
    data = sold(dataset(), "risky")
    return grade_by(data, evaluate(data, SMALL, lambda done, wanted: None))


@pytest.fixture(scope="module")
def found(graded: Graded) -> tuple[Segment, ...]:
    return segments(graded)


def test_the_parts_of_each_way_are_the_whole(graded: Graded, found: tuple[Segment, ...]) -> None:
    for by in ("product", "amount"):
        parts = [segment for segment in found if segment.by == by]
        assert sum(segment.payments for segment in parts) == len(graded.rows)
        assert sum(segment.frauds for segment in parts) == graded.judged.y.sum()
        declined = sum(segment.declined * segment.payments for segment in parts)
        assert declined == pytest.approx((1.0 - APPROVAL) * len(graded.rows))


def test_what_parts_nothing_is_left_out(found: tuple[Segment, ...]) -> None:
    assert {segment.by for segment in found} == {"product", "amount"}


def test_a_risky_segment_is_declined_more_often(found: tuple[Segment, ...]) -> None:
    risky, plain = (next(segment for segment in found if segment.name == name) for name in ("risky", "plain"))
    assert risky.fraud_rate > 3 * plain.fraud_rate
    assert risky.declined > 3 * plain.declined


def test_too_few_frauds_tell_nothing(graded: Graded) -> None:
    names = np.array(["none"] * len(graded.data.t_ms))
    names[graded.fraud] = "fraud"
    told = replace(graded.data.background, sold=[Sold("", str(name), None) for name in names])
    parts = segments(replace(graded, data=replace(graded.data, background=told)))
    none = next(segment for segment in parts if segment.name == "none")
    assert (none.frauds, none.stopped, none.level) == (0, None, None)

"""Decisions that were answered, as a scraper reads them."""

from __future__ import annotations

import pytest

from avalist.api.metrics import Metrics
from avalist.domain.decisions import Action


@pytest.fixture
def metrics() -> Metrics:
    metrics = Metrics()
    for action, seconds in ((Action.APPROVE, 0.002), (Action.APPROVE, 0.0021), (Action.DECLINE, 7.0)):
        metrics.answers.add(action, seconds)
    return metrics


@pytest.mark.parametrize(("action", "count"), [("approve", 2), ("decline", 1), ("review", 0)])
def test_answers_are_counted_by_action(metrics: Metrics, action: str, count: int) -> None:
    assert metrics.registry.get_sample_value("avalist_decisions_total", {"action": action}) == count


@pytest.mark.parametrize(("most_s", "count"), [("0.001", 0), ("0.002", 1), ("0.003", 2), ("1.0", 2), ("+Inf", 3)])
def test_latencies_are_counted_up_to_each_bound(metrics: Metrics, most_s: str, count: int) -> None:
    assert metrics.registry.get_sample_value("avalist_decision_seconds_bucket", {"le": most_s}) == count


def test_all_latencies_are_summed(metrics: Metrics) -> None:
    assert metrics.registry.get_sample_value("avalist_decision_seconds_sum") == pytest.approx(7.0041)
    assert metrics.registry.get_sample_value("avalist_decision_seconds_count") == 3

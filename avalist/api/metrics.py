"""Metrics: one catalogue, with what to do when each is high (docs/reference/metrics.md)."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from avalist.domain.decisions import Action

_LATENCY_S = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.035, 0.05, 0.1, 0.25, 1.0)


class Metrics:
    """The gateway's and decider's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.decisions = Counter(
            "avalist_decisions_total", "Decisions answered, by action", ["action"], registry=self.registry
        )
        self.fallbacks = Counter(
            "avalist_fallbacks_total", "Fallback answers, by cause", ["why"], registry=self.registry
        )
        self.events = Counter("avalist_events_total", "Events recorded, by type", ["type"], registry=self.registry)
        self.problems = Counter(
            "avalist_problems_total", "Requests refused, by problem", ["problem"], registry=self.registry
        )
        self.latency = Histogram(
            "avalist_decision_seconds", "From body read to answer durable", buckets=_LATENCY_S, registry=self.registry
        )
        self.waiting = Gauge("avalist_commit_waiting", "Answers waiting for the log", registry=self.registry)
        self.entities = Gauge("avalist_entities", "Entity keys in feature state", registry=self.registry)
        self._by_action = {action: self.decisions.labels(action.value) for action in Action}

    def answered(self, action: Action, seconds: float) -> None:
        """Count a decision that was answered."""
        self._by_action[action].inc()
        self.latency.observe(seconds)

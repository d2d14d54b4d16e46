"""Metrics: one catalogue, with what to do when each is high (docs/reference/metrics.md)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from avalist.app.administer import ActivateModel, AdminRequest, RefuseModel, StageModel
from avalist.app.followed import Checkup, Followed, Work
from avalist.domain.alerts import AlertKind
from avalist.domain.decisions import Action

_LATENCY_S = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.035, 0.05, 0.1, 0.25, 1.0)


class Metrics:
    """The metrics of whoever answers callers, in a registry of their own."""

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
        self.model_steps = Counter(
            "avalist_model_steps_total", "Steps in the life of models", ["step"], registry=self.registry
        )
        self._by_action = {action: self.decisions.labels(action.value) for action in Action}

    def administered(self, request: AdminRequest) -> None:
        """Count a step in the life of a model."""
        match request:
            case ActivateModel(by=by):
                self.model_steps.labels("rolled_back" if by == "rollback" else "activated").inc()
            case RefuseModel():
                self.model_steps.labels("refused").inc()
            case StageModel():
                self.model_steps.labels("staged").inc()

    def answered(self, action: Action, seconds: float) -> None:
        """Count a decision that was answered."""
        self._by_action[action].inc()
        self.latency.observe(seconds)


class GatewayMetrics(Metrics):
    """A gateway's, which spools."""

    def __init__(self) -> None:
        super().__init__()
        self.spooled = Gauge("avalist_spooled", "Fallbacks that lie in the spool alone", registry=self.registry)
        self.spool_failures = Counter(
            "avalist_spool_failures_total", "Fallbacks that could not be spooled either", registry=self.registry
        )


class HealthGauges:
    """What health checks found, in the registry of whoever has them run."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.alerts = Gauge(
            "avalist_health_alerts", "Alerts that stand, by merchant and kind", ["merchant", "kind"], registry=registry
        )
        self.level_z = Gauge(
            "avalist_health_level_z",
            "By how much reports are beyond 1.3 times those expected, in standard deviations",
            ["merchant"],
            registry=registry,
        )
        self._shown: frozenset[str] = frozenset()

    def show(self, found: Mapping[str, Checkup]) -> None:
        """Show the latest checks, and those of no merchant that is not among them."""
        for merchant in self._shown - found.keys():
            self.level_z.remove(merchant)
            for kind in get_args(AlertKind):
                self.alerts.remove(merchant, kind)
        for merchant, checkup in found.items():
            self.level_z.labels(merchant).set(math.nan if checkup.z is None else checkup.z)
            for kind, count in checkup.alerts.items():
                self.alerts.labels(merchant, kind).set(count)
        self._shown = frozenset(found)


class _Told:
    """A counter of one label that shows counts kept elsewhere: by a process that begins at 0 when it starts again."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._last: dict[str, int] = {}

    def show(self, counts: Mapping[str, int]) -> None:
        """Show the counts of now."""
        for label, count in counts.items():
            last = self._last.get(label, 0)
            self._counter.labels(label).inc(count - last if count >= last else count)
        self._last = dict(counts)


class TrainingMetrics:
    """What becomes of trainings, in the registry of whoever starts them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.running = Gauge("avalist_trainings_running", "1 while a merchant is worked on", registry=registry)
        self.waiting = Gauge("avalist_trainings_waiting", "Merchants whose work is due", registry=registry)
        self.runs = Counter("avalist_trainings_total", "Runs that ended, by verdict", ["verdict"], registry=registry)
        self._runs = _Told(self.runs)

    def show(self, running: bool, waiting: int, ended: Mapping[str, int]) -> None:
        """Show how trainings stand; `ended` are all that ended, by verdict."""
        self.running.set(running)
        self.waiting.set(waiting)
        self._runs.show(ended)


class WebhookMetrics:
    """What becomes of webhooks' messages, in the registry of whoever sends them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.attempts = Counter(
            "avalist_webhook_attempts_total", "Attempts to send, by what came of it", ["outcome"], registry=registry
        )
        self.sending = Gauge("avalist_webhook_sending", "Messages on their way", registry=registry)
        self.oldest = Gauge("avalist_webhook_oldest_seconds", "Age of the oldest that waits", registry=registry)
        self._attempts = _Told(self.attempts)

    def show(self, sending: int, oldest_ms: int | None, ended: Mapping[str, int], now_ms: int) -> None:
        """Show how messages stand; `ended` are all attempts, by outcome."""
        self.sending.set(sending)
        self.oldest.set(0.0 if oldest_ms is None else max(now_ms - oldest_ms, 0) / 1000)
        self._attempts.show(ended)


class EmbeddedMetrics(Metrics):
    """Those of ``avalist up``: of its decider too, and what its follower says."""

    def __init__(self) -> None:
        super().__init__()
        self.entities = Gauge("avalist_entities", "Entity keys in feature state", registry=self.registry)
        self.follower_behind = Gauge(
            "avalist_follower_behind_bytes", "Durable log that the follower has not folded", registry=self.registry
        )
        self.follower_silent = Gauge(
            "avalist_follower_silent_seconds", "Since the follower was heard", registry=self.registry
        )
        self.snapshot_behind = Gauge(
            "avalist_snapshot_behind_bytes", "Log that a start would fold after the snapshot", registry=self.registry
        )
        self.waves_open = Gauge("avalist_waves_open", "Waves that go on, all merchants", registry=self.registry)
        self.parity_checked = Counter(
            "avalist_parity_checked_total", "Logged decisions whose features were folded again", registry=self.registry
        )
        self.parity_different = Counter(
            "avalist_parity_different_total", "Those whose features differ from the logged", registry=self.registry
        )
        self.health = HealthGauges(self.registry)
        self.trainings, self.webhooks = TrainingMetrics(self.registry), WebhookMetrics(self.registry)
        self._parity = (0, 0)

    def followed(self, said: Followed | None, at_ms: int, end: int) -> None:
        """Show what the follower said last; `end` is the durable end of the log."""
        self.follower_behind.set(max(end - (said.position if said else 0), 0))
        self.follower_silent.set(max(at_ms - said.at_ms, 0) / 1000 if said else math.nan)
        self.snapshot_behind.set(max(end - (said.snapshot if said else 0), 0))
        self.waves_open.set(said.waves_open if said else 0)
        found = said.parity.values() if said else ()
        now = sum(one.checked for one in found), sum(one.different for one in found)
        self.parity_checked.inc(max(now[0] - self._parity[0], 0))
        self.parity_different.inc(max(now[1] - self._parity[1], 0))
        self._parity = now
        self.health.show(said.health if said else {})
        work = said.work if said else Work()
        self.trainings.show(work.training, work.trainings_waiting, work.trainings)
        self.webhooks.show(work.sending, work.oldest_ms, work.attempts, at_ms)


def raise_to(counter: Counter, value: int) -> None:
    """Raise a counter to a count that is kept elsewhere."""
    counter.inc(max(value - counter._value.get(), 0))

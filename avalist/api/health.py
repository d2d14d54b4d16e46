"""Health and metrics of a role that answers no callers: a small server beside its work."""

from __future__ import annotations

import hmac
import threading
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from avalist.api.metrics import HealthGauges, TrainingMetrics, WebhookMetrics, raise_to
from avalist.app.followed import Followed


class RoleMetrics:
    """The metrics of every role that owns partitions (docs/reference/metrics.md)."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.partitions = Gauge("avalist_partitions", "Partitions that this process owns", registry=self.registry)
        self.notes = Counter("avalist_turns_total", "What this process noted", ["what"], registry=self.registry)


_BATCH: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_BATCH_S: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5)
_TAKE_OVER_S: Final = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0)


class DeciderMetrics(RoleMetrics):
    """A decider's."""

    def __init__(self) -> None:
        super().__init__()
        self.behind = Gauge("avalist_behind_records", "Messages that are not taken yet", registry=self.registry)
        self.messages = Counter("avalist_messages_total", "Messages taken", registry=self.registry)
        self.batches = Histogram(
            "avalist_batch_messages", "Messages taken together", buckets=_BATCH, registry=self.registry
        )
        self.batch_times = Histogram(
            "avalist_batch_seconds", "Time to decide a batch", buckets=_BATCH_S, registry=self.registry
        )
        self.take_overs = Histogram(
            "avalist_take_over_seconds",
            "From winning a partition to work",
            buckets=_TAKE_OVER_S,
            registry=self.registry,
        )

    def batch(self, messages: int) -> AbstractContextManager[object]:
        """Measure a batch of so many messages, which is taken within the context."""
        self.batches.observe(messages)
        return self.batch_times.time()

    def took_over(self, seconds: float) -> None:
        """Take note of a partition that is at work, so long after it became ours."""
        self.take_overs.observe(seconds)


class FollowerMetrics(RoleMetrics):
    """A follower's."""

    def __init__(self) -> None:
        super().__init__()
        self.behind = Gauge("avalist_behind_records", "Records that are not folded yet", registry=self.registry)
        self.documents = Counter("avalist_documents_total", "Documents written", registry=self.registry)
        self.waves_open = Gauge("avalist_waves_open", "Waves that go on", registry=self.registry)
        self.parity_checked = Counter(
            "avalist_parity_checked_total", "Logged decisions whose features were folded again", registry=self.registry
        )
        self.parity_different = Counter(
            "avalist_parity_different_total", "Those whose features differ from the logged", registry=self.registry
        )

    def followed(self, said: Collection[Followed]) -> None:
        """Show what the followers of the partitions found."""
        self.waves_open.set(sum(one.waves_open for one in said))
        found = [one for each in said for one in each.parity.values()]
        raise_to(self.parity_checked, sum(one.checked for one in found))
        raise_to(self.parity_different, sum(one.different for one in found))


class TrainerMetrics(RoleMetrics):
    """A trainer's."""

    def __init__(self) -> None:
        super().__init__()
        self.trainings = TrainingMetrics(self.registry)
        self.health = HealthGauges(self.registry)


class NotifierMetrics(RoleMetrics):
    """A notifier's."""

    def __init__(self) -> None:
        super().__init__()
        self.webhooks = WebhookMetrics(self.registry)


def serve_health(
    address: tuple[str, int], ready: Callable[[], bool], registry: CollectorRegistry, token: str
) -> ThreadingHTTPServer:
    """Serve ``/healthz``, ``/readyz`` and, to whom holds the token, ``/metrics``; on a thread of its own."""
    expected = f"Bearer {token}"

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/healthz":
                self._answer(200, b'{"status":"alive"}')
            elif self.path == "/readyz":
                self._answer(200, b'{"status":"ready"}') if ready() else self._answer(503, b'{"status":"not ready"}')
            elif self.path != "/metrics":
                self._answer(404, b'{"status":"no such page"}')
            elif hmac.compare_digest(self.headers.get("authorization", ""), expected):
                self._answer(200, generate_latest(registry), "text/plain; version=0.0.4; charset=utf-8")
            else:
                self._answer(401, b'{"status":"metrics need the token in <data>/secrets/metrics.token"}')

        def _answer(self, status: int, body: bytes, media: str = "application/json") -> None:
            self.send_response(status)
            self.send_header("content-type", media)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Log no request."""

    server = ThreadingHTTPServer(address, Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    return server

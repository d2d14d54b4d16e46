"""What the roles over Kafka share: their wiring, JSON lines that tell what happens, health, and how they end."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from types import ModuleType
from typing import Any, Final, Generic, TypeVar

import structlog
import typer

from avalist import __version__
from avalist.api.health import RoleMetrics, serve_health
from avalist.app.partition import reason_of
from avalist.config import Settings
from avalist.domain.errors import BadInput, Unavailable

_MEASURE_S: Final = 1.0
_LOOK_S: Final = 0.1
PATIENCE_S: Final = 10.0
"""So long a role that is asked to end waits for its stores,"""
LEAVE_S: Final = 15.0
"""and by then it is over, whatever does not answer."""
M = TypeVar("M", bound=RoleMetrics)


def wiring() -> ModuleType:
    """Return the wiring of the roles. Raises ``BadInput`` where Kafka's client library is not installed."""
    try:
        from avalist import cluster
    except ModuleNotFoundError as error:
        raise BadInput(
            f"{error.name} is not installed, which the roles over Kafka need",
            field="package",
            expected="pip install 'avalist[kafka]'",
        ) from None
    return cluster


@contextmanager
def telling(role: str, **named: str) -> Iterator[Any]:
    """Tell in JSON lines on standard error how a process begins and ends; give what logs the rest.

    Nothing personal is ever logged: of a stranger's error only its kind, and where it was raised.
    """
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(_Unfailing()),  # type: ignore[arg-type]
    )
    say = structlog.get_logger().bind(role=role, **named)
    logging.basicConfig(handlers=[_Lines(say)], level=logging.WARNING, force=True)
    logging.captureWarnings(True)
    threading.excepthook = lambda broke: say.critical("broke", reason=_reason(broke.exc_value))
    say.info("starting", version=__version__)
    try:
        yield say
    except Exception as error:  # noqa: BLE001  told, and then over
        mend = {"field": error.field, "expected": error.expected} if isinstance(error, BadInput) else {}
        say.critical("failed", reason=reason_of(error), **mend)
        raise typer.Exit(1) from None
    say.info("stopped")


class _Unfailing:
    """Standard error, whose disk may be full: what cannot be told must not stop the work."""

    def write(self, text: str) -> None:
        with suppress(OSError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            sys.stderr.flush()


class _Lines(logging.Handler):
    """Makes JSON lines of what libraries and rooms log."""

    def __init__(self, say: Any) -> None:
        super().__init__()
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        """Log one line."""
        more = {"reason": _reason(record.exc_info[1])} if record.exc_info else {}
        self._say.log(record.levelno, record.getMessage(), logger=record.name, **more)


def _reason(error: BaseException | None) -> str:
    return "" if error is None else reason_of(error)


class Role(Generic[M]):
    """A running role that owns partitions: its cluster, its log, its metrics."""

    def __init__(self, settings: Settings, cluster: Any, say: Any, metrics: M) -> None:
        self.settings, self.cluster, self.say, self.metrics = settings, cluster, say, metrics

    def note(self, what: str, /, **details: object) -> None:
        """Count and log what happened."""
        self.metrics.notes.labels(what).inc()
        self.say.info(what, **details)

    def attempt(self, work: Callable[[], None]) -> None:
        """Do what is done again in a moment anyway; where a store does not answer, only say so."""
        try:
            work()
        except Unavailable as error:
            self.note("waits for a store", reason=str(error))

    def turns(self, ready: Callable[[], bool]) -> Iterator[bool]:
        """Yield until SIGTERM or Ctrl-C; now and then True: it is time to measure. Meanwhile health is served."""
        asked: list[int] = []

        def ask(number: int, _: object) -> None:
            asked.append(number)
            if len(asked) == 1:
                leave(self.say, self.cluster.documents.close)

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, ask)
        token = self.cluster.secrets.metrics_token()
        server = serve_health((self.settings.host, self.settings.port), ready, self.metrics.registry, token)
        was, due_s = False, 0.0
        try:
            while not asked:
                due = time.monotonic() >= due_s
                if due:
                    due_s = time.monotonic() + _MEASURE_S
                if ready() is not was:
                    was = not was
                    self.say.info("ready" if was else "not ready")
                yield due
        finally:
            server.shutdown()
            server.server_close()
        self.say.info("stopping")


def leave(say: Any, give_up: Callable[[], None]) -> None:
    """Bound how long this process takes to end: after a time it waits for no store, in the end for nothing.

    It may end at any instant: what it leaves undone is done again by whoever goes on.
    """
    for after_s, do in ((PATIENCE_S, give_up), (LEAVE_S, partial(_break_off, say))):
        timer = threading.Timer(after_s, do)
        timer.daemon = True
        timer.start()


def _break_off(say: Any) -> None:
    say.warning("broke off", reason=f"it could not end in {LEAVE_S:g} s")
    os._exit(1)


@contextmanager
def running(name: str, settings: Settings, metrics: M) -> Iterator[Role[M]]:
    """Run a role that owns partitions."""
    with telling(name) as say, ExitStack() as stack:
        cluster = stack.enter_context(wiring().open_cluster(settings))
        yield Role(settings, cluster, say, metrics)


def say_when(true: Callable[[], bool], say: Callable[[], None]) -> None:
    """Say something once, when it has become true; on a thread of its own."""

    def look() -> None:
        while not true():
            time.sleep(_LOOK_S)
        say()

    threading.Thread(target=look, name="ready", daemon=True).start()

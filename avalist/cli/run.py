"""``avalist run``: one role of an installation over Kafka; ``avalist dead-letters``: what deciders could not take."""

from __future__ import annotations

import gc
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Final

import structlog
import typer
import uvicorn
from rich.table import Table

from avalist.api.health import RoleMetrics, serve_health
from avalist.api.metrics import raise_to
from avalist.app.deciding import Noted
from avalist.app.warm import warm_up
from avalist.cli.options import console
from avalist.cli.serve import listening, uvicorn_config
from avalist.config import Settings, settings_from
from avalist.domain.errors import BadInput
from avalist.domain.events import from_ms

_IDLE_S: Final = 0.05
_MEASURE_S: Final = 1.0

run_app = typer.Typer(help="Run one role over Kafka, until Ctrl-C.", no_args_is_help=True)
dead_letters_app = typer.Typer(help="Messages that no decider could take, and their way back.", no_args_is_help=True)

Config = Annotated[
    Path | None, typer.Option("--config", help="Configuration file, TOML [default: AVALIST_CONFIG, or none]")
]
Port = Annotated[int | None, typer.Option("--port", help="Port to listen on [default: 8321, or AVALIST_PORT]")]
Host = Annotated[str | None, typer.Option("--host", help="Address to listen on [default: 127.0.0.1]")]


@run_app.command("gateway")
def gateway(config: Config = None, port: Port = None, host: Host = None) -> None:
    """Answer callers: authenticate, ask the deciders, fall back where none answers in time."""
    settings = settings_from(file=config, port=port, host=host)
    wiring, say = _wiring(), _logger("gateway")
    with (
        listening(settings) as listener,
        wiring.open_cluster(settings) as cluster,
        wiring.open_gateway(cluster) as service,
    ):
        server = uvicorn.Server(uvicorn_config(service, settings))
        signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn raises it again when it has shut down
        say.info("serving", url=settings.url)
        server.run(sockets=[listener])
    say.info("stopped")


@run_app.command("decider")
def decider(config: Config = None, port: Port = None, host: Host = None) -> None:
    """Decide for a share of the merchants; ``--port`` serves /readyz and /metrics."""
    settings = settings_from(file=config, port=port, host=host)
    wiring, say, metrics = _wiring(), _logger("decider"), RoleMetrics()
    warm_up([])
    with (
        wiring.open_cluster(settings) as cluster,
        wiring.open_decider(cluster, _noting(say, metrics)) as deciding,
        ExitStack() as stack,
    ):
        _serve(stack, settings, lambda: deciding.ready, metrics, cluster)
        gc.freeze()  # what lasts is not searched again and again
        for due in _until_asked_to_end():
            deciding.step(_IDLE_S)
            if due:
                metrics.partitions.set(len(deciding.owned))
                raise_to(metrics.messages, deciding.taken)
                metrics.behind.set(deciding.behind())
    say.info("stopped")


@run_app.command("follower")
def follower(config: Config = None, port: Port = None, host: Host = None) -> None:
    """Follow a share of the log: documents, snapshots, archive, parity; ``--port`` serves /readyz and /metrics."""
    settings = settings_from(file=config, port=port, host=host)
    wiring, say, metrics = _wiring(), _logger("follower"), RoleMetrics()
    with (
        wiring.open_cluster(settings) as cluster,
        wiring.open_followers(cluster, _noting(say, metrics)) as following,
        ExitStack() as stack,
    ):
        _serve(stack, settings, lambda: following.ready, metrics, cluster)
        for due in _until_asked_to_end():
            following.step(_IDLE_S)
            if due:
                metrics.partitions.set(len(following.owned))
                raise_to(metrics.documents, following.documents)
                metrics.behind.set(following.behind())
    say.info("stopped")


@dead_letters_app.command("list")
def list_dead_letters(config: Config = None) -> None:
    """List the dead letters: when, whose, where they were found, and why."""
    with _dead_letters(config) as letters:
        found = letters.waiting()
    if not found:
        console.print("no dead letters")
        return
    table = Table()
    for column in ("number", "when", "merchant", "found at", "reason"):
        table.add_column(column, overflow="fold")
    for one in found:
        table.add_row(str(one.number), f"{from_ms(one.at_ms):%Y-%m-%d %H:%M:%S}", one.merchant, one.source, one.reason)
    console.print(table)


@dead_letters_app.command("replay")
def replay_dead_letters(
    numbers: Annotated[list[int] | None, typer.Argument(help="Numbers from 'list' [default: all]")] = None,
    config: Config = None,
) -> None:
    """Send dead letters to the deciders again, once what was wrong is mended."""
    with _dead_letters(config) as letters:
        console.print(f"sent again: {letters.replay(numbers or None)}")


@contextmanager
def _dead_letters(config: Path | None) -> Iterator[Any]:
    wiring = _wiring()
    with wiring.open_cluster(settings_from(file=config)) as cluster:
        yield wiring.open_dead_letters(cluster)


def _wiring() -> ModuleType:
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


def _logger(role: str) -> Any:
    """Return a logger of JSON lines on standard error; nothing personal is ever logged."""
    structlog.configure(
        processors=[structlog.processors.TimeStamper(fmt="iso", utc=True), structlog.processors.JSONRenderer()],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    return structlog.get_logger().bind(role=role)


def _noting(say: Any, metrics: RoleMetrics) -> Noted:
    """Return what takes note of a role's turns: counted, and said."""

    def note(what: str, /, **details: object) -> None:
        metrics.notes.labels(what).inc()
        say.info(what, **details)

    return note


def _serve(stack: ExitStack, settings: Settings, ready: Any, metrics: RoleMetrics, cluster: Any) -> None:
    address = settings.host, settings.port
    server = serve_health(address, ready, metrics.registry, cluster.secrets.metrics_token())
    stack.callback(server.server_close)
    stack.callback(server.shutdown)


def _until_asked_to_end() -> Iterator[bool]:
    """Yield until SIGTERM or Ctrl-C; now and then True: it is time to measure."""
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: asked.append(number))
    due_s = 0.0
    while not asked:
        due = time.monotonic() >= due_s
        if due:
            due_s = time.monotonic() + _MEASURE_S
        yield due

"""``avalist up``: gateway and decider in one process, the follower in another, niced, and a parent that keeps them."""

from __future__ import annotations

import os
import signal
import socket
import time
from typing import Annotated, Any

import msgspec
import typer
import uvicorn

from avalist.adapters.clock import SystemClock
from avalist.api.app import App
from avalist.api.patience import Patient
from avalist.app.followed import Work, tell
from avalist.app.vault import days_of
from avalist.app.warm import warm_up
from avalist.bootstrap import build, open_blobs, open_documents, open_follower, open_log, open_notifier
from avalist.cli.health import command as health_command
from avalist.cli.learn import Trainer, place_of
from avalist.cli.options import Data, Port, console, progress_bar
from avalist.cli.supervise import Supervisor
from avalist.config import Settings, settings_from
from avalist.domain.errors import BadInput, LogFailed, NotFound
from avalist.follow.health import Checkups
from avalist.follow.notifier import Notifier
from avalist.ports.log import Log

_IDLE_S = 0.05
_FOLLOWER_NICENESS = 10
_BACKLOG = 2048
_TELL_S = 1.0
_SWEEP_S = 3600.0


def up(
    data: Data = None,
    port: Port = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on [default: 127.0.0.1]")] = None,
) -> None:
    """Serve: gateway, decider and follower, until Ctrl-C."""
    settings = settings_from(data=data, port=port, host=host)
    days_of(settings.vault_retention_d)  # the follower's: it would be started again and again
    with listening(settings) as listener:
        if settings.log.startswith("file"):  # else there is nothing that a new decider could read
            warm_up([])
            code = Supervisor(settings).run()
            if code is not None:
                raise typer.Exit(code)
        _decide(settings, listener)


def listening(settings: Settings) -> socket.socket:
    """Return the socket that callers connect to. Raises ``BadInput`` where it cannot be had."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise BadInput(
            f"cannot listen: {error.strerror or error}",
            field="--host, --port",
            expected="an address of this machine and a free port",
            got=f"{settings.host}:{settings.port}",
        ) from None


def _decide(settings: Settings, listener: socket.socket) -> None:
    """Recover, then answer until asked to end."""
    with progress_bar("reading the log", None) as bar:
        installation = build(settings, progress=bar.at)
    with installation:
        console.print(
            f"serving at [bold]{settings.url}[/] · {len(installation.writer.merchants)} merchants · Ctrl-C stops"
        )
        service = installation.service()
        app = App(service)
        server = uvicorn.Server(uvicorn_config(app, settings))
        service.on_log_failure = lambda: setattr(server, "should_exit", True)
        # uvicorn raises the signal again when it has shut down; what follows must still be done.
        signal.signal(signal.SIGTERM, lambda *_: None)
        run_server(server, app, listener)
    if service.log_failed:
        raise LogFailed(
            "the log failed, so the decider stopped: its memory was ahead of the log. Mend the disk, then start again"
        )


def run_server(server: uvicorn.Server, app: App, listener: socket.socket) -> None:
    """Answer callers until asked to end. Raises what kept the service from starting."""
    try:
        server.run(sockets=[listener])
    except SystemExit as ended:  # so the server ends where its app did not start
        raise app.failed or ended from None


def uvicorn_config(app: App, settings: Settings, **more: Any) -> uvicorn.Config:
    """Return how the server is set up."""
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        lifespan="on",  # what fails in it is an end, and is told
        http=Patient,
        ws="none",
        access_log=False,
        log_level="error",  # what callers send wrong is answered and counted, not logged
        server_header=False,
        date_header=False,
        proxy_headers=False,
        **more,
    )


def follow(
    parent: Annotated[int, typer.Option(help="Process to end with")],
    data: Data = None,
) -> None:
    """Follow the log of a data folder, keep its documents, start trainings that are due (started by 'up')."""
    os.nice(_FOLLOWER_NICENESS)
    settings = settings_from(data=data)
    log = _log_of(settings, parent)
    if log is None:
        return
    documents = open_documents(settings)
    follower = open_follower(settings, log, documents, open_blobs(settings))
    notifier, trainer = open_notifier(settings, documents), Trainer(settings, place_of(settings), documents)
    checkups = Checkups(documents, health_command(("--data", str(settings.data))), settings.health_s)
    clock, due_s, sweep_due_s = SystemClock(), 0.0, 0.0
    try:
        while os.getppid() == parent:
            if not follower.advance():
                time.sleep(_IDLE_S)
            if time.monotonic() >= due_s:
                checkups.tick(follower.states.merchants)
                trainer.tick(follower.learning.standings, clock.now_ms())
                work, status = _work(trainer, notifier, clock.now_ms()), follower.status(clock.now_ms())
                tell(documents, msgspec.structs.replace(status, health=checkups.found, work=work))
                due_s = time.monotonic() + _TELL_S
            if time.monotonic() >= sweep_due_s:
                documents.sweep(clock.now_ms())
                sweep_due_s = time.monotonic() + _SWEEP_S
    except KeyboardInterrupt:
        pass
    finally:
        checkups.close()
        trainer.close()
        notifier.close()
        documents.close()
        log.close()


def _work(trainer: Trainer, notifier: Notifier, now_ms: int) -> Work:
    """Send what is due; return how trainings and messages stand."""
    sending = notifier.step(now_ms)
    return Work(
        training=bool(trainer.running),
        trainings_waiting=trainer.waiting,
        trainings=dict(trainer.ended),
        sending=sending,
        oldest_ms=notifier.oldest_ms,
        attempts=dict(notifier.ended),
    )


def _log_of(settings: Settings, parent: int) -> Log | None:
    """Return the log, once the decider has made it; None when the parent ends before."""
    while os.getppid() == parent:
        try:
            return open_log(settings, readonly=True)
        except NotFound:
            time.sleep(_IDLE_S)
    return None

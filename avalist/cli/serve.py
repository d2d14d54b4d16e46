"""``avalist up``: gateway and decider in this process, the follower in another, niced."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import Annotated

import typer
import uvicorn

from avalist.api.app import App
from avalist.api.protocol import Protocol
from avalist.api.service import Service
from avalist.bootstrap import build, open_blobs, open_documents, open_follower, open_log
from avalist.cli.options import Data, Port, console, progress_bar
from avalist.config import Settings, settings_from
from avalist.domain.errors import LogFailed

_IDLE_S = 0.05
_FOLLOWER_NICENESS = 10
_RESTART_S = 1.0


def up(
    data: Data = None,
    port: Port = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on [default: 127.0.0.1]")] = None,
) -> None:
    """Serve: gateway, decider and follower, until Ctrl-C."""
    settings = settings_from(data=data, port=port, host=host)
    with progress_bar("reading the log", None) as bar:
        installation = build(settings, progress=bar.at)
    with installation:
        keeper = FollowerKeeper(settings) if settings.log.startswith("file") else None
        console.print(
            f"serving at [bold]{settings.url}[/] · {len(installation.writer.merchants)} merchants · Ctrl-C stops"
        )
        service = installation.service()
        server = uvicorn.Server(uvicorn_config(service, settings))
        service.on_log_failure = lambda: setattr(server, "should_exit", True)
        # uvicorn raises the signal again when it has shut down; what follows must still be done.
        signal.signal(signal.SIGTERM, lambda *_: None)
        try:
            server.run()
        finally:
            if keeper is not None:
                keeper.stop()
    if service.log_failed:
        raise LogFailed(
            "the log failed, so the decider stopped: its memory was ahead of the log. Mend the disk, then start again"
        )


def uvicorn_config(service: Service, settings: Settings) -> uvicorn.Config:
    """Return how the server is set up."""
    return uvicorn.Config(
        App(service),
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=Protocol,
        ws="none",
        access_log=False,
        log_level="error",  # what callers send wrong is answered and counted, not logged
        server_header=False,
        date_header=False,
        proxy_headers=False,
    )


class FollowerKeeper:
    """Runs the follower in a process of its own and starts it again when it dies; it ends when this process does."""

    def __init__(self, settings: Settings) -> None:
        here = str(os.getpid())
        self._command = [sys.executable, "-m", "avalist", "follow", "--data", str(settings.data), "--parent", here]
        self._stopping = threading.Event()
        self._process = subprocess.Popen(self._command)
        self._thread = threading.Thread(target=self._keep, name="follower-keeper", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the follower."""
        self._stopping.set()
        self._process.terminate()
        self._thread.join()

    def _keep(self) -> None:
        while True:
            self._process.wait()
            if self._stopping.wait(_RESTART_S):
                return
            console.print("[yellow]the follower died and is started again[/]")
            self._process = subprocess.Popen(self._command)
            if self._stopping.is_set():  # stop came in between and ended the one before
                self._process.terminate()


def follow(
    parent: Annotated[int, typer.Option(help="Process to end with")],
    data: Data = None,
) -> None:
    """Follow the log of a data folder and keep its documents (started by 'up')."""
    os.nice(_FOLLOWER_NICENESS)
    settings = settings_from(data=data)
    log, documents = open_log(settings, readonly=True), open_documents(settings)
    follower = open_follower(settings, log, documents, open_blobs(settings))
    try:
        while os.getppid() == parent:
            if not follower.advance():
                time.sleep(_IDLE_S)
    except KeyboardInterrupt:
        pass
    finally:
        documents.close()
        log.close()

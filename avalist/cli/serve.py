"""``avalist up``: gateway and decider in this process, the follower in another, niced."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import Annotated

import typer
import uvicorn

from avalist.api.app import App
from avalist.bootstrap import build, open_documents, open_log
from avalist.cli.options import Data, Port, console, progress_bar
from avalist.config import Settings, settings_from
from avalist.domain.errors import LogFailed
from avalist.follow import Follower

_IDLE_S = 0.05
_FOLLOWER_NICENESS = 10
_SWITCH_S = 0.001
"""How long the thread that syncs the log may wait for the interpreter: Python's 5 ms would show in every answer."""


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
        follower = start_follower(settings) if settings.log.startswith("file") else None
        console.print(
            f"serving at [bold]{settings.url}[/] · {len(installation.writer.merchants)} merchants · Ctrl-C stops"
        )
        service = installation.service()
        config = uvicorn.Config(
            App(service),
            host=settings.host,
            port=settings.port,
            loop="uvloop",
            http="httptools",
            access_log=False,
            log_level="warning",
            server_header=False,
            date_header=False,
            proxy_headers=False,
        )
        server = uvicorn.Server(config)
        sys.setswitchinterval(_SWITCH_S)
        service.on_log_failure = lambda: setattr(server, "should_exit", True)
        # uvicorn raises the signal again when it has shut down; what follows must still be done.
        signal.signal(signal.SIGTERM, lambda *_: None)
        try:
            server.run()
        finally:
            if follower is not None:
                follower.terminate()
                follower.wait()
    if service.log_failed:
        raise LogFailed(
            "the log failed, so the decider stopped: its memory was ahead of the log. Mend the disk, then start again"
        )


def start_follower(settings: Settings) -> subprocess.Popen[bytes]:
    """Start the follower's process; it ends when this one does."""
    command = [sys.executable, "-m", "avalist", "follow", "--data", str(settings.data)]
    return subprocess.Popen(command)


def follow(data: Data = None) -> None:
    """Follow the log of a data folder and keep its documents (started by 'up')."""
    os.nice(_FOLLOWER_NICENESS)
    settings = settings_from(data=data)
    parent = os.getppid()
    log, documents = open_log(settings, readonly=True), open_documents(settings)
    follower = Follower(log, documents)
    try:
        while os.getppid() == parent:
            if not follower.advance():
                time.sleep(_IDLE_S)
    except KeyboardInterrupt:
        pass
    finally:
        documents.close()
        log.close()

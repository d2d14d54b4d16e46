"""``avalist demo``: months of a simulated gift-card shop, a model of its own, and a wave met live over HTTP."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.live import Live

from avalist.app.administer import ActivateModel, CreateMerchant, IssueKey
from avalist.app.train import Training, train
from avalist.app.warm import beside, warm_long
from avalist.bootstrap import Installation, build, keep_model
from avalist.cli.client import Client
from avalist.cli.history import record_all
from avalist.cli.models import show_report
from avalist.cli.options import console, progress_bar
from avalist.cli.tally import Tally
from avalist.config import Settings, settings_from
from avalist.domain.errors import BadInput, Unavailable
from avalist.domain.events import WireEvent
from avalist.domain.schema import DIGITAL_GOODS
from avalist.models.train import TrainParams
from avalist.simulator import Attempt, Pending, WavePlan, World, live

MERCHANT = "giftshop"
_MARK = ".avalist-demo"
_DAY_MS = 86_400_000
_WAVE_AFTER_H, _WAVE_MINUTES, _WAVE_PAYMENTS = 9, 45.0, 300
_TREES = TrainParams(test_share=0.0, trees=120, leaves=31, learning_rate=0.06, num_threads=1)


def demo(
    detach: Annotated[bool, typer.Option(help="Leave the service running in the background and return")] = False,
    days: Annotated[int, typer.Option(help="Days of history")] = 60,
    live_hours: Annotated[int, typer.Option(help="Simulated hours to play live")] = 30,
    payments_per_day: Annotated[float, typer.Option(help="Payments a day")] = 900.0,
    seed: Annotated[int, typer.Option(help="Another seed is another shop")] = 1,
    data: Annotated[Path, typer.Option(help="Folder; an earlier demo's is replaced")] = Path("build/demo"),
) -> None:
    """Simulate a shop, train its model, serve it, and play live traffic with a wave against it."""
    started = time.monotonic()
    _clear(data)
    settings = settings_from({}, data=data, port=_free_port())
    world = _world(days, payments_per_day, seed)
    life = world.batches(days + live_hours / 24)
    pending = Pending()
    compiling = beside(warm_long)
    with build(settings) as here:
        key = _prepare(here, live(islice(life, days * 24), pending), round(payments_per_day * days))
    compiling.wait()
    service = _serve(settings)
    try:
        with Client(settings, key) as client:
            tally = _play(client, life, pending)
        console.print(f"from nothing to here in {time.monotonic() - started:.0f} s", highlight=False)
        _what_next(settings, key, service.pid, tally.last_payment, detach)
        if not detach:
            service.wait()
    except KeyboardInterrupt:
        console.print("stopping")
    finally:
        if not detach:
            service.send_signal(signal.SIGTERM)
            service.wait(20)


def _world(days: int, payments_per_day: float, seed: int) -> World:
    """Return the shop's world, with a wave some hours after the service goes live."""
    start_ms = World(seed=seed).start_ms + days * _DAY_MS + _WAVE_AFTER_H * 3_600_000
    wave = WavePlan(start_ms=start_ms, minutes=_WAVE_MINUTES, payments=_WAVE_PAYMENTS)
    return World(seed=seed, payments_per_day=payments_per_day, extra_waves=(wave,))


def _clear(data: Path) -> None:
    if data.exists() and not (data / _MARK).exists():
        raise BadInput("the folder holds something else", field="--data", expected="a new folder", got=str(data))
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(parents=True)
    (data / _MARK).touch()


def _prepare(here: Installation, past: Iterator[WireEvent], payments: int) -> str:
    """Record the past, train and activate a model; return a key that may supply the time."""
    office = here.administration
    office.carry_out(CreateMerchant(MERCHANT, DIGITAL_GOODS), 0)
    with progress_bar("simulating and importing the shop's past", payments) as bar:
        record_all(here, MERCHANT, past, bar)
    with progress_bar("replaying it, training twice", here.log.end) as bar:
        artefact = train(here.log.read, MERCHANT, Training(params=_TREES), replayed=bar.at)
        bar.done(here.log.end)
    keep_model(here.blobs, MERCHANT, artefact)
    office.carry_out(ActivateModel(MERCHANT, artefact.version, artefact.plan_hash), 0)
    show_report(MERCHANT, artefact)
    key = str(office.carry_out(IssueKey(MERCHANT, "simulation"), here.clock.now_ms())["key"])
    here.log.sync()
    return key


def _free_port() -> int:
    """Return the usual port, or another one if somebody listens there."""
    for port in (Settings().port, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise Unavailable("no free port on 127.0.0.1")


def _serve(settings: Settings) -> subprocess.Popen[bytes]:
    """Start ``avalist up`` and wait until it answers."""
    command = [sys.executable, "-P", "-m", "avalist", "up", "--data", str(settings.data), "--port", str(settings.port)]
    with (settings.data / "up.log").open("wb") as log:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AVALIST_")}
        service = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
    with progress_bar("starting the service: it reads the log again", None), Client(settings, "") as client:
        while True:
            try:
                if client.send("GET", "/readyz")[0] == 200:
                    return service
            except Unavailable:
                if service.poll() is not None:
                    raise Unavailable(f"the service did not start: see {settings.data / 'up.log'}") from None
            time.sleep(0.2)


def _play(client: Client, life: Iterator[Any], pending: Pending) -> Tally:
    """Send the rest of the world's life, hour by hour, and show how it goes."""
    tally = Tally()
    with Live(tally.table(), console=console, refresh_per_second=8) as screen:
        for batch in life:
            waiting: list[WireEvent] = []
            for step in batch.steps:
                waiting.extend(pending.until(step.at_ms))
                if step.attempt is None:
                    waiting.append(step.event)
                    continue
                _send(client, waiting)
                if _decide(client, step.attempt, tally):
                    pending.add(step.attempt.follow_ups)
                screen.update(tally.table())
            _send(client, waiting)
    return tally


def _send(client: Client, waiting: list[WireEvent]) -> None:
    if waiting:
        client.call("POST", "/v1/events", msgspec.json.encode(waiting))
        waiting.clear()


def _decide(client: Client, attempt: Attempt, tally: Tally) -> bool:
    body = msgspec.json.encode(attempt.payment)
    start = time.perf_counter()
    answer = client.call("POST", "/v1/decisions", body)
    tally.add(attempt, answer, time.perf_counter() - start)
    return bool(answer["action"] == "approve")


def _what_next(settings: Settings, key: str, pid: int, payment: str, detach: bool) -> None:
    data, port = settings.data, settings.port
    console.rule(f"{MERCHANT} is served at {settings.url}")
    for what, command in (
        ("look at a decision", f"curl -s -H 'Authorization: Bearer {key}' {settings.url}/v1/decisions/{payment}"),
        (
            "read the metrics",
            f'curl -s -H "Authorization: Bearer $(cat {data}/secrets/metrics.token)" {settings.url}/metrics',
        ),
        ("go into shadow mode", f".venv/bin/avalist merchant mode {MERCHANT} observe --data {data} --port {port}"),
        ("make every decision again", f".venv/bin/avalist replay --verify --data {data}"),
        ("use your own payments", "docs/how-to/import.md"),
    ):
        console.print(f"[bold]{what}[/]\n  {command}", soft_wrap=True, highlight=False)
    console.rule(f"it runs in the background: kill {pid} stops it" if detach else "Ctrl-C stops it")

"""``avalist run``: one role of an installation over Kafka; ``avalist dead-letters``: what deciders could not take."""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Final

import typer
import uvicorn
from rich.table import Table

from avalist.adapters.clock import SystemClock
from avalist.api.app import App
from avalist.api.health import DeciderMetrics, FollowerMetrics, NotifierMetrics, TrainerMetrics
from avalist.api.metrics import raise_to
from avalist.app.followed import tell
from avalist.app.lineage import Standing
from avalist.app.warm import warm_up
from avalist.bootstrap import open_notifier
from avalist.cli.health import command as health_command
from avalist.cli.learn import Trainer
from avalist.cli.options import Config, console
from avalist.cli.roles import Role, leave, running, say_when, telling, wiring
from avalist.cli.serve import listening, run_server, uvicorn_config
from avalist.config import settings_from
from avalist.domain.events import from_ms
from avalist.follow.health import Checkups
from avalist.follow.learning import standings_of
from avalist.follow.notifier import Notifier
from avalist.follow.share import Following, Owning

_IDLE_S: Final = 0.05
_REST_S: Final = 0.2
"""A follower rests so long, and folds together what came meanwhile."""
_EVERY: Final = 5
"""Each so many seconds a follower says in documents what it found, and a trainer reads how models stand."""
_SWEEP_EVERY: Final = 3600
"""A follower deletes what has ended at its start, and each so many seconds."""

run_app = typer.Typer(help="Run one role over Kafka, until Ctrl-C.", no_args_is_help=True)
dead_letters_app = typer.Typer(help="Messages that no decider could take, and their way back.", no_args_is_help=True)

Port = Annotated[int | None, typer.Option("--port", help="Port to listen on [default: 8321, or AVALIST_PORT]")]
Host = Annotated[str | None, typer.Option("--host", help="Address to listen on [default: 127.0.0.1]")]


@run_app.command("gateway")
def gateway(config: Config = None, port: Port = None, host: Host = None) -> None:
    """Answer callers: authenticate, ask the deciders, fall back where none answers in time."""
    settings = settings_from(file=config, port=port, host=host)
    here = wiring()
    with (
        telling("gateway") as say,
        listening(settings) as listener,
        here.open_cluster(settings) as cluster,
        here.open_gateway(cluster) as service,
    ):
        app = App(service)
        server = _Server(uvicorn_config(app, settings, log_config=None), partial(leave, say, cluster.documents.close))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)  # uvicorn raises it again when it has shut down
        say.info("serving", url=settings.url)
        say_when(lambda: service.serving, lambda: say.info("ready"))
        run_server(server, app, listener)
        say.info("stopping")


class _Server(uvicorn.Server):
    """Calls `leave` when it is asked to end."""

    def __init__(self, config: uvicorn.Config, leave: Callable[[], None]) -> None:
        super().__init__(config)
        self._leave = leave

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.should_exit:
            self._leave()
        super().handle_exit(sig, frame)


@run_app.command("decider")
def decider(config: Config = None, port: Port = None, host: Host = None) -> None:
    """Decide for a share of the merchants; ``--port`` serves /readyz and /metrics."""
    settings, metrics = settings_from(file=config, port=port, host=host), DeciderMetrics()
    with running("decider", settings, metrics) as role:
        warm_up([])
        with wiring().open_decider(role.cluster, role.note, metrics) as deciding:
            gc.freeze()  # what lasts is not searched again and again
            for due in role.turns(lambda: deciding.ready):
                deciding.step(_IDLE_S)
                if due:
                    metrics.partitions.set(len(deciding.owned))
                    raise_to(metrics.messages, deciding.taken)
                    metrics.behind.set(deciding.behind())


@run_app.command("follower")
def follower(config: Config = None, port: Port = None, host: Host = None) -> None:
    """Follow a share of the log: documents, snapshots, archive, parity; ``--port`` serves /readyz and /metrics."""
    settings, here = settings_from(file=config, port=port, host=host), wiring()
    with (
        running("follower", settings, FollowerMetrics()) as role,
        here.open_followers(role.cluster, role.note) as following,
    ):
        turn = 0
        for due in role.turns(lambda: following.ready):
            following.step(_REST_S)
            if due:
                role.attempt(partial(_show_followed, role, following, turn % _EVERY == 0))
                if turn % _SWEEP_EVERY == 0:
                    role.attempt(partial(_sweep, role))
                turn += 1


def _sweep(role: Role[FollowerMetrics]) -> None:
    """Delete documents whose end has come, for stores that do not do so themselves; and keys whose days are over."""
    now_ms = SystemClock().now_ms()
    role.cluster.documents.sweep(now_ms)
    destroyed = wiring().destroy_day_keys(role.cluster, now_ms)
    if destroyed:
        role.note("destroyed keys", days=destroyed)


def _show_followed(role: Role[FollowerMetrics], following: Following, telling: bool) -> None:
    metrics, said = role.metrics, following.status(SystemClock().now_ms())
    metrics.partitions.set(len(said))
    raise_to(metrics.documents, following.documents)
    metrics.followed(said.values())
    metrics.behind.set(following.behind())
    for partition, one in said.items() if telling else ():
        tell(role.cluster.documents, one, wiring().part_of(partition))


@run_app.command("trainer")
def trainer(config: Config = None, port: Port = None, host: Host = None) -> None:
    """Train, judge and watch models of a share of the merchants, and check their health; ``--port`` serves /readyz and
    /metrics.
    """
    settings, here = settings_from(file=config, port=port, host=host), wiring()
    with running("trainer", settings, TrainerMetrics()) as role:
        where = ("--config", str(config)) if config is not None else ()
        starting = Trainer(settings, where, role.cluster.documents, settle_s=0.0, note=role.note)
        checkups = Checkups(role.cluster.documents, health_command(where), settings.health_s, note=role.note)
        with (
            closing(checkups),
            here.open_owning(role.cluster, "trainers", role.note, starting.end) as owning,
        ):
            training = _Training(role, owning, starting, checkups)
            for due in role.turns(lambda: owning.joined and training.looked):
                owning.step(_IDLE_S)
                if due:
                    role.attempt(training.step)


class _Training:
    """Starts what is due for the merchants that are ours; how they stand is read anew each few seconds."""

    def __init__(self, role: Role[TrainerMetrics], owning: Owning, trainer: Trainer, checkups: Checkups) -> None:
        self._role, self._owning, self._trainer, self._checkups = role, owning, trainer, checkups
        self._standings: dict[str, Standing] = {}
        self._turn = 0
        self.looked = False

    def step(self) -> None:
        if self._turn % _EVERY == 0 and self._owning.joined:
            self._read()
        self._turn += 1
        mine = {merchant: one for merchant, one in self._standings.items() if self._owning.owns(merchant)}
        self._trainer.tick(mine, SystemClock().now_ms())
        metrics = self._role.metrics
        metrics.partitions.set(len(self._owning.owned))
        metrics.trainings.show(bool(self._trainer.running), self._trainer.waiting, self._trainer.ended)
        self._checkups.tick(mine)
        metrics.health.show(self._checkups.found)

    def _read(self) -> None:
        parts = [wiring().part_of(partition) for partition in sorted(self._owning.owned)]
        found = [standings_of(self._role.cluster.documents, part) for part in parts]
        self._standings = {merchant: one for each in found for merchant, one in each.items()}
        self.looked = True


@run_app.command("notifier")
def notifier(config: Config = None, port: Port = None, host: Host = None) -> None:
    """Send to the webhooks of a share of the merchants; ``--port`` serves /readyz and /metrics."""
    settings, here, clock = settings_from(file=config, port=port, host=host), wiring(), SystemClock()
    with running("notifier", settings, NotifierMetrics()) as role:
        sender = open_notifier(settings, role.cluster.documents, role.note)

        def settle(leaving: Callable[[str], bool]) -> None:
            role.attempt(lambda: sender.settle(clock.now_ms(), leaving))

        with here.open_owning(role.cluster, "notifiers", role.note, settle) as owning:
            for due in role.turns(lambda: owning.joined):
                owning.step(_IDLE_S)
                if due:
                    role.attempt(partial(_send, role, owning, sender, clock.now_ms()))
        sender.close()


def _send(role: Role[NotifierMetrics], owning: Owning, sender: Notifier, now_ms: int) -> None:
    metrics, sending = role.metrics, sender.step(now_ms, owning.owns)
    metrics.partitions.set(len(owning.owned))
    metrics.webhooks.show(sending, sender.oldest_ms, sender.ended, now_ms)


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
    here = wiring()
    with here.open_cluster(settings_from(file=config)) as cluster:
        yield here.open_dead_letters(cluster)

"""Training by itself: a follower or a trainer starts, one at a time, a process that does a merchant's daily work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from typing import Annotated, Any, Final, get_args

import msgspec
import typer
from rich.markup import escape

from avalist.adapters.clock import SystemClock
from avalist.adapters.file.secrets import FolderSecrets
from avalist.app.administer import AdminRequest
from avalist.app.deciding import Noted, untold
from avalist.app.learn import Done, Tools, last_done, watch
from avalist.app.learn import learn as learn_merchant
from avalist.app.lineage import HOUR_MS, Standing, due
from avalist.app.network import network_prior
from avalist.bootstrap import keep_model, load_model, open_blobs, open_documents
from avalist.cli.client import Client
from avalist.cli.options import Config, Data, Merchant, Port, console
from avalist.cli.reading import open_reading
from avalist.cli.roles import telling, wiring
from avalist.config import Settings, settings_from
from avalist.domain.core import Cause, Evidence
from avalist.domain.errors import BadInput, Unavailable
from avalist.domain.schema import DAY_MS
from avalist.ports.documents import Documents

Office = Callable[[AdminRequest], dict[str, Any]]
_NICENESS: Final = 19
_AGAIN_MS: Final = 6 * HOUR_MS
_LIMIT: Final = 3.0
"""A run is ended after so many times its budget: trees are not all that takes time."""
_PATIENCE_S: Final = 60.0
_POLL_S: Final = 1.0
_SETTLE_S: Final = 600.0
"""A service that has just started has other things to do."""


class Trainer:
    """Starts the processes. :meth:`tick` is called again and again; nothing waits for a training.

    `where` are the options by which a process finds the installation, whose `documents` have what came of a run.
    `running` is the merchant that is worked on, or nothing; `waiting` are those whose turn comes later; `ended` counts
    the runs by what came of them.
    """

    def __init__(
        self,
        settings: Settings,
        where: Sequence[str],
        documents: Documents,
        *,
        settle_s: float = _SETTLE_S,
        note: Noted = untold,
    ) -> None:
        self._command = [sys.executable, "-P", "-m", "avalist", "learn", "--parent", str(os.getpid()), *where]
        self._budget_s, self._documents, self._note = settings.train_budget_s, documents, note
        self._child: subprocess.Popen[bytes] | None = None
        self._begins_s, self._ends_s = time.monotonic() + settle_s, 0.0
        self._tried_ms: dict[str, int] = {}
        self._watched_ms: dict[str, int] = {}
        self.running, self.waiting, self._work = "", 0, ""
        self.ended: Counter[str] = Counter()

    def tick(self, standings: Mapping[str, Standing], now_ms: int) -> None:
        """Start what is due, if nothing runs."""
        if self._budget_s == 0 or time.monotonic() < self._begins_s:
            return
        busy, due = self._busy(), list(self._due(standings, now_ms))
        self.waiting = len(due)
        if due and not busy:
            (merchant, options, last_ms), self.waiting = due[0], len(due) - 1
            last_ms[merchant] = now_ms
            self._start(merchant, *options)

    def end(self, leaving: Callable[[str], bool]) -> None:
        """End what runs for merchants that another will train: it begins anew there."""
        if self._child is not None and leaving(self.running):
            for begun_ms in (self._tried_ms, self._watched_ms):
                begun_ms.pop(self.running, None)
            self._child.terminate()
            self._child.wait()
            self._busy()

    def close(self) -> None:
        """End what runs."""
        self.end(lambda merchant: True)

    def _due(
        self, standings: Mapping[str, Standing], now_ms: int
    ) -> Iterator[tuple[str, tuple[str, ...], dict[str, int]]]:
        """Yield whose work is due, with its options, and where it is noted when it was begun."""
        for merchant, standing in standings.items():
            if merchant == self.running:
                continue
            if standing.watched(now_ms) and now_ms - self._watched_ms.get(merchant, 0) >= HOUR_MS:
                yield merchant, ("--watch",), self._watched_ms
            elif wanted(standing, now_ms) and now_ms - self._tried_ms.get(merchant, 0) >= _AGAIN_MS:
                yield merchant, (), self._tried_ms

    def _busy(self) -> bool:
        if self._child is None:
            return False
        code = self._child.poll()
        if code is not None:
            merchant, self._child, self.running = self.running, None, ""
            what = self._work if code == 0 else "broke off"
            self._note(what, merchant=merchant, exit_code=code)
            self.ended[self._verdict(merchant) if what == "learnt" else what] += 1
        elif time.monotonic() > self._ends_s:
            self._child.kill()
        return code is None

    def _verdict(self, merchant: str) -> str:
        try:
            done = last_done(self._documents, merchant)
        except Unavailable:
            return "unknown"
        return (done.verdict or "nothing due") if done is not None else "unknown"

    def _start(self, merchant: str, *options: str) -> None:
        self._child, self.running = subprocess.Popen([*self._command, *options, merchant]), merchant
        self._ends_s = time.monotonic() + _LIMIT * self._budget_s
        self._work = "watched" if options else "learnt"
        self._note("watches" if options else "learns", merchant=merchant)


def place_of(settings: Settings) -> tuple[str, ...]:
    """Return the options by which another process finds this data folder and its service."""
    return "--data", str(settings.data), "--port", str(settings.port), "--host", settings.host


def wanted(standing: Standing, now_ms: int) -> bool:
    """Tell whether a merchant's work is due: a training, or the daily look at what decides."""
    last_ms = max(standing.trained_ms, standing.activated_ms, standing.began_ms)
    look = bool(standing.active) and standing.news and now_ms - last_ms >= DAY_MS
    return look or due(standing, now_ms) is not None


def learn(
    merchant: Merchant,
    cause: Annotated[str | None, typer.Option(help=f"Train for this cause: {', '.join(get_args(Cause))}")] = None,
    watching: Annotated[bool, typer.Option("--watch", help="Only look at the model on trial")] = False,
    parent: Annotated[int, typer.Option(help="Process to end with")] = 0,
    data: Data = None,
    port: Port = None,
    host: Annotated[str | None, typer.Option(help="Address of the service")] = None,
    config: Config = None,
) -> None:
    """Do a merchant's daily work on its models (started by the follower, or a trainer)."""
    if parent:
        run_beside(parent)
    settings, now_ms = settings_from(file=config, data=data, port=port, host=host), SystemClock().now_ms()
    if settings.log.startswith("kafka:"):
        with telling("trainer", merchant=merchant) as say, tools_for(settings, merchant, None) as tools:
            _work_told(tools, merchant, now_ms, _cause(cause), watching, say)
        return
    with tools_for(settings, merchant, partial(by_service, settings)) as tools:
        if not watching:
            print_done(merchant, learn_merchant(tools, merchant, now_ms, _cause(cause)))
        elif found := watch(tools, merchant, now_ms):
            print_checks(found)


def _work_told(tools: Tools, merchant: str, now_ms: int, cause: Cause | None, watching: bool, say: Any) -> None:
    """Do the work, and say in the process's log what came of it."""
    tools = tools._replace(carry_out=partial(patiently, tools.carry_out))
    if not watching:
        say.info("learnt", **msgspec.to_builtins(learn_merchant(tools, merchant, now_ms, cause)))
    elif found := watch(tools, merchant, now_ms):
        say.info("watched", passed=found.passed, failed=[check.words for check in found.checks if not check.passed])


def print_checks(found: Evidence) -> None:
    """Print each check with its words."""
    for check in found.checks:
        mark = "[green]holds[/]" if check.passed else "[bold red]fails[/]"
        console.print(f"  {mark} {check.name}: {escape(check.words)}", highlight=False, soft_wrap=True)


def print_done(merchant: str, done: Done) -> None:
    """Print what came of a run."""
    what = f"model {done.version} is {done.verdict}" if done.version else done.verdict or "no training is due"
    console.print(f"{merchant}: {what}", highlight=False)
    for words in done.words:
        console.print(f"  {words}", highlight=False, soft_wrap=True)


@contextmanager
def tools_for(settings: Settings, merchant: str, carry_out: Office | None) -> Iterator[Tools]:
    """Open what a run needs. Over Kafka deciders log what comes of it, else who is given carries it out."""
    if carry_out is None or settings.log.startswith("kafka:"):
        with wiring().open_tools(settings, merchant) as tools:
            yield tools
        return
    blobs = open_blobs(settings)
    with open_reading(settings, merchant) as archive, closing(open_documents(settings)) as documents:
        yield Tools(
            read=lambda: archive.read(merchant=merchant),
            load=lambda version: load_model(blobs, merchant, version),
            keep=lambda artefact: keep_model(blobs, merchant, artefact),
            carry_out=carry_out,
            documents=documents,
            now_ns=time.perf_counter_ns,
            budget_s=float(settings.train_budget_s),
            network=network_prior(blobs),
        )


def by_service(settings: Settings, request: AdminRequest) -> dict[str, Any]:
    """Ask the service to carry a request out; while it starts again, wait: the data folder is its own."""
    token = FolderSecrets(settings.data / "secrets").admin_token()

    def call(request: AdminRequest) -> dict[str, Any]:
        with Client(settings, token) as client:
            answer: dict[str, Any] = client.call("POST", "/v1/admin", msgspec.json.encode(request))
        return answer

    return patiently(call, request)


def patiently(carry_out: Office, request: AdminRequest) -> dict[str, Any]:
    """Have a request carried out; again where nobody was there to answer. Twice would say the same."""
    end_s = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return carry_out(request)
        except Unavailable:
            if time.monotonic() > end_s:
                raise
            time.sleep(_POLL_S)


def _cause(text: str | None) -> Cause | None:
    if text is not None and text not in get_args(Cause):
        raise BadInput("no such cause", field="--cause", expected=" or ".join(get_args(Cause)), got=text[:64])
    return text  # type: ignore[return-value]


def run_beside(parent: int) -> None:
    """Run at the lowest priority, and end when the process that started this one has died."""
    os.nice(_NICENESS)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process when its parent has died: another follower will start it again."""
    while os.getppid() == parent:
        time.sleep(_POLL_S)
    os.kill(os.getpid(), signal.SIGTERM)

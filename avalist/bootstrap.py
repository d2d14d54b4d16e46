"""The one wiring function, and the only place that names adapters."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from avalist.adapters.calls import Calls
from avalist.adapters.clock import SystemClock
from avalist.adapters.file import segment
from avalist.adapters.file.blobs import FolderBlobs
from avalist.adapters.file.daykeys import DayKeys
from avalist.adapters.file.generations import Generations
from avalist.adapters.file.lock import lock_folder
from avalist.adapters.file.log import FileLog
from avalist.adapters.file.secrets import FolderSecrets, has_secret
from avalist.adapters.memory.blobs import MemoryBlobs
from avalist.adapters.memory.documents import MemoryDocuments
from avalist.adapters.memory.log import MemoryLog
from avalist.adapters.processes import Processes
from avalist.adapters.sqlite.documents import SqliteDocuments
from avalist.api.embedded import Embedded
from avalist.app.administer import Administration
from avalist.app.archive import Archive
from avalist.app.backfill import backfill_from
from avalist.app.deciding import Noted, untold
from avalist.app.explain import Explainer
from avalist.app.reviews import REVIEWS
from avalist.app.snapshot import Snapshots
from avalist.app.stages import Stages
from avalist.app.stored import DECISIONS, folded
from avalist.app.tables import StoredTables
from avalist.app.vault import Vault, days_of
from avalist.app.waves import ALERTS, WAVES
from avalist.app.webhooks import Webhooks
from avalist.app.whole import WholeLog
from avalist.app.writer import Writer
from avalist.config import Settings
from avalist.domain.decoders import learn_types
from avalist.domain.errors import BadInput, LogCorrupt, NotFound
from avalist.domain.keys import owner_of
from avalist.follow import Fold, Follower
from avalist.follow.archive import ArchiveFold
from avalist.follow.documents import DecisionDocuments
from avalist.follow.learning import LearningFold, mark_of
from avalist.follow.notifier import Notifier
from avalist.follow.state import MerchantStates
from avalist.follow.vault import VAULT_MARK, VaultFold
from avalist.follow.waves import WaveDocuments, waves_mark
from avalist.follow.webhooks import WEBHOOK_MARK, WebhookFold
from avalist.models.artefact import MODEL_BLOB, Artefact
from avalist.models.score import Model
from avalist.ports.batch import Batch
from avalist.ports.blobs import Blobs
from avalist.ports.clock import Clock
from avalist.ports.documents import Documents
from avalist.ports.log import Log
from avalist.ports.tracing import Tracer

_HELD_MODELS = 64


@dataclass(frozen=True)
class Installation:
    """A wired installation. Close it, or use it as a context, to release the data folder.

    `generation` is the log's.
    """

    settings: Settings
    generation: int
    log: Log
    documents: Documents
    blobs: Blobs
    writer: Writer
    administration: Administration
    clock: Clock
    secrets: FolderSecrets
    _stack: ExitStack

    def service(self) -> Embedded:
        """Return the service that the routes answer from."""
        service = Embedded(
            self.settings,
            self.log,
            self.writer,
            self.administration,
            self.documents,
            self.clock,
            self.secrets.admin_token(),
            self.secrets.metrics_token(),
            self.generation,
        )
        service.tracer = open_tracer(self.settings, "avalist")
        return service

    def load_model(self, merchant: str, version: str) -> Model:
        """Load a model from the blobs. Raises ``NotFound``, ``ArtefactInvalid``."""
        return load_model(self.blobs, merchant, version)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Sync the log and release everything."""
        self._stack.close()


def build(
    settings: Settings, *, clock: Clock | None = None, progress: Callable[[int], None] = lambda position: None
) -> Installation:
    """Take the data folder, open its stores and recover the merchants from the newest snapshot and the log's tail.

    Raises
    ------
    DataFolderLocked
        If another process owns the folder.
    LogCorrupt
        If the log is damaged before its tail.
    """
    with ExitStack() as stack:
        settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        stack.enter_context(lock_folder(settings.data))
        generations = Generations(settings.data)
        generations.clean()
        secrets = FolderSecrets(settings.data / "secrets")
        log = open_log(settings)
        stack.callback(log.close)
        documents = open_documents(settings)
        stack.callback(documents.close)
        blobs = open_blobs(settings)
        # Held, so that a model that was staged on another thread is at hand when its event is applied.
        held = lru_cache(maxsize=_HELD_MODELS)(partial(load_model, blobs))
        tables = open_tables(blobs)
        derived = open_derived(settings, blobs)
        writer = Writer(log, held, secrets.merchant, tables.load, Stages(derived, log))
        writer.tables_version = tables.current()
        with _no_cycles():
            writer.recover(progress, open_snapshots(derived, log).newest(held))
        for version in {merchant.tables_version for merchant in writer.merchants.values()}:
            tables.load(version)
        return Installation(
            settings=settings,
            generation=generations.current,
            log=log,
            documents=documents,
            blobs=blobs,
            writer=writer,
            administration=Administration(
                writer, documents, blobs, secrets.new_secret, open_webhooks(settings, documents)
            ),
            clock=clock or SystemClock(),
            secrets=secrets,
            _stack=stack.pop_all(),
        )


@contextmanager
def _no_cycles() -> Iterator[None]:
    """Do work that makes no cycles, and in which looking for them takes a sixth of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def load_model(blobs: Blobs, merchant: str, version: str) -> Model:
    """Load a model from the blobs, ready to score. Raises as :func:`load_artefact`."""
    return Model(load_artefact(blobs, merchant, version))


def load_artefact(blobs: Blobs, merchant: str, version: str) -> Artefact:
    """Read a model from the blobs; a sandbox twin's are its owner's. Raises ``NotFound``, ``ArtefactInvalid``."""
    return Artefact.from_bytes(blobs.get(owner_of(merchant), MODEL_BLOB.format(version=version)))


def keep_model(blobs: Blobs, merchant: str, artefact: Artefact) -> None:
    """Store a model among the blobs."""
    blobs.put(merchant, MODEL_BLOB.format(version=artefact.version), artefact.to_bytes())


def open_log(settings: Settings, *, readonly: bool = False) -> Log:
    """Open the log that the settings name, of the generation that counts; what was removed of it is read from the
    archive. Raises ``BadInput`` for one that does not lie here.
    """
    need_files(settings)
    if _scheme("log", settings.log, ("file", "memory")) == "memory":
        return MemoryLog()
    log = FileLog(_home(settings) / "log", readonly=readonly)
    return WholeLog(log, lambda: open_derived(settings, open_blobs(settings)))


def need_files(settings: Settings) -> None:
    """Raise ``BadInput`` for a log in Kafka, and say where it stands what to do instead."""
    if settings.log.startswith("kafka:"):
        raise BadInput(
            "this command needs a log in files: docs/how-to/cluster.md, 'Commands', says what does its work over Kafka",
            field="log", expected="file:", got="kafka:",
        )  # fmt: skip


def open_documents(settings: Settings) -> Documents:
    """Open the document store that the settings name; what it holds, threads may decode from here on."""
    learn_types()
    match _scheme("documents", settings.documents, ("sqlite", "memory", "mongodb", "mongodb+srv")):
        case "memory":
            return MemoryDocuments()
        case "sqlite":
            return SqliteDocuments(settings.data / "documents.sqlite")
    with extra("mongodb"):
        from avalist.adapters.mongo.documents import MongoDocuments
    return MongoDocuments(settings.documents)


def open_blobs(settings: Settings) -> Blobs:
    """Open the blob store that the settings name: the models."""
    match _scheme("blobs", settings.blobs, ("folder", "memory", "s3")):
        case "memory":
            return MemoryBlobs()
        case "folder":
            return FolderBlobs(settings.data / "blobs")
    with extra("s3"):
        from avalist.adapters.s3.blobs import S3Blobs
    return S3Blobs(settings.blobs)


def open_tables(blobs: Blobs) -> StoredTables:
    """Return the reference tables among blobs; of those that are missing a warning is logged."""
    return StoredTables(blobs, logging.getLogger("avalist").warning)


def open_derived(settings: Settings, blobs: Blobs) -> Blobs:
    """Return the blobs that are made of the log, snapshots and archive: of the generation that counts.

    Those of the first lie among `blobs`.
    """
    home = _home(settings)
    return blobs if home == settings.data else FolderBlobs(home / "blobs")


def generation_of(settings: Settings) -> int:
    """Return the generation of the log that counts."""
    return Generations(settings.data).current


def _home(settings: Settings) -> Path:
    return Generations(settings.data).home(generation_of(settings))


def open_snapshots(blobs: Blobs, log: Log) -> Snapshots:
    """Return the snapshots of a log; of one that does not check out a warning is logged."""
    return Snapshots(blobs, log, logging.getLogger("avalist").warning)


def open_stages(settings: Settings, log: Log) -> Stages:
    """Return the states that are staged for merchants of the log that counts."""
    return Stages(open_derived(settings, open_blobs(settings)), log)


def open_follower(settings: Settings, log: Log, documents: Documents, blobs: Blobs) -> Follower:
    """Return a follower of the log that counts; it goes on where the last one was."""
    return follower_of(settings, log, documents, open_derived(settings, blobs), generation_of(settings))


def follower_of(
    settings: Settings, log: Log, documents: Documents, blobs: Blobs, generation: int = 1, *, part: str = "",
    per_mb: int = 1 << 20,
) -> Follower:  # fmt: skip
    """Return a follower of a log, which keeps its snapshots and archive in `blobs`.

    `part` tells one log of several from the others; `per_mb` is by how much positions grow in a MiB.
    """
    waves = WaveDocuments(documents, log.end, generation, part)
    stages = Stages(blobs, log)
    states = MerchantStates(
        open_snapshots(blobs, log),
        backfill_from(log.read, stages.load),
        log_bytes=settings.snapshot_log_mb * per_mb,
        seconds=settings.snapshot_s,
        waves=waves,
        stages=stages,
    )
    explainer = Explainer(partial(load_artefact, open_blobs(settings)))
    folds: list[Fold] = [
        DecisionDocuments(documents, states.merchants, log.end, explainer, generation, part),
        waves,
        VaultFold(open_vault(settings, documents), documents, log.end, generation, part),
        WebhookFold(open_webhooks(settings, documents), documents, log.end, generation, part),
    ]
    try:
        archive = open_archive(blobs, log)
        folds.append(ArchiveFold(archive, log_bytes=settings.archive_log_mb * per_mb, seconds=settings.archive_s))
        waves.begin(states.position, states.merchants, lambda merchant: archive.read(merchant=merchant))
    except LogCorrupt as error:  # decisions, documents and snapshots do not need it
        logging.getLogger("avalist").warning("nothing is archived: %s", error)
        waves.begin(states.position, states.merchants, lambda merchant: log.read())
    learning = LearningFold(documents, states.merchants, log.end, generation, part)
    return Follower(log, states, learning, *folds)


def projections(generation: int, part: str = "") -> dict[str, tuple[str, ...]]:
    """Return what documents are made of the log: the mark of each fold, with the collections that it alone writes.

    `part` tells one log of several from the others. Standings are among them without a collection:
    they are written over, beside what trainings note.
    """
    return {
        folded(generation) + part: (DECISIONS, REVIEWS),
        waves_mark(generation) + part: (WAVES, ALERTS),
        mark_of(generation) + part: (),
    }


class NextGeneration:
    """A generation that is written beside the one that counts: first `log`, then :meth:`follower`, :meth:`switch`."""

    def __init__(self, here: Installation, generations: Generations) -> None:
        self._here, self._generations = here, generations
        self.number, self._folder = generations.begin()
        marks = folded(self.number), folded(self.number, VAULT_MARK), mark_of(self.number)
        for mark in marks:  # else those of one that was killed
            here.documents.put_many([], mark=(mark, 0))
        self.log = FileLog(self._folder / "log")

    def follower(self) -> Follower:
        """Return a follower that folds the new log into documents, snapshots and archive of its own."""
        here, blobs = self._here, FolderBlobs(self._folder / "blobs")
        told = folded(self.number, WEBHOOK_MARK), self.log.end  # what was, is not news
        here.documents.put_many([], mark=told)
        return follower_of(here.settings, self.log, here.documents, blobs, self.number)

    def switch(self) -> None:
        """Close the log and let the generation count; the installation still has the old one open: close it too."""
        self.log.close()
        self._generations.switch(self.number)


@contextmanager
def next_generation(here: Installation) -> Iterator[NextGeneration]:
    """Begin the next generation. Where it is left without a switch, nothing of it remains."""
    if here.settings.log.partition(":")[0] != "file":
        raise BadInput("only a log in files has generations", field="log", expected="file:", got=here.settings.log)
    generations = Generations(here.settings.data)
    begun = NextGeneration(here, generations)
    try:
        yield begun
    finally:
        begun.log.close()
        generations.clean()


def open_vault(settings: Settings, documents: Documents) -> Vault:
    """Return the vault in a store of documents. Raises ``BadInput`` for a retention that is none."""
    secrets, days = FolderSecrets(settings.data / "secrets"), days_of(settings.vault_retention_d)
    warn = logging.getLogger("avalist").warning
    return Vault(documents, secrets.merchant, days, warn, open_day_keys(settings).unwrap)


@contextmanager
def vault_of(settings: Settings, merchant: str) -> Iterator[Vault]:
    """Open the vault for questions about one merchant. Raises ``NotFound`` for one that has no secret here: a slip of
    the pen would be a person of whom nothing is kept.
    """
    if not has_secret(settings.data / "secrets", merchant):
        raise NotFound(f"{settings.data} holds no secret of a merchant {merchant!r}: look at its name, and at --data")
    with closing(open_documents(settings)) as documents:
        yield open_vault(settings, documents)


def open_day_keys(settings: Settings) -> DayKeys:
    """Return the keys by which sealed parts over Kafka end."""
    return DayKeys(settings.data / "secrets" / "days", SystemClock())


def open_tracer(settings: Settings, service: str) -> Tracer | None:
    """Return what tells a collector of this process's spans; None where traces are off, as they are by default."""
    named = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    wanted = settings.traces or any(os.environ.get(name) for name in named)
    never = (
        os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or os.environ.get("OTEL_TRACES_EXPORTER") == "none"
    )
    if not wanted or never:
        return None
    with extra("traces"):
        from avalist.adapters.otel.tracer import OtelTracer
    return OtelTracer.to_collector(service, settings.traces)


def open_webhooks(settings: Settings, documents: Documents) -> Webhooks:
    """Return the merchants' webhooks in a store of documents."""
    secrets = FolderSecrets(settings.data / "secrets")
    return Webhooks(documents, secrets.merchant, secrets.new_bytes, private=settings.webhook_private)


def open_notifier(settings: Settings, documents: Documents, note: Noted = untold) -> Notifier:
    """Return what sends to webhooks what a follower queued for them; `note` is told of dead letters."""
    return Notifier(open_webhooks(settings, documents), Calls(private=settings.webhook_private), note)


def open_batch(settings: Settings) -> Batch:
    """Return what works on many merchants: processes of this machine, or a Ray cluster."""
    _, _, rest = settings.batch.partition(":")
    if _scheme("batch", settings.batch, ("processes", "ray")) == "processes":
        if not rest.isdecimal() or not int(rest):
            raise BadInput("not a number of processes", field="batch", expected="processes:2", got=rest[:16])
        return Processes(int(rest))
    with extra("ray"):
        from avalist.adapters.ray.batch import RayBatch
    return RayBatch(settings.batch if rest.startswith("//") else rest)


def open_archive(blobs: Blobs, log: Log) -> Archive:
    """Open the archive of a log. Raises ``LogCorrupt``."""
    return Archive(blobs, log)


class Retained(NamedTuple):
    """A log in files and its archive, to read: `needed` says from which position on the log is needed, by what.

    `segments` are those that are whole, in `folder`.
    """

    folder: Path
    log: FileLog
    archive: Archive
    segments: list[segment.Segment]
    needed: dict[str, int]


@contextmanager
def open_retained(settings: Settings) -> Iterator[Retained]:
    """Open a log to see how much of it may be removed. Raises ``BadInput`` for one that does not lie in files."""
    if settings.log.partition(":")[0] != "file":
        raise BadInput(
            "only a log in files has segments; over Kafka the brokers keep the topic 'decisions' for ever",
            field="log", expected="file:", got=settings.log.partition(":")[0],
        )  # fmt: skip
    folder, generation = _home(settings) / "log", generation_of(settings)
    marks = {
        "the documents": folded(generation),
        "the vault": folded(generation, VAULT_MARK),
        "the webhooks": folded(generation, WEBHOOK_MARK),
        "the waves": waves_mark(generation),
        "the models' standings": mark_of(generation),
    }
    with closing(FileLog(folder, readonly=True)) as log, closing(open_documents(settings)) as documents:
        derived = open_derived(settings, open_blobs(settings))
        archive = open_archive(derived, log)
        needed = {"the archive": archive.last, "a snapshot": open_snapshots(derived, log).begin()}
        needed |= {what: documents.mark(mark) for what, mark in marks.items()}
        yield Retained(folder, log, archive, segment.whole(folder), needed)


def _scheme(field: str, url: str, known: tuple[str, ...]) -> str:
    scheme = url.partition(":")[0]
    if scheme not in known:
        expected = " or ".join(f"{k}:" for k in known)  # the URL may hold a password
        raise BadInput("no such backend for this command", field=field, expected=expected, got=f"{scheme}:")
    return scheme


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Import what an optional dependency brings."""
    try:
        yield
    except ImportError as error:
        raise BadInput(
            f"this backend needs a package that is not here ({error}): pip install 'avalist[{name}]'"
        ) from None

"""The wiring of the roles over Kafka, each a process of its own: gateway, decider, follower, trainer, notifier."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from operator import ge
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from avalist.adapters.clock import SystemClock
from avalist.adapters.file.blobs import FolderBlobs
from avalist.adapters.file.log import FileLog
from avalist.adapters.file.secrets import FolderSecrets
from avalist.adapters.kafka.deadletters import DeadLetters
from avalist.adapters.kafka.deciders import KafkaDeciders
from avalist.adapters.kafka.ends import Ends
from avalist.adapters.kafka.inbox import KafkaInbox, KafkaShare
from avalist.adapters.kafka.log import KafkaLog, Writers
from avalist.adapters.kafka.outbox import KafkaOutbox
from avalist.adapters.kafka.reading import keys_in, offsets_at
from avalist.adapters.kafka.tail import KafkaTail
from avalist.adapters.kafka.topics import Topics, ensure
from avalist.api.asking import Office, Questions
from avalist.api.gateway import Gateway
from avalist.api.profiles import Profiles
from avalist.api.spooling import Spooling
from avalist.app import followed as saying
from avalist.app.administer import Administration, AdminRequest
from avalist.app.archive import Archive
from avalist.app.asked import partition_of
from avalist.app.deciding import Deciding, Measures, Noted, Opened
from avalist.app.learn import Tools
from avalist.app.network import network_prior
from avalist.app.partition import Partition
from avalist.app.stored import folded
from avalist.app.writer import Writer
from avalist.bootstrap import (
    follower_of,
    keep_model,
    load_model,
    open_blobs,
    open_day_keys,
    open_documents,
    open_snapshots,
    open_tables,
    open_tracer,
    open_webhooks,
)
from avalist.config import Settings
from avalist.domain.errors import BadInput
from avalist.domain.schema import DAY_MS
from avalist.follow.share import Followed, Following, Owning
from avalist.follow.vault import VAULT_MARK
from avalist.ports.asking import Turns
from avalist.ports.blobs import Blobs
from avalist.ports.documents import Documents

_HELD_MODELS: Final = 64
_LOG_S: Final = 20.0
_OPENING_THREADS: Final = 4
_NEWEST: Final = 5000
"""So many records a new owner has at hand: what is read twice, and retried, asks for those."""
_RECORDS_PER_MB: Final = 1024
"""A position is a record here, of about a KiB."""
_CLIENT: Final[dict[str, str | int | float | bool]] = {
    "client.id": "avalist",
    "log_level": 2,  # what matters is raised
    "reconnect.backoff.ms": 50,
    "reconnect.backoff.max.ms": 1000,
    "socket.nagle.disable": True,
    "socket.keepalive.enable": True,
    "topic.metadata.refresh.fast.interval.ms": 50,
}


@dataclass(frozen=True)
class Cluster:
    """What every role shares: the brokers, the topics, the stores."""

    settings: Settings
    client: dict[str, str | int | float | bool]
    topics: Topics
    documents: Documents
    blobs: Blobs
    secrets: FolderSecrets

    def share(self, group: str, turns: Turns, topic: str) -> KafkaShare:
        """Join a group of processes that share out the partitions of a topic."""
        return KafkaShare(
            self.client, topic, f"{self.topics.prefix}.{group}", turns,
            session_timeout_ms=self.settings.session_timeout_ms,
        )  # fmt: skip

    def tail(self, partition: int) -> KafkaTail:
        """Open a partition's log to read it."""
        return KafkaTail(self.client, self.topics.decisions, partition, timeout_s=_LOG_S)

    def blobs_of(self, partition: int) -> Blobs:
        """Return the blobs that are made of a partition's log: snapshots and archive."""
        if self.settings.blobs.startswith("s3:"):
            return open_blobs(msgspec.structs.replace(self.settings, blobs=below(self.settings.blobs, partition)))
        return FolderBlobs(self.settings.data / "partitions" / f"{partition:04d}")

    @contextmanager
    def past(self, partition: int) -> Iterator[Archive]:
        """Open a partition's archive and its log to read them."""
        with closing(self.tail(partition)) as log:
            yield Archive(self.blobs_of(partition), log)

    def partition_of(self, merchant: str) -> int:
        """Return the partition that holds a merchant's log."""
        return partition_of(merchant, self.settings.partitions)

    def folded(self, partition: int) -> int:
        """Return how far a partition's log is folded into the documents."""
        return self.documents.mark(folded(1) + part_of(partition))

    def merchants(self) -> list[str]:
        """Return every merchant, sorted: each has a profile."""
        return sorted(keys_in(self.client, self.topics.merchants))


def below(url: str, partition: int) -> str:
    """Return where a partition's blobs lie in an object storage, beside those of merchants: none is named so.

    >>> below("s3://bucket/avalist?region=eu-west-1", 3)
    's3://bucket/avalist/_partitions/0003?region=eu-west-1'
    """
    parts = urlsplit(url)
    return parts._replace(path=f"{parts.path.rstrip('/')}/_partitions/{partition:04d}").geturl()


@contextmanager
def open_cluster(settings: Settings) -> Iterator[Cluster]:
    """Connect to the brokers and open the stores; make the topics that are missing.

    Raises ``BadInput`` for settings that name no brokers, or other partitions than there are.
    """
    servers, prefix = _brokers(settings.log)
    client = {**_CLIENT, "bootstrap.servers": servers, **settings.kafka}
    topics = Topics(prefix, settings.partitions, settings.copies)
    ensure(client, topics)
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    with ExitStack() as stack:
        documents = open_documents(settings)
        stack.callback(documents.close)
        secrets = FolderSecrets(settings.data / "secrets")
        yield Cluster(settings, client, topics, documents, open_blobs(settings), secrets)


def _brokers(url: str) -> tuple[str, str]:
    scheme, _, rest = url.partition("://")
    servers, _, prefix = rest.partition("/")
    if scheme != "kafka" or not servers or not prefix:
        raise BadInput(
            "the roles need a log in Kafka", field="log", expected="kafka://host:port,host:port/name", got=url
        )
    return servers, prefix


@contextmanager
def open_gateway(cluster: Cluster) -> Iterator[Gateway]:
    """Open a gateway's service; its routes start and stop it."""
    settings, secrets, clock = cluster.settings, cluster.secrets, SystemClock()
    deciders, ends = (
        KafkaDeciders(cluster.client, cluster.topics),
        Ends(cluster.client, cluster.topics, cluster.folded),
    )
    spool = settings.data / "spool" / str(settings.port)
    grace_s = settings.fallback_grace_ms / 1000
    spooling = Spooling(deciders, partial(_open_spool, spool), partial(_clear_spool, spool), clock.now_ms, grace_s)
    service = Gateway(
        settings,
        Profiles(secrets.merchant, cluster.documents),
        deciders,
        spooling,
        cluster.documents,
        secrets.merchant,
        clock,
        secrets.admin_token(),
        secrets.metrics_token(),
        open_webhooks(settings, cluster.documents),
        ends,
    )
    service.tracer = open_tracer(settings, "avalist-gateway")
    with closing(ends):
        yield service


def _open_spool(folder: Path) -> FileLog:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return FileLog(folder / "log")


def _clear_spool(folder: Path) -> None:
    shutil.rmtree(folder / "log", ignore_errors=True)


@contextmanager
def open_decider(cluster: Cluster, note: Noted, measures: Measures) -> Iterator[Deciding]:
    """Join the deciders; leave them in peace at the end."""
    settings = cluster.settings
    with (
        ThreadPoolExecutor(_OPENING_THREADS, "opening") as executor,
        closing(Writers(cluster.client, _OPENING_THREADS)) as writers,
        closing(KafkaOutbox(cluster.client, cluster.topics)) as outbox,
    ):
        tracer = open_tracer(settings, "avalist-decider")
        deciding = Deciding(outbox, SystemClock(), partition_opener(cluster, writers), executor, note, tracer, measures)
        deciding.inbox = inbox = KafkaInbox(
            cluster.client, cluster.topics.events, f"{cluster.topics.prefix}.deciders", deciding,
            session_timeout_ms=settings.session_timeout_ms,
        )  # fmt: skip
        try:
            yield deciding
        finally:
            inbox.close()  # partitions are revoked, and so handed over
            deciding.close()
            if tracer is not None:
                tracer.close()


def partition_opener(cluster: Cluster, writers: Writers) -> Callable[[int], Opened]:
    """Return what opens a partition for its decider."""
    held = lru_cache(maxsize=_HELD_MODELS)(partial(load_model, cluster.blobs))
    tables = open_tables(cluster.blobs)
    wrap = open_day_keys(cluster.settings).wrap if cluster.settings.topic_sealed_d else None

    def open_partition(partition: int) -> Opened:
        log = KafkaLog(
            cluster.client, cluster.topics.decisions, partition, timeout_s=_LOG_S, producer=writers.take(), wrap=wrap
        )  # fmt: skip
        with ExitStack() as failed:
            failed.callback(log.close)
            log.remember(_NEWEST)
            writer = Writer(log, held, cluster.secrets.merchant, tables.load)
            writer.tables_version = tables.current()
            writer.recover(snapshot=open_snapshots(cluster.blobs_of(partition), log).newest(held))
            webhooks = open_webhooks(cluster.settings, cluster.documents)
            administration = Administration(
                writer, cluster.documents, cluster.blobs, cluster.secrets.new_secret, webhooks
            )
            failed.pop_all()
        return Opened(Partition(writer, administration, cluster.secrets.merchant, log), log)

    return open_partition


@contextmanager
def open_followers(cluster: Cluster, note: Noted) -> Iterator[Following]:
    """Join the followers; leave them in peace at the end."""
    following = Following(partial(follow_partition, cluster), note)
    following.share = share = cluster.share("followers", following, cluster.topics.decisions)
    try:
        yield following
    finally:
        share.close()
        following.close()


def follow_partition(cluster: Cluster, partition: int) -> Followed:
    """Open a partition's log, and what folds it."""
    log = cluster.tail(partition)
    with ExitStack() as failed:
        failed.callback(log.close)
        follower = follower_of(
            cluster.settings, log, cluster.documents, cluster.blobs_of(partition), part=part_of(partition),
            per_mb=_RECORDS_PER_MB,
        )  # fmt: skip
        there = log.durable_end
        failed.pop_all()
    return Followed(log, follower, there)


class Standing(NamedTuple):
    """A partition's log: where it ends, up to where it is archived, and what the follower said last."""

    partition: int
    end: int
    archived: int
    followed: saying.Followed | None


def standings(cluster: Cluster) -> Iterator[Standing]:
    """Yield how far each partition is."""
    for partition in range(cluster.settings.partitions):
        with cluster.past(partition) as archive:
            told = saying.told(cluster.documents, part_of(partition))
            yield Standing(partition, archive.log_end, archive.end, told)


def destroy_day_keys(cluster: Cluster, now_ms: int) -> int:
    """Destroy the keys of days that are over for long enough, once the vault holds what they opened; return how many.

    A day's records came before the end of the next one, by the brokers' clock.
    """
    settings, keys = cluster.settings, open_day_keys(cluster.settings)
    before = now_ms // DAY_MS - settings.topic_sealed_d
    if not settings.topic_sealed_d or not any(day < before for day in keys.days()):
        return 0
    ends = offsets_at(cluster.client, cluster.topics.decisions, settings.partitions, (before + 1) * DAY_MS)
    marks = [cluster.documents.mark(folded(1, VAULT_MARK) + part_of(partition)) for partition in range(len(ends))]
    return keys.destroy(before) if all(map(ge, marks, ends)) else 0


def part_of(partition: int) -> str:
    """Return by what a partition's log is told from the others in documents."""
    return f"/{partition}"


@contextmanager
def open_owning(
    cluster: Cluster, group: str, note: Noted, leave: Callable[[Callable[[str], bool]], None]
) -> Iterator[Owning]:
    """Join those who work for merchants without writing their log, such as trainers; leave them in peace at the end."""
    owning = Owning(cluster.settings.partitions, note, leave)
    owning.share = share = cluster.share(group, owning, cluster.topics.decisions)
    try:
        yield owning
    finally:
        share.close()


@contextmanager
def open_tools(settings: Settings, merchant: str) -> Iterator[Tools]:
    """Open what the work on a merchant's models needs: its log to read, and deciders who log what comes of it."""
    with open_cluster(settings) as cluster, cluster.past(cluster.partition_of(merchant)) as archive:
        yield Tools(
            read=lambda: archive.read(merchant=merchant),
            load=partial(load_model, cluster.blobs, merchant),
            keep=partial(keep_model, cluster.blobs, merchant),
            carry_out=lambda request: asyncio.run(_carried_out(cluster, request)),
            documents=cluster.documents,
            now_ns=time.perf_counter_ns,
            budget_s=float(settings.train_budget_s),
            part=part_of(cluster.partition_of(merchant)),
            network=network_prior(cluster.blobs),
        )


async def _carried_out(cluster: Cluster, request: AdminRequest) -> dict[str, Any]:
    """Have a request carried out by the decider that owns the merchant, asked as gateways ask."""
    deciders, questions = KafkaDeciders(cluster.client, cluster.topics), Questions()
    try:
        deciders.start(questions.name, questions.settle, None)
        office = Office(deciders, questions, cluster.secrets.merchant)
        return await office.administer(request, SystemClock().now_ms())
    finally:
        deciders.close()


def open_dead_letters(cluster: Cluster) -> DeadLetters:
    """Return the messages that could not be taken."""
    return DeadLetters(cluster.client, cluster.topics)

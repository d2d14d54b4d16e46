"""Settings: from the environment or the command line, checked once."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec

from avalist.domain.errors import BadInput

Natural = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one installation runs. Each field is read from ``AVALIST_<NAME>``.

    Attributes
    ----------
    data
        Folder that holds everything; one process owns it.
    host, port
        Where the service listens. The default is loopback: put TLS and the world in front of it.
    log
        ``file:`` (segments in the data folder), ``memory:`` (tests; nothing survives), or
        ``kafka://host:port,host:port/name`` for ``avalist run``: brokers, and what the topics' names begin with.
    documents
        ``sqlite:`` (in the data folder), ``mongodb://host:port/database`` or ``memory:``.
    blobs
        ``folder:`` (in the data folder), ``s3://bucket/prefix`` or ``memory:``.
    batch
        Where work on many merchants is done: ``processes:2`` on this machine, ``ray:`` on processors of this machine,
        or ``ray://head:10001`` on a cluster.
    snapshot_log_mb, snapshot_s
        The follower takes a snapshot each so many MiB of log or seconds, whichever comes first.
    archive_log_mb, archive_s
        The follower archives each so many MiB of log or seconds, whichever comes first.
    vault_retention_d
        Days that personal fields are kept in the vault, by field of the event; ``*`` for the others, 0 for not at all.
    webhook_private
        Whether webhooks may lead to addresses that are not public, and be plain HTTP.
    train_budget_s
        A training that starts by itself grows trees for so long at most; 0: nothing is trained by itself.
    health_s
        Each so many seconds the merchants' health is checked; 0 is never.
    queue_limit
        Requests that may wait for the log; beyond it decisions fall back and other events get 429.
    body_limit_bytes
        Largest body of a decision; a batch of events may be 64 times as large.
    rate_limit_per_s
        Requests a second of one key that has no limit of its own; 0 is no limit.
    gateways
        Gateways that callers are spread over: each allows its part of what a key may send.
    partitions
        Partitions that merchants spread over, in Kafka; fixed when the topics are made.
    copies
        Brokers that keep each record; all but one of them must have it before an answer leaves.
    fallback_grace_ms
        How long past the deadline the brokers may take to have a gateway's fallback before it is spooled.
    topic_sealed_d
        Days until nobody can open the sealed parts in the topic ``decisions`` any more: their day's key is destroyed.
        0: it never is, and none is used.
    session_timeout_ms
        A role that owns partitions and is not heard for so long loses them to the others.
    traces
        Base URL of an OpenTelemetry collector, which is told of spans by OTLP over HTTP. Empty: off, unless one of the
        ``OTEL_EXPORTER_OTLP_…ENDPOINT`` variables names it.
    kafka
        More properties of librdkafka, such as TLS and passwords. Only in a configuration file.
    """

    data: Path = Path("avalist-data")
    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 8321
    log: str = "file:"
    documents: str = "sqlite:"
    blobs: str = "folder:"
    batch: str = "processes:2"
    snapshot_log_mb: Natural = 64
    snapshot_s: Natural = 300
    archive_log_mb: Natural = 64
    archive_s: Natural = 86_400
    vault_retention_d: str = "*=485"
    webhook_private: bool = False
    train_budget_s: Natural = 3600
    health_s: Natural = 21_600
    queue_limit: Positive = 1024
    body_limit_bytes: Positive = 262_144
    rate_limit_per_s: Natural = 10_000
    gateways: Positive = 1
    partitions: Positive = 12
    copies: Positive = 3
    fallback_grace_ms: Natural = 25
    topic_sealed_d: Natural = 30
    session_timeout_ms: Positive = 6_000
    traces: str = ""
    kafka: dict[str, str] = {}

    @property
    def url(self) -> str:
        """Return where the service answers."""
        return f"http://{self.host}:{self.port}"


_OF_CLIENTS = ("AVALIST_KEY", "AVALIST_URL")
_FILE = "AVALIST_CONFIG"


def settings_from(
    environment: Mapping[str, str] = os.environ, *, file: Path | None = None, **given: object
) -> Settings:
    """Return settings: what is `given` (and not None), else the environment, else the file, else the defaults.

    The file is `file`, else what ``AVALIST_CONFIG`` names.

    Raises
    ------
    BadInput
        For a variable ``AVALIST_…`` that names no setting, a value that does not fit, or a file that is no TOML.

    Examples
    --------
    >>> settings_from({"AVALIST_PORT": "9000"}).port
    9000
    """
    file = file or (Path(environment[_FILE]) if _FILE in environment else None)
    values = {} if file is None else _read(file)
    for name, value in environment.items():
        if name.startswith("AVALIST_") and name not in (*_OF_CLIENTS, _FILE):
            values[name.removeprefix("AVALIST_").lower()] = value
    values.update({name: value for name, value in given.items() if value is not None})
    try:
        return msgspec.convert(values, Settings, strict=False, dec_hook=lambda kind, value: kind(value))
    except msgspec.ValidationError as error:
        known = ", ".join(f"AVALIST_{f.upper()}" for f in Settings.__struct_fields__)
        field = "environment" if file is None else f"environment or {file}"
        raise BadInput(f"setting: {error}", field=field, expected=known) from None


def _read(file: Path) -> dict[str, object]:
    try:
        return tomllib.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise BadInput(
            f"no configuration file: {error}", field="--config", expected="a TOML file", got=str(file)
        ) from None

"""Settings: from the environment or the command line, checked once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from avalist.domain.errors import BadInput


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one installation runs. Each field is read from ``AVALIST_<NAME>``.

    Attributes
    ----------
    data
        Folder that holds everything; one process owns it.
    host, port
        Where the service listens. The default is loopback: put TLS and the world in front of it.
    log
        ``file:`` (segments in the data folder) or ``memory:`` (tests; nothing survives).
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
    queue_limit
        Requests that may wait for the log; beyond it decisions fall back and other events get 429.
    body_limit_bytes
        Largest body of a decision; a batch of events may be 64 times as large.
    rate_limit_per_s
        Requests a second of one key that has no limit of its own; 0 is no limit.
    """

    data: Path = Path("avalist-data")
    host: str = "127.0.0.1"
    port: int = 8321
    log: str = "file:"
    documents: str = "sqlite:"
    blobs: str = "folder:"
    batch: str = "processes:2"
    snapshot_log_mb: int = 64
    snapshot_s: int = 300
    archive_log_mb: int = 64
    archive_s: int = 86_400
    vault_retention_d: str = "*=485"
    webhook_private: bool = False
    queue_limit: int = 1024
    body_limit_bytes: int = 262_144
    rate_limit_per_s: int = 10_000

    @property
    def url(self) -> str:
        """Return where the service answers."""
        return f"http://{self.host}:{self.port}"


_OF_CLIENTS = ("AVALIST_KEY", "AVALIST_URL")


def settings_from(environment: Mapping[str, str] = os.environ, **given: object) -> Settings:
    """Return settings: what is `given` (and not None), else the environment, else the defaults.

    Raises
    ------
    BadInput
        For a variable ``AVALIST_…`` that names no setting, or a value that does not fit.

    Examples
    --------
    >>> settings_from({"AVALIST_PORT": "9000"}).port
    9000
    """
    values: dict[str, object] = {}
    for name, value in environment.items():
        if name.startswith("AVALIST_") and name not in _OF_CLIENTS:
            values[name.removeprefix("AVALIST_").lower()] = value
    values.update({name: value for name, value in given.items() if value is not None})
    try:
        return msgspec.convert(values, Settings, strict=False, dec_hook=lambda kind, value: kind(value))
    except msgspec.ValidationError as error:
        known = ", ".join(f"AVALIST_{f.upper()}" for f in Settings.__struct_fields__)
        raise BadInput(f"setting: {error}", field="environment", expected=known) from None

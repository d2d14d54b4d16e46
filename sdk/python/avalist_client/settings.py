"""What a client is told."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import msgspec

from avalist_client.fallback import Fallback, check_number
from avalist_client.version import CONTRACT, VERSION


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What both clients are told.

    `timeout_ms` bounds a decision as a whole, retries included; `other_timeout_ms` every other call. `attempts` is how
    often a request is sent at most. `service_deadline_ms` is the service's own deadline, sent as a header;
    without it the merchant's policy counts.
    """

    key: str
    url: str = "http://127.0.0.1:8321"
    timeout_ms: int = 250
    other_timeout_ms: int = 10_000
    attempts: int = 3
    fallback: Fallback | None = Fallback()
    service_deadline_ms: int | None = None
    check_cards: bool = True

    def __post_init__(self) -> None:
        """Check them. Raises ``ValueError``."""
        if not isinstance(self.key, str) or not re.fullmatch("[!-~]+", self.key):
            raise ValueError("key: expected the text that 'avalist merchant key' printed")
        if urlsplit(self.url).scheme not in ("http", "https") or not urlsplit(self.url).hostname:
            raise ValueError(f"url: expected http://host:port or https://host, got {self.url!r}")
        for name in ("timeout_ms", "other_timeout_ms", "attempts"):
            check_number(name, getattr(self, name), 1, 2**31 - 1)
        if self.service_deadline_ms is not None:
            check_number("service_deadline_ms", self.service_deadline_ms, 1, 10_000)

    def __repr__(self) -> str:
        """Return what was told, without the key: logs and tracebacks repeat it."""
        shown = (f"{name}={getattr(self, name)!r}" for name in self.__struct_fields__ if name != "key")
        return f"Settings(key='***', {', '.join(shown)})"

    def headers(self) -> dict[str, str]:
        """Return the headers of every request."""
        deadline = {} if self.service_deadline_ms is None else {"Avalist-Deadline-Ms": str(self.service_deadline_ms)}
        return {
            "Authorization": f"Bearer {self.key}",
            "Avalist-Version": CONTRACT,
            "Content-Type": "application/json",
            "User-Agent": f"avalist-client-python/{VERSION}",
            **deadline,
        }

"""What the two clients have in common: what they are told, and what they keep."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Generic, TypeVar

import httpx

from avalist_client.fallback import Fallback
from avalist_client.outbox import Outbox
from avalist_client.protocol import Lost, Protocol, Request
from avalist_client.settings import Settings

H = TypeVar("H", httpx.Client, httpx.AsyncClient)
_log = logging.getLogger("avalist_client")

# The service closes a connection that is idle for five seconds: the client is faster, so that none is lost on the way.
LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=4.0)


class Client(Generic[H]):
    """A client of one merchant.

    Parameters
    ----------
    key
        What ``avalist merchant key`` printed.
    url
        Where the service is.
    timeout_ms
        The deadline of a decision as a whole: connecting, retries and all.
    other_timeout_ms
        The same for every other call.
    attempts
        How often a request is sent at most; always the same bytes, so that it counts once.
    fallback
        The answer where the service gives none in time; ``None``: raise instead.
    outbox
        Payments that were answered locally are sent as events later: ``True`` keeps them in memory until then, a path
        in a file that outlives the process, ``False`` sends nothing.
    outbox_limit
        How many wait at most; beyond, the oldest are dropped.
    service_deadline_ms
        How long the service itself may take before its own fallback answers; by default the merchant's policy says.
    check_cards
        Whether to refuse card numbers before anything is sent.
    http
        An ``httpx`` client of yours, for a proxy or a private certificate authority. You close it.
    """

    def __init__(
        self,
        key: str,
        url: str = "http://127.0.0.1:8321",
        *,
        timeout_ms: int = 250,
        other_timeout_ms: int = 10_000,
        attempts: int = 3,
        fallback: Fallback | None = Fallback(),  # noqa: B008  it is frozen
        outbox: bool | str | Path = True,
        outbox_limit: int = 10_000,
        service_deadline_ms: int | None = None,
        check_cards: bool = True,
        http: H | None = None,
    ) -> None:
        self._settings = Settings(
            key=key,
            url=url.rstrip("/"),
            timeout_ms=timeout_ms,
            other_timeout_ms=other_timeout_ms,
            attempts=attempts,
            fallback=fallback,
            service_deadline_ms=service_deadline_ms,
            check_cards=check_cards,
        )
        self._outbox = Outbox(None if outbox is True else outbox, outbox_limit) if outbox is not False else None
        self._protocol = Protocol(self._settings, self._outbox)
        self._headers = self._settings.headers()
        self._closing, self._lock = threading.Event(), threading.Lock()
        self._own_http = http is None
        self._http: H = http if http is not None else self._connect()
        self._wake()

    def _connect(self) -> H:
        raise NotImplementedError

    def _wake(self) -> None:
        raise NotImplementedError

    @property
    def waiting(self) -> int:
        """Return how many payments that were answered locally wait to be sent."""
        return 0 if self._outbox is None else len(self._outbox)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(url={self._settings.url!r})"

    def _url(self, request: Request) -> str:
        return self._settings.url + request.path

    def _lost_closed(self) -> Lost:
        """Return what came of a request of a client that was closed meanwhile; raise an error that is another's."""
        if not self._http.is_closed:
            raise
        return Lost("the client is closed")

    def _close_outbox(self) -> None:
        if self.waiting:
            _log.warning("%d payments that were answered locally are not sent yet", self.waiting)
        if self._outbox is not None:
            self._outbox.close()

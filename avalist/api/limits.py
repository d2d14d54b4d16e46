"""Who calls, and how often it may: one token bucket a key."""

from __future__ import annotations

import math
from typing import Final

from avalist.domain.errors import NotAllowed, RateLimited
from avalist.domain.keys import ApiKey, KeyScope

WINDOW_MS: Final = 1000


class Caller:
    """A key in use. Its bucket holds one second's worth of requests and fills evenly; a limit of 0 is none.

    Kept as the instant at which the bucket will be full again (generic cell rate algorithm): one number a key.

    >>> key = ApiKey(merchant="shop", kind="live", hash="0" * 64, issued_at_ms=0)
    >>> caller = Caller(key, 2)
    >>> caller.take(0); caller.take(0); caller.headers(0)[1]
    (b'ratelimit', b'"key";r=0;t=1')
    >>> caller.take(400)
    Traceback (most recent call last):
    avalist.domain.errors.RateLimited: the key may send 2 requests a second: retry after a second
    >>> caller.take(500)
    """

    __slots__ = ("_cost_ms", "_full_at_ms", "_limit", "_policy", "granted", "key")

    def __init__(self, key: ApiKey, limit_per_s: int) -> None:
        self.key = key
        self.granted = frozenset(key.granted)
        self._limit = limit_per_s if key.rate_per_s is None else key.rate_per_s
        self._cost_ms = WINDOW_MS / self._limit if self._limit else 0.0
        self._full_at_ms = 0.0
        self._policy = (b"ratelimit-policy", b'"key";q=%d;w=%d' % (self._limit, WINDOW_MS // 1000))

    def admit(self, need: KeyScope, at_ms: int) -> None:
        """Take one token. Raises ``RateLimited``, and ``NotAllowed`` if the key lacks the scope `need`."""
        self.take(at_ms)
        self.check(need)

    def check(self, need: KeyScope) -> None:
        """Raise ``NotAllowed`` if the key lacks the scope `need`."""
        if need not in self.granted:
            raise NotAllowed(f"the key {self.key.prefix}… lacks the scope {need}; it has {', '.join(self.key.granted)}")

    def take(self, at_ms: int) -> None:
        """Take one token. Raises ``RateLimited``."""
        full_at_ms = max(self._full_at_ms, at_ms) + self._cost_ms
        if full_at_ms - at_ms > WINDOW_MS + 1e-6 and self._limit:
            raise RateLimited(f"the key may send {self._limit} requests a second: retry after a second")
        self._full_at_ms = full_at_ms

    def headers(self, at_ms: int) -> list[tuple[bytes, bytes]]:
        """Return the limit and what is left of it, as draft-ietf-httpapi-ratelimit-headers-10 names them."""
        if not self._limit:
            return []
        owed_ms = max(self._full_at_ms - at_ms, 0.0)
        left = int((WINDOW_MS - owed_ms + 1e-6) / self._cost_ms)
        return [self._policy, (b"ratelimit", b'"key";r=%d;t=%d' % (left, math.ceil(owed_ms / 1000)))]

"""Who calls, and how often it may: one token bucket a key."""

from __future__ import annotations

from typing import Final

from avalist.domain.errors import NotAllowed, RateLimited
from avalist.domain.keys import ApiKey, KeyScope

_WINDOW_MS: Final = 1000
_FULL_MS: Final = _WINDOW_MS + 1e-3  # so that rounding denies nobody its last token


class Caller:
    """A key in use. Its bucket holds one second's worth of requests and fills evenly; a limit of 0 is none. Of several
    `gateways` each allows its part, rounded up.

    Kept as the instant at which the bucket will be full again (generic cell rate algorithm): one number a key.

    >>> key = ApiKey(merchant="shop", kind="live", hash="0" * 64, issued_at_ms=0)
    >>> caller = Caller(key, 2)
    >>> caller.take(0); caller.take(0); caller.headers(0)[1]
    (b'ratelimit', b'"key";r=0;t=1')
    >>> caller.take(400)
    Traceback (most recent call last):
    avalist.domain.errors.RateLimited: the key may send 2 requests a second: retry after a second
    >>> caller.take(500)
    >>> Caller(key, 10, gateways=3).headers(0)[0]
    (b'ratelimit-policy', b'"key";q=4;w=1')
    """

    __slots__ = ("_cost_ms", "_full_at_ms", "_limit", "_policy", "granted", "key")

    def __init__(self, key: ApiKey, limit_per_s: int, gateways: int = 1) -> None:
        self.key = key
        self.granted = frozenset(key.granted)
        self._limit = -(-(limit_per_s if key.rate_per_s is None else key.rate_per_s) // gateways)
        self._cost_ms = _WINDOW_MS / self._limit if self._limit else 0.0
        self._full_at_ms = 0.0
        self._policy = (b"ratelimit-policy", b'"key";q=%d;w=1' % self._limit)

    def admit(self, need: KeyScope, at_ms: int) -> None:
        """Take one token. Raises ``RateLimited``, and ``NotAllowed`` if the key lacks the scope `need`."""
        self.take(at_ms)
        self.need(need)

    def need(self, scope: KeyScope) -> None:
        """Raise ``NotAllowed`` if the key lacks the `scope`."""
        if scope not in self.granted:
            raise NotAllowed(
                f"the key {self.key.prefix}… lacks the scope {scope}; it has {', '.join(self.key.granted)}"
            )

    def take(self, at_ms: int) -> None:
        """Take one token at a time of a clock that never goes back. Raises ``RateLimited``."""
        full_at_ms = max(self._full_at_ms, at_ms)
        if full_at_ms + self._cost_ms > at_ms + _FULL_MS:
            self._full_at_ms = full_at_ms
            raise RateLimited(f"the key may send {self._limit} requests a second: retry after a second")
        self._full_at_ms = full_at_ms + self._cost_ms

    def headers(self, at_ms: int) -> list[tuple[bytes, bytes]]:
        """Return the limit and what is left of it, as draft-ietf-httpapi-ratelimit-headers-10 names them."""
        if not self._limit:
            return []
        owed_ms = self._full_at_ms - at_ms
        if owed_ms <= 0:
            return [self._policy, (b"ratelimit", b'"key";r=%d;t=0' % self._limit)]
        return [self._policy, (b"ratelimit", b'"key";r=%d;t=1' % max((_FULL_MS - owed_ms) / self._cost_ms, 0))]

"""Sealing: clear personal fields are encrypted before they reach the log; ``decide()`` never reads them."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from avalist.domain.events import from_ms
from avalist.domain.schema import DAY_MS

Secret = Callable[[str], bytes]
"""merchant -> its 32-byte secret, which keys hashes and seals."""


@functools.lru_cache(maxsize=256)
def _nonces(secret: bytes) -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=12, key=secret)


@functools.lru_cache(maxsize=1024)
def _cipher(secret: bytes, day: int) -> AESGCM:
    """Return the cipher of the month that a day since 1970 lies in."""
    return _cipher_of(secret, f"{from_ms(day * DAY_MS):%Y-%m}")


@functools.lru_cache(maxsize=256)
def _cipher_of(secret: bytes, month: str) -> AESGCM:
    return AESGCM(hashlib.blake2b(month.encode(), digest_size=32, key=secret, person=b"avalist-sealed").digest())


def seal(secret: bytes, at_ms: int, name: bytes, clear: bytes) -> bytes:
    """Encrypt `clear` under the merchant's key of the month (AES-256-GCM).

    `name` identifies the content (merchant, seq and content digest): the nonce is drawn from it, so the function is
    pure and equal nonces mean equal plaintexts.

    >>> unseal(b"k" * 32, 0, seal(b"k" * 32, 0, b"m/1", b"ann@example.com"))
    b'ann@example.com'
    """
    (sealed,) = seal_all(secret, (at_ms,), (name,), (clear,))
    return sealed


def seal_all(secret: bytes, ats: Sequence[int], names: Sequence[bytes], clears: Sequence[bytes]) -> list[bytes]:
    """Encrypt many as :func:`seal` does one."""
    nonces, sealed = _nonces(secret), []
    day: int | None = None
    for at_ms, name, clear in zip(ats, names, clears, strict=True):
        if at_ms // DAY_MS != day:
            day = at_ms // DAY_MS
            encrypt = _cipher(secret, day).encrypt
        drawn = nonces.copy()  # a new one would cost twice as much
        drawn.update(name)
        nonce = drawn.digest()
        sealed.append(nonce + encrypt(nonce, clear, None))
    return sealed


def unseal(secret: bytes, at_ms: int, sealed: bytes) -> bytes:
    """Decrypt what :func:`seal` made. Raises ``cryptography.exceptions.InvalidTag`` if it was altered."""
    return _cipher(secret, at_ms // DAY_MS).decrypt(sealed[:12], sealed[12:], None)

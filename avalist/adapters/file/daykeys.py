"""A key for each day: what it encrypts can be opened until the key is destroyed, and then by nobody."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from avalist.adapters.file.blobs import sync_folder
from avalist.adapters.file.secrets import FolderSecrets
from avalist.domain.schema import DAY_MS
from avalist.ports.clock import Clock

_WRAPPED: Final = b"av/day\x01"
_DAY_BYTES, _NONCE_BYTES = 4, 12
_HEAD: Final = len(_WRAPPED) + _DAY_BYTES
_HELD_MS: Final = 3_600_000
"""So long a process takes a key for granted: one that was destroyed must not be used again."""


class DayKeys:
    """The keys in a folder that all processes of an installation share.

    What is wrapped names its day: magic, day since 1970 (4 bytes, big-endian), nonce (12), AES-256-GCM.
    """

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder, self._clock = folder, clock
        self._kept = FolderSecrets(folder)
        self._held: tuple[int, int, AESGCM] = (-1, 0, AESGCM(bytes(32)))

    def wrap(self, clear: bytes) -> bytes:
        """Encrypt under today's key, which is made where there is none. Raises ``Unavailable``."""
        day, nonce = self._clock.now_ms() // DAY_MS, secrets.token_bytes(_NONCE_BYTES)
        head = _WRAPPED + day.to_bytes(_DAY_BYTES, "big")
        return head + nonce + self._today(day).encrypt(nonce, clear, head)

    def unwrap(self, wrapped: bytes) -> bytes | None:
        """Decrypt what :meth:`wrap` made; None where the day's key is destroyed. What was never wrapped comes back."""
        if not wrapped.startswith(_WRAPPED):
            return wrapped
        head, nonce = wrapped[:_HEAD], wrapped[_HEAD : _HEAD + _NONCE_BYTES]
        try:
            key = self._path(int.from_bytes(head[len(_WRAPPED) :], "big")).read_bytes()
            return AESGCM(key).decrypt(nonce, wrapped[_HEAD + _NONCE_BYTES :], head)
        except (FileNotFoundError, InvalidTag):
            return None

    def days(self) -> Iterator[int]:
        """Yield the days since 1970 that have a key."""
        for path in sorted(self._folder.glob("day-*.key")):
            yield int(path.stem.removeprefix("day-"))

    def destroy(self, before: int) -> int:
        """Destroy the keys of the days before one; return how many."""
        old = [day for day in self.days() if day < before]
        for day in old:
            with suppress(FileNotFoundError):  # another process was first
                path = self._path(day)
                with path.open("r+b") as file:  # else the disk may keep it
                    file.write(bytes(32))
                    os.fsync(file.fileno())
                path.unlink()
        if old:
            sync_folder(self._folder)
        return len(old)

    def _today(self, day: int) -> AESGCM:
        held, until_ms, cipher = self._held
        if held != day or self._clock.steady_ms() >= until_ms:
            cipher = AESGCM(self._kept.kept(self._path(day).name))
            self._held = day, self._clock.steady_ms() + _HELD_MS, cipher
        return cipher

    def _path(self, day: int) -> Path:
        return self._folder / f"day-{day:06d}.key"

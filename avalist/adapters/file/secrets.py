"""Secrets in the data folder, readable by its owner alone."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from avalist.adapters.file.blobs import sync_folder
from avalist.domain.errors import Unavailable

SECRET_BYTES = 32


def has_secret(folder: Path, merchant: str) -> bool:
    """Tell whether a folder of secrets has a merchant's; none is made."""
    return (folder / f"{merchant}.key").is_file()


class FolderSecrets:
    """Merchant secrets (32 random bytes each, durable before they are first used) and the operator's tokens.

    Raises ``Unavailable`` for an error of the file system.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, bytes] = {}
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def merchant(self, merchant: str) -> bytes:
        """Return a merchant's secret."""
        if merchant not in self._held:
            self._held[merchant] = self._read_or_make(f"{merchant}.key")
        return self._held[merchant]

    def admin_token(self) -> str:
        """Return the token that lets its holder administer this installation."""
        return self._read_or_make("admin.token").hex()

    def metrics_token(self) -> str:
        """Return the token that lets its holder read the metrics; its file is text, as a scraper wants it."""
        return self._read_or_make("metrics.token", lambda: secrets.token_hex(SECRET_BYTES).encode()).decode()

    def new_secret(self) -> str:
        """Draw the random part of an API key."""
        return secrets.token_urlsafe(SECRET_BYTES)

    def new_bytes(self) -> bytes:
        """Draw a secret to sign with."""
        return secrets.token_bytes(SECRET_BYTES)

    def kept(self, name: str) -> bytes:
        """Return the secret in a file, made where there is none."""
        return self._read_or_make(name)

    def _read_or_make(self, name: str, make: Callable[[], bytes] = lambda: secrets.token_bytes(SECRET_BYTES)) -> bytes:
        path = self._folder / name
        try:
            return path.read_bytes() if path.exists() else self._make(path, make)
        except OSError as error:
            raise Unavailable(
                f"secrets in {self._folder}: {error.strerror or error}; check the disk and its permissions"
            ) from error

    def _make(self, path: Path, make: Callable[[], bytes]) -> bytes:
        descriptor, draft = tempfile.mkstemp(".draft", dir=self._folder)  # its owner's alone
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(make())
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):  # another process was first: its secret counts
                os.link(draft, path)
        finally:
            os.unlink(draft)
        sync_folder(self._folder)
        return path.read_bytes()

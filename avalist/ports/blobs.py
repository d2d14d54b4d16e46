"""Blobs: model artefacts, snapshots, archives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol


class Blobs(Protocol):
    """Immutable byte strings by merchant and name.

    Contract: ``put`` is atomic (a reader sees all or nothing) and durable when it returns; putting the same name again
    replaces it. ``get`` raises ``NotFound``. ``names`` yields in sorted order. ``delete`` of what is not there does
    nothing.
    """

    def put(self, merchant: str, name: str, data: bytes) -> None:
        """Store `data` under `name`."""
        ...

    def get(self, merchant: str, name: str) -> bytes:
        """Return the blob. Raises ``NotFound``."""
        ...

    def delete(self, merchant: str, name: str) -> None:
        """Delete the blob, if there is one."""
        ...

    def names(self, merchant: str, prefix: str = "") -> Iterator[str]:
        """Yield the names that start with `prefix`."""
        ...

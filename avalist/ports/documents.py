"""Documents: JSON by merchant, collection and id (architecture §7: projections and primaries)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol


class Documents(Protocol):
    """A document store. The merchant comes first in every call; no call sees another merchant's documents.

    Contract: ``put_many`` is atomic and replaces documents of the same id; with `mark` it stores the given position in
    the same transaction (exactly-once effect for folds), which ``mark`` reads back. ``get`` gives None for an unknown
    id. ``find`` yields newest first by insertion of the id, at most `limit`.
    """

    def put_many(
        self,
        rows: Iterable[tuple[str, str, str, bytes]],
        *,
        mark: tuple[str, int] | None = None,
    ) -> None:
        """Store ``(merchant, collection, id, json)`` rows, and the mark ``(name, position)``, in one transaction."""
        ...

    def get(self, merchant: str, collection: str, id: str) -> bytes | None:
        """Return one document's JSON, or None."""
        ...

    def find(self, merchant: str, collection: str, *, limit: int = 100) -> Iterator[tuple[str, bytes]]:
        """Yield ``(id, json)`` of a collection, newest first."""
        ...

    def mark(self, name: str) -> int:
        """Return the position stored with the last batch under `name`; 0 if none."""
        ...

    def clear(self, merchant: str, collection: str) -> None:
        """Delete one collection of one merchant."""
        ...

    def close(self) -> None:
        """Release every resource."""
        ...

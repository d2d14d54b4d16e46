"""Documents: JSON by merchant, collection and id (architecture §7: projections and primaries)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol


class Documents(Protocol):
    """A document store. The merchant comes first in every call; no call sees another merchant's documents.

    Contract: ``put_many`` is atomic and replaces documents of the same id; with `mark` it stores the given position in
    the same transaction (exactly-once effect for folds), which ``mark`` reads back. With `after` that is done only if
    the mark stands there: else another process went on meanwhile, nothing is stored, and ``Superseded`` is raised.
    ``get`` gives None for an unknown id. ``find`` yields newest first by insertion of the id, at most `limit`.

    A document may be found by keys too: an entry (key, at, id) of the same batch puts the document `id` under `key` at
    `at`, and stays; repeating it changes nothing. ``find_by`` yields the documents of a key by falling `at`.

    A document may have an end (ms since 1970): from then on it and its entries go, at the latest with the next
    ``sweep``. It keeps its end when it is put again without one. ``delete`` takes documents with their entries.
    """

    def put_many(
        self,
        rows: Iterable[tuple[str, str, str, bytes]],
        *,
        keys: Iterable[tuple[str, str, str, int, str]] = (),
        ends: Iterable[tuple[str, str, str, int]] = (),
        mark: tuple[str, int] | None = None,
        after: int | None = None,
    ) -> None:
        """Store ``(merchant, collection, id, json)`` rows, ``(merchant, collection, key, at, id)`` entries,
        ``(merchant, collection, id, at_ms)`` ends of these rows and the mark ``(name, position)`` in one transaction.
        Raises ``Superseded`` if the mark is not at `after`.
        """
        ...

    def get(self, merchant: str, collection: str, id: str) -> bytes | None:
        """Return one document's JSON, or None."""
        ...

    def find(self, merchant: str, collection: str, *, limit: int = 100) -> Iterator[tuple[str, bytes]]:
        """Yield ``(id, json)`` of a collection, newest first."""
        ...

    def find_by(
        self, merchant: str, collection: str, key: str, *, before: int | None = None, limit: int = 100
    ) -> Iterator[tuple[int, bytes]]:
        """Yield ``(at, json)`` of the documents under a key, with `at` below `before`, the highest first."""
        ...

    def mark(self, name: str) -> int:
        """Return the position stored with the last batch under `name`; 0 if none."""
        ...

    def delete(self, merchant: str, collection: str, ids: Iterable[str]) -> int:
        """Delete documents with their entries, those that are there; return how many."""
        ...

    def sweep(self, now_ms: int) -> int:
        """Delete every document whose end has come, of all merchants; return how many were still there."""
        ...

    def clear(self, merchant: str, collection: str) -> None:
        """Delete one collection of one merchant."""
        ...

    def close(self) -> None:
        """Release every resource."""
        ...

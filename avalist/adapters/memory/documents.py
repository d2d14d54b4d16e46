"""Documents in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice

from avalist.domain.errors import Superseded


class MemoryDocuments:
    """Keep documents in one dict per merchant and collection, in the order of their ids' insertion.

    >>> documents = MemoryDocuments()
    >>> documents.put_many([("m", "cases", "1", b"{}")], mark=("cases", 7))
    >>> documents.get("m", "cases", "1"), documents.get("other", "cases", "1"), documents.mark("cases")
    (b'{}', None, 7)
    """

    def __init__(self) -> None:
        self._collections: defaultdict[tuple[str, str], dict[str, bytes]] = defaultdict(dict)
        self._keys: defaultdict[tuple[str, str], defaultdict[str, set[tuple[int, str]]]]
        self._keys = defaultdict(lambda: defaultdict(set))
        self._ends: defaultdict[tuple[str, str], dict[str, int]] = defaultdict(dict)
        self._marks: dict[str, int] = {}

    def put_many(
        self,
        rows: Iterable[tuple[str, str, str, bytes]],
        *,
        keys: Iterable[tuple[str, str, str, int, str]] = (),
        ends: Iterable[tuple[str, str, str, int]] = (),
        mark: tuple[str, int] | None = None,
        after: int | None = None,
    ) -> None:
        """Store all rows, entries, ends and the mark, or none if one of the iterables raises."""
        batch, entries, due = list(rows), list(keys), list(ends)
        if mark is not None and after not in (None, self.mark(mark[0])):
            raise Superseded(f"{mark[0]} is at {self.mark(mark[0])} and not at {after}: another process went on")
        for merchant, collection, id, json in batch:
            self._collections[merchant, collection][id] = json
        for merchant, collection, key, at, id in entries:
            self._keys[merchant, collection][key].add((at, id))
        for merchant, collection, id, at in due:
            self._ends[merchant, collection][id] = at
        if mark is not None:
            self._marks[mark[0]] = mark[1]

    def get(self, merchant: str, collection: str, id: str) -> bytes | None:
        """Return one document's JSON, or None."""
        return self._collections[merchant, collection].get(id)

    def find(self, merchant: str, collection: str, *, limit: int = 100) -> Iterator[tuple[str, bytes]]:
        """Yield ``(id, json)``, newest first."""
        return islice(reversed(list(self._collections[merchant, collection].items())), max(limit, 0))

    def find_by(
        self, merchant: str, collection: str, key: str, *, before: int | None = None, limit: int = 100
    ) -> Iterator[tuple[int, bytes]]:
        """Yield ``(at, json)`` of the documents under a key, the highest `at` first."""
        documents = self._collections[merchant, collection]
        entries = sorted(self._keys[merchant, collection][key], reverse=True)
        found = [(at, documents[id]) for at, id in entries if id in documents and (before is None or at < before)]
        return iter(found[: max(limit, 0)])

    def mark(self, name: str) -> int:
        """Return the position stored under `name`; 0 if none."""
        return self._marks.get(name, 0)

    def delete(self, merchant: str, collection: str, ids: Iterable[str]) -> int:
        """Delete documents with their entries."""
        gone = set(ids)
        for entries in self._keys[merchant, collection].values():
            entries -= {entry for entry in entries if entry[1] in gone}
        documents, ends = self._collections[merchant, collection], self._ends[merchant, collection]
        for id in gone:
            ends.pop(id, None)
        return sum(documents.pop(id, None) is not None for id in gone)

    def sweep(self, now_ms: int) -> int:
        """Delete every document whose end has come."""
        due = {place: [id for id, at in ends.items() if at <= now_ms] for place, ends in self._ends.items()}
        return sum(self.delete(merchant, collection, ids) for (merchant, collection), ids in due.items())

    def clear(self, merchant: str, collection: str) -> None:
        """Delete one collection of one merchant."""
        for kept in (self._collections, self._keys, self._ends):
            kept.pop((merchant, collection), None)

    def close(self) -> None:
        """Do nothing: there is nothing to release."""

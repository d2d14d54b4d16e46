"""How far a fold is: stored with what it makes, and moved by one process alone."""

from __future__ import annotations

from collections.abc import Iterable

from avalist.ports.documents import Documents


class Place:
    """A fold's mark among the documents; `end` is the log's.

    A batch counts only if the mark is where this process left it. So one that stood still while another went on in its
    place writes nothing over what that one wrote: it gets ``Superseded``, and begins anew from the mark.
    """

    def __init__(self, documents: Documents, name: str, end: int) -> None:
        self._documents, self.name = documents, name
        self.kept = documents.mark(name)
        self.position = self.kept if self.kept <= end else 0  # else the log was replaced

    def put(
        self,
        rows: Iterable[tuple[str, str, str, bytes]],
        stop: int,
        *,
        keys: Iterable[tuple[str, str, str, int, str]] = (),
    ) -> None:
        """Store a batch and how far it goes. Raises ``Superseded``."""
        self._documents.put_many(rows, keys=keys, mark=(self.name, stop), after=self.kept)
        self.moved(stop)

    def moved(self, stop: int) -> None:
        """Take note that the mark is at `stop`."""
        self.kept = self.position = stop

"""The fold that tells how merchants' models stand, so that whoever trains knows when a training is due.

What it keeps are documents; a trainer that runs by itself reads them there.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from avalist.app.lineage import Standing
from avalist.app.merchant import Merchant
from avalist.domain.keys import HOUSE, is_twin
from avalist.domain.records import Record
from avalist.follow.place import Place
from avalist.ports.documents import Documents

_COLLECTION = "learning"
_REGISTER = "learning_merchants"
_MOST_MERCHANTS = 1_000_000


def mark_of(generation: int) -> str:
    """Return the name of the mark that says how far it is."""
    return f"{_COLLECTION}-{generation}"


class LearningFold:
    """Keeps a ``Standing`` for each merchant but sandbox twins; the position is stored with them.

    `merchants` are those of the state, which is folded first; `end` and `generation` are the log's.
    """

    def __init__(
        self, documents: Documents, merchants: Mapping[str, Merchant], end: int, generation: int = 1, part: str = ""
    ) -> None:
        self._documents, self._merchants = documents, merchants
        self._place = Place(documents, mark_of(generation) + part, end)
        self._id, self._register = _id_of(generation), _REGISTER + part
        self._kept = self.position > 0
        self._held: dict[str, Standing] = {}
        self._touched: set[str] = set()
        self._registered: set[str] = set()

    @property
    def position(self) -> int:
        """Return how far it is."""
        return self._place.position

    @property
    def standings(self) -> dict[str, Standing]:
        """Return how the models of all merchants stand."""
        return {merchant: self._standing(merchant) for merchant in self._merchants if not is_twin(merchant)}

    def take(self, record: Record, position: int) -> None:
        """Take one record."""
        if not is_twin(record.merchant):
            self._standing(record.merchant).take(record)
            self._touched.add(record.merchant)

    def keep(self, stop: int) -> int:
        """Store what changed, and how far it is."""
        rows = [(id, _COLLECTION, self._id, msgspec.json.encode(self._held[id])) for id in sorted(self._touched)]
        new = sorted(self._touched - self._registered)
        self._place.put([*rows, *((HOUSE, self._register, id, b"{}") for id in new)], stop)
        self._registered |= self._touched
        self._touched.clear()
        return 0

    def _standing(self, merchant: str) -> Standing:
        if merchant not in self._held:
            body = self._documents.get(merchant, _COLLECTION, self._id) if self._kept else None
            self._held[merchant] = msgspec.json.decode(body, type=Standing) if body else Standing()
        return self._held[merchant]


def standings_of(documents: Documents, part: str = "", generation: int = 1) -> dict[str, Standing]:
    """Return how the models of a log's merchants stand, as its follower kept it last."""
    found = {}
    for merchant, _ in documents.find(HOUSE, _REGISTER + part, limit=_MOST_MERCHANTS):
        body = documents.get(merchant, _COLLECTION, _id_of(generation))
        if body is not None:
            found[merchant] = msgspec.json.decode(body, type=Standing)
    return found


def _id_of(generation: int) -> str:
    return f"standing-{generation}"

"""The fold that moves personal fields to the vault."""

from __future__ import annotations

from typing import Final

from avalist.app.stored import folded
from avalist.app.vault import Vault
from avalist.domain.records import Record, RecordKind
from avalist.follow.place import Place
from avalist.ports.documents import Documents

VAULT_MARK: Final = "vault/1"


class VaultFold:
    """Puts the sealed parts of events into the vault; the position is stored with each batch."""

    def __init__(self, vault: Vault, documents: Documents, end: int, generation: int = 1, part: str = "") -> None:
        self._vault = vault
        self._place = Place(documents, folded(generation, VAULT_MARK) + part, end)
        self._held: list[Record] = []

    @property
    def position(self) -> int:
        """Return how far it is."""
        return self._place.position

    def take(self, record: Record, position: int) -> None:
        """Take one record."""
        if record.kind == RecordKind.EVENT and record.sealed:
            self._held.append(record)

    def keep(self, stop: int) -> int:
        """Put what was taken; return how many rows."""
        rows = self._vault.put(self._held, (self._place.name, stop), self._place.kept)
        self._place.moved(stop)
        self._held = []
        return rows

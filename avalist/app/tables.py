"""Keeping reference tables: each set under its number, and which one merchants that are created get."""

from __future__ import annotations

from collections.abc import Callable

from avalist.domain.errors import ArtefactInvalid, NotFound
from avalist.domain.facts import NO_TABLES
from avalist.domain.keys import HOUSE
from avalist.enrich.tables import Contents, Tables, from_bytes, to_bytes, version_of
from avalist.ports.blobs import Blobs

LoadTables = Callable[[int], Tables | None]
"""version -> tables; None where they are not there: facts are without them then."""

_PREFIX = "tables/"
_CURRENT = f"{_PREFIX}current"
_HELD = 3


def no_tables(version: int) -> None:
    """Load no tables."""


class StoredTables:
    """Tables in the blobs. The last few are held in memory; `say` is told, in a sentence, of those that are missing."""

    def __init__(self, blobs: Blobs, say: Callable[[str], None] = lambda sentence: None) -> None:
        self._blobs = blobs
        self._say = say
        self._held: dict[int, Tables | None] = {NO_TABLES: None}

    def put(self, contents: Contents) -> int:
        """Store tables for merchants to come; return their number. They are in force where an event says so."""
        version = version_of(contents)
        self._blobs.put(HOUSE, f"{_PREFIX}{version}", to_bytes(contents))
        self._blobs.put(HOUSE, _CURRENT, str(version).encode())
        return version

    def choose(self, version: int) -> None:
        """Let merchants to come have tables that are stored. Raises ``NotFound``, ``ArtefactInvalid``."""
        self.contents(version)
        self._blobs.put(HOUSE, _CURRENT, str(version).encode())

    def versions(self) -> list[int]:
        """Return the numbers of the tables that are stored."""
        names = (name.removeprefix(_PREFIX) for name in self._blobs.names(HOUSE, _PREFIX))
        return sorted(int(name) for name in names if name.isdecimal())

    def current(self) -> int:
        """Return the number of the tables stored last; that of no tables where there are none."""
        try:
            return int(self._blobs.get(HOUSE, _CURRENT))
        except NotFound:
            return NO_TABLES

    def contents(self, version: int) -> Contents:
        """Return tables as stored. Raises ``NotFound``, ``ArtefactInvalid``."""
        if version == NO_TABLES:
            return Contents()
        try:
            data = self._blobs.get(HOUSE, f"{_PREFIX}{version}")
        except NotFound:
            raise NotFound(f"no tables {version} are stored: 'avalist intel status' lists those that are") from None
        contents = from_bytes(data)
        if version_of(contents) != version:
            raise ArtefactInvalid(f"tables {version} are damaged: run 'avalist intel update' again")
        return contents

    def stage(self, version: int) -> None:
        """Get tables ready for use; not on the deciding thread. Raises ``NotFound``, ``ArtefactInvalid``."""
        if version not in self._held:
            self._hold(version, Tables(self.contents(version)))

    def load(self, version: int) -> Tables | None:
        """Return tables by their number: those that are staged, at once. None, and a word of it, where they fail."""
        if version not in self._held:
            try:
                self.stage(version)
            except (NotFound, ArtefactInvalid) as error:
                self._say(f"tables {version} cannot be had: {error}")
        return self._held.get(version)

    def _hold(self, version: int, tables: Tables) -> None:
        kept = [one for one in self._held if one != NO_TABLES][1 - _HELD :]
        self._held = {NO_TABLES: None, **{one: self._held[one] for one in kept}, version: tables}

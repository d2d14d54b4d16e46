"""The generations of a data folder: each a log and what is made of it. The highest counts.

Generation 1 lies in the data folder itself, generation n in ``generation-<n>/``. It is written in
``generation-<n>.new`` and begins to count when that is renamed: one step, so a death at any instant leaves the one or
the other whole.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Final

from avalist.adapters.file.blobs import FolderBlobs, sync_folder
from avalist.domain.errors import Conflict, NotFound

_FIRST: Final = 1
_DERIVED: Final = ("snapshot/", "archive/", "staged/")
"""Blobs of the first generation alone: beside them lie the models, which belong to all."""


class Generations:
    """The generations in a data folder. Whoever changes anything owns the folder."""

    def __init__(self, data: Path) -> None:
        self._data = data

    @property
    def current(self) -> int:
        """Return the number of the generation that counts."""
        return max([_FIRST, *self._later()])

    def kept(self) -> list[int]:
        """Return the numbers of the generations that are there, ascending."""
        first = [_FIRST] if (self._data / "log").is_dir() else []
        return first + sorted(self._later())

    def home(self, number: int) -> Path:
        """Return the folder of a generation's ``log`` and of the ``blobs`` that are made of it."""
        return self._data if number == _FIRST else self._data / f"generation-{number}"

    def begin(self) -> tuple[int, Path]:
        """Make a folder for the next generation; return its number and the folder, which counts for nothing yet."""
        self.clean()
        folder = self._unfinished(self.current + 1)
        folder.mkdir(mode=0o700)
        return self.current + 1, folder

    def switch(self, number: int) -> None:
        """Let the generation that was begun count; durable on return. What is in its folder must be so before."""
        sync_folder(self._unfinished(number))
        self._unfinished(number).rename(self.home(number))
        sync_folder(self._data)

    def clean(self) -> None:
        """Remove what was begun and does not count."""
        for folder in self._data.glob("generation-*.new"):
            shutil.rmtree(folder)

    def drop(self, number: int) -> None:
        """Remove an earlier generation for good. Raises ``Conflict`` for the one that counts, ``NotFound``."""
        if number == self.current:
            raise Conflict(f"generation {number} is the one that counts: only an earlier one can be dropped")
        if number not in self.kept():
            raise NotFound(f"there is no generation {number}: 'avalist generations' lists them")
        if number != _FIRST:
            shutil.rmtree(self.home(number))
            return
        folder = self._data / "blobs"
        blobs = FolderBlobs(folder)
        for merchant in [path.name for path in folder.iterdir()]:
            for name in [name for prefix in _DERIVED for name in blobs.names(merchant, prefix)]:
                blobs.delete(merchant, name)
        shutil.rmtree(self._data / "log")

    def _later(self) -> list[int]:
        found = [re.fullmatch(r"generation-([2-9]|[1-9]\d+)", path.name) for path in self._data.glob("generation-*")]
        return [int(match[1]) for match in found if match]

    def _unfinished(self, number: int) -> Path:
        return self._data / f"generation-{number}.new"

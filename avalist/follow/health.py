"""Health checks beside the follower: in a process of their own, so that documents and snapshots do not wait."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterable, Sequence

from avalist.app.followed import Checkup
from avalist.app.health import kept
from avalist.domain.keys import is_twin
from avalist.ports.documents import Documents

_FIRST_S = 600.0
"""The first check waits until a start is over."""


class Checkups:
    """Runs `command` with the merchants' ids each `every_s` seconds (0: never); `found` is what their checks say."""

    def __init__(
        self,
        documents: Documents,
        command: Sequence[str],
        every_s: float,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._documents, self._command, self._every_s, self._now_s = documents, tuple(command), every_s, now_s
        self._due_s = now_s() + min(_FIRST_S, every_s)
        self._running: subprocess.Popen[bytes] | None = None
        self._asked: list[str] = []
        self.found: dict[str, Checkup] = {}

    def tick(self, merchants: Iterable[str]) -> None:
        """Start a check when it is due, and read what an ended one found. Never waits."""
        if self._running is not None:
            if self._running.poll() is None:
                return
            self._running = None
            self.read(self._asked)
        if not self._every_s or self._now_s() < self._due_s:
            return
        self._due_s = self._now_s() + self._every_s
        self._asked = [id for id in merchants if not is_twin(id)]
        if self._asked:
            self._running = subprocess.Popen([*self._command, *self._asked], stdout=subprocess.DEVNULL)

    def read(self, merchants: Iterable[str]) -> None:
        """Read the stored checks of merchants."""
        for id in merchants:
            health = kept(self._documents, id)
            if health is not None:
                self.found[id] = Checkup.of(health)

    def close(self) -> None:
        """End a check that is running."""
        if self._running is not None:
            self._running.terminate()
            self._running.wait()

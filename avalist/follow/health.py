"""Health checks by themselves: in a process of their own, so that a follower or a trainer does not wait."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterable, Sequence

from avalist.app.deciding import Noted, untold
from avalist.app.followed import Checkup
from avalist.app.health import kept
from avalist.domain.keys import is_twin
from avalist.ports.documents import Documents

_FIRST_S = 600.0
"""The first check waits until a start is over."""


class Checkups:
    """Runs `command` with the merchants' ids each `every_s` seconds (0: never); `found` is what their checks say.

    A check that still runs when the next is due is ended: something does not answer it.
    """

    def __init__(
        self,
        documents: Documents,
        command: Sequence[str],
        every_s: float,
        now_s: Callable[[], float] = time.monotonic,
        *,
        note: Noted = untold,
    ) -> None:
        self._documents, self._command, self._every_s, self._now_s = documents, tuple(command), every_s, now_s
        self._note = note
        self._due_s = now_s() + min(_FIRST_S, every_s)
        self._running: subprocess.Popen[bytes] | None = None
        self._read: set[str] = set()
        self.found: dict[str, Checkup] = {}

    def tick(self, merchants: Iterable[str]) -> None:
        """Start a check of the merchants when it is due, and read what an ended one found. Never waits for one."""
        ours = {id for id in merchants if not is_twin(id)}
        if self._running is not None and (code := self._running.poll()) is not None:
            self._running = None
            self._read.clear()
            self._note("checked" if code == 0 else "check broke off", exit_code=code)
        self._look(ours)
        due = ours and self._every_s and self._now_s() >= self._due_s
        if due and self._running is not None:
            self._running.kill()
        elif due:
            self._due_s = self._now_s() + self._every_s
            self._running = subprocess.Popen([*self._command, *sorted(ours)], stdout=subprocess.DEVNULL)
            self._note("checks", merchants=len(ours))

    def _look(self, ours: set[str]) -> None:
        """Read the stored checks of merchants that are new here, and forget those that another has now."""
        self._read &= ours
        self.found = {id: one for id, one in self.found.items() if id in ours}
        for id in ours - self._read:
            health = kept(self._documents, id)
            if health is not None:
                self.found[id] = Checkup.of(health)
            self._read.add(id)

    def close(self) -> None:
        """End a check that is running."""
        if self._running is not None:
            self._running.terminate()
            self._running.wait()

"""A follower of several logs: those of the partitions that are its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from avalist.domain.errors import AvalistError
from avalist.follow.follower import Follower
from avalist.ports.log import Log

_AGAIN_S: Final = 1.0


class Share(Protocol):
    """Membership of those who share the partitions."""

    def attend(self, timeout_s: float) -> None:
        """Show that we are alive; tell of partitions won and lost."""
        ...


class Followed(NamedTuple):
    """A partition's log, and its follower."""

    log: Log
    follower: Follower


class Following:
    """Call :meth:`step` again and again. `open_partition` opens one partition's log, and a follower of it."""

    def __init__(
        self,
        open_partition: Callable[[int], Followed],
        note: Callable[..., None],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open_partition, self._note, self._now_s = open_partition, note, now_s
        self.share: Share
        self.owned: dict[int, Followed] = {}
        self._due_s: dict[int, float] = {}
        self.joined = False
        self.documents = 0

    @property
    def ready(self) -> bool:
        """Tell whether everything that is ours is open."""
        return self.joined and not self._due_s

    def behind(self) -> int:
        """Return how many records of our partitions are not folded yet."""
        return sum(one.follower.behind_bytes for one in self.owned.values())

    def step(self, idle_s: float) -> None:
        """Fold what became durable; wait so long where there was nothing."""
        written = sum(self._advance(partition) for partition in list(self.owned))
        self.documents += written
        self.share.attend(0.0 if written else idle_s)
        for partition in sorted(partition for partition, due_s in self._due_s.items() if due_s <= self._now_s()):
            self._open(partition)

    def assigned(self, partitions: list[int]) -> None:
        """Begin to follow partitions."""
        self.joined = True
        self._due_s.update(dict.fromkeys(partitions, 0.0))

    def revoked(self, partitions: list[int]) -> None:
        """Follow partitions no longer: what was folded is written, and another goes on from there."""
        for partition in partitions:
            self._due_s.pop(partition, None)
            one = self.owned.pop(partition, None)
            if one is not None:
                one.log.close()
                self._note("handed over", partition=partition, position=one.follower.position)

    lost = revoked

    def _advance(self, partition: int) -> int:
        one = self.owned[partition]
        try:
            return one.follower.advance()
        except AvalistError as error:
            self._note("follows again", partition=partition, reason=str(error))
            self.owned.pop(partition).log.close()
            self._later(partition)
            return 0

    def _open(self, partition: int) -> None:
        try:
            one = self.owned[partition] = self._open_partition(partition)
        except AvalistError as error:
            self._note("cannot follow", partition=partition, reason=str(error))
            self._later(partition)
            return
        del self._due_s[partition]
        self._note("follows", partition=partition, position=one.follower.position)

    def _later(self, partition: int) -> None:
        """Open a partition after a rest: what failed mostly fails again at once."""
        self._due_s[partition] = self._now_s() + _AGAIN_S

    def close(self) -> None:
        """Follow nothing any more."""
        self.revoked(list(self.owned))

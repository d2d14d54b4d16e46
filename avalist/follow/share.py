"""What a process does for the partitions that are its own: a follower of their logs, or a role that owns merchants."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from avalist.app.asked import partition_of
from avalist.app.deciding import Noted
from avalist.app.followed import Followed as Status
from avalist.domain.errors import AvalistError
from avalist.follow.follower import Follower
from avalist.ports.log import Log

_AGAIN_S: Final = 1.0
_MUCH: Final = 256
"""Documents written in one step."""


class Share(Protocol):
    """Membership of those who share the partitions."""

    def attend(self, timeout_s: float) -> None:
        """Show that we are alive; tell of partitions won and lost."""
        ...


class Owning:
    """The partitions, of so many, whose merchants a role works for. Call :meth:`step` again and again.

    `leave` is given which merchants will be another's when it returns. What is lost to a process that was silent for
    too long is another's already.
    """

    def __init__(self, partitions: int, note: Noted, leave: Callable[[Callable[[str], bool]], None]) -> None:
        self._partitions, self._note, self._leave = partitions, note, leave
        self.share: Share
        self.owned: frozenset[int] = frozenset()
        self.joined = False

    def owns(self, merchant: str) -> bool:
        """Tell whether a merchant is ours."""
        return partition_of(merchant, self._partitions) in self.owned

    def step(self, idle_s: float) -> None:
        """Show that we are alive, waiting so long for news."""
        self.share.attend(idle_s)

    def assigned(self, partitions: list[int]) -> None:
        """Begin to work for partitions."""
        self.joined = True
        self.owned |= set(partitions)
        if partitions:
            self._note("took over", partitions=sorted(partitions))

    def revoked(self, partitions: list[int]) -> None:
        """End what is under way for partitions, and work for them no longer."""
        leaving = frozenset(partitions)
        self._leave(lambda merchant: partition_of(merchant, self._partitions) in leaving)
        self.owned -= set(partitions)
        if partitions:
            self._note("handed over", partitions=sorted(partitions))

    def lost(self, partitions: list[int]) -> None:
        """Work no longer for partitions that another has already."""
        self.owned -= set(partitions)
        self._note("lost", partitions=sorted(partitions))


class Followed(NamedTuple):
    """A partition's log, its follower, and the end of the log when it was opened."""

    log: Log
    follower: Follower
    there: int


class Following:
    """Call :meth:`step` again and again. `open_partition` opens one partition's log, and a follower of it."""

    def __init__(
        self, open_partition: Callable[[int], Followed], note: Noted, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._open_partition, self._note, self._now_s = open_partition, note, now_s
        self.share: Share
        self.owned: dict[int, Followed] = {}
        self._due_s: dict[int, float] = {}
        self._behind: set[int] = set()
        self.joined = False
        self.documents = 0

    @property
    def ready(self) -> bool:
        """Tell whether everything that is ours is open, and has caught up with what stood there then."""
        return self.joined and not self._due_s and not self._behind

    def behind(self) -> int:
        """Return how many records of our partitions are not folded yet."""
        return sum(one.follower.behind_bytes for one in self.owned.values())

    def status(self, at_ms: int) -> dict[int, Status]:
        """Return what the follower of each partition says."""
        return {partition: one.follower.status(at_ms) for partition, one in self.owned.items()}

    def step(self, idle_s: float) -> None:
        """Fold what became durable, then wait so long, unless there was much: little costs a commit as much."""
        written = sum(self._advance(partition) for partition in list(self.owned))
        self.documents += written
        self.share.attend(0.0 if written >= _MUCH else idle_s)
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
            self._behind.discard(partition)
            one = self.owned.pop(partition, None)
            if one is not None:
                one.log.close()
                self._note("handed over", partition=partition, position=one.follower.position)

    lost = revoked

    def _advance(self, partition: int) -> int:
        one = self.owned[partition]
        try:
            written = one.follower.advance()
            if partition in self._behind and one.follower.position >= one.there:
                self._behind.discard(partition)
                self._note("caught up", partition=partition, position=one.follower.position)
            return written
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
        self._behind.add(partition)
        self._note("follows", partition=partition, position=one.follower.position)

    def _later(self, partition: int) -> None:
        """Open a partition after a rest: what failed mostly fails again at once."""
        self._due_s[partition] = self._now_s() + _AGAIN_S

    def close(self) -> None:
        """Follow nothing any more."""
        self.revoked(list(self.owned))

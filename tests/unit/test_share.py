"""Partitions won and lost, by those who follow logs and those who work for merchants."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, cast

from avalist.adapters.memory.log import MemoryLog
from avalist.app.asked import partition_of
from avalist.domain.errors import LogFailed
from avalist.follow.follower import Follower
from avalist.follow.share import Followed, Following, Owning

MINE, OTHER = "shop", next(f"m{n}" for n in range(99) if partition_of(f"m{n}", 4) != partition_of("shop", 4))
PARTITION = partition_of(MINE, 4)


class Noted:
    def __init__(self) -> None:
        self.said: list[str] = []

    def __call__(self, what: str, /, **details: object) -> None:
        self.said.append(what)


class Quiet:
    """Brokers that tell of nothing."""

    def __init__(self) -> None:
        self.waited_s: list[float] = []

    def attend(self, timeout_s: float) -> None:
        self.waited_s.append(timeout_s)


class Slow:
    """A follower that folds one record a step, into so many documents; it may break."""

    def __init__(self, position: int = 0) -> None:
        self.position, self.breaks, self.documents = position, False, 1

    def advance(self) -> int:
        if self.breaks:
            raise LogFailed("gone")
        self.position += 1
        return self.documents


def owning(noted: Noted, leave: Callable[[Callable[[str], bool]], None]) -> Owning:
    found = Owning(4, noted, leave)
    found.share = Quiet()
    return found


def test_who_owns_a_partition_owns_its_merchants_until_it_is_handed_over() -> None:
    noted, left = Noted(), list[tuple[bool, bool]]()
    mine = owning(noted, lambda leaving: left.append((leaving(MINE), mine.owns(MINE))))
    assert not mine.joined
    mine.assigned([PARTITION])
    assert (mine.joined, mine.owns(MINE), mine.owns(OTHER)) == (True, True, False)
    mine.revoked([PARTITION])
    assert left == [(True, True)]  # it is still ours while we end what is under way
    assert not mine.owns(MINE)
    assert noted.said == ["took over", "handed over"]


def test_what_is_lost_is_not_ended_by_us() -> None:
    left: list[Any] = []
    mine = owning(Noted(), left.append)
    mine.assigned([PARTITION])
    mine.lost([PARTITION])
    assert (mine.owns(MINE), left) == (False, [])


def following(noted: Noted, follower: Slow, there: int) -> Following:
    seconds = itertools.count()  # each look at the clock takes half of one
    found = Following(
        lambda partition: Followed(MemoryLog(), cast(Follower, follower), there), noted, lambda: next(seconds) / 2
    )
    found.share = Quiet()
    found.assigned([0])
    return found


def test_a_follower_is_ready_once_it_has_caught_up() -> None:
    noted = Noted()
    role = following(noted, Slow(), there=2)
    ready = []
    for _ in range(3):
        role.step(0.0)
        ready.append(role.ready)
    assert ready == [False, False, True]
    assert noted.said == ["follows", "caught up"]


def test_one_that_must_open_again_rests_before_it_and_is_not_ready() -> None:
    noted, follower = Noted(), Slow(2)
    role = following(noted, follower, there=2)
    ready = []
    for follower.breaks in (False, False, True, False, False):
        role.step(0.0)
        ready.append(role.ready)
    assert ready == [False, True, False, False, True]
    assert noted.said[2:] == ["follows again", "follows", "caught up"]


def test_a_follower_rests_unless_there_was_much() -> None:
    follower, brokers = Slow(), Quiet()
    role = following(Noted(), follower, there=0)
    role.share = brokers
    for follower.documents in (1, 1, 5000):
        role.step(0.2)
    assert brokers.waited_s == [0.2, 0.2, 0.0]

"""Asking and answering in memory: one gateway and one decider, in one process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from avalist.ports.asking import Came, Delivered, Turns

_GATEWAY = 0


class MemoryExchange:
    """All three ports of ``ports/asking.py``. `reachable` False is a time without brokers: nothing is delivered.

    Nothing runs by itself: who tests a decider gives it its `turns`, and calls it.
    """

    def __init__(self, partitions: int = 2) -> None:
        self.partitions = partitions
        self.reachable = True
        self.turns: Turns | None = None
        self.events: list[list[Came]] = [[] for _ in range(partitions)]
        self.replied: list[bytes] = []
        self.buried: list[tuple[Came, str]] = []
        self.profiles: dict[str, bytes] = {}
        self._heard: list[bytes] = []
        self._next: dict[int, int] = {}
        self._hear: Callable[[list[bytes]], None] = lambda values: None
        self._learn: Callable[[bytes], None] = lambda value: None
        self.ready = False

    # --- inbox -----------------------------------------------------------------------------------------------------

    def take(self, most: int, timeout_s: float) -> list[Came]:
        """Return what came."""
        if self.turns is not None:
            turns, self.turns = self.turns, None
            turns.assigned(list(range(self.partitions)))
        came = [one for partition, start in self._next.items() for one in self.events[partition][start:]][:most]
        for one in came:
            self._next[one.partition] = one.offset + 1
        return came

    def begin(self, partition: int, offset: int) -> None:
        """Begin to read a partition at `offset`."""
        self._next[partition] = offset

    def behind(self, partition: int, offset: int) -> int:
        """Return how many messages lie from `offset` on."""
        return len(self.events[partition]) - offset

    # --- outbox ----------------------------------------------------------------------------------------------------

    def reply(self, to: int, value: bytes) -> None:
        """Give a reply to the gateway."""
        self.replied.append(value)
        if to == _GATEWAY:
            self._hear([value])

    def bury(self, came: Came, merchant: str, reason: str, at_ms: int) -> None:
        """Lay a message aside."""
        self.buried.append((came, reason))

    def publish(self, merchant: str, profile: bytes) -> None:
        """Tell the gateway of a merchant."""
        self.profiles[merchant] = profile
        self._heard.append(profile)
        self._learn(profile)

    def heard(self) -> list[bytes]:
        """Return the profiles that were published since the last call."""
        heard, self._heard = self._heard, []
        return heard

    def flush(self, timeout_s: float) -> bool:
        """Return True: all is safe at once."""
        return True

    # --- deciders --------------------------------------------------------------------------------------------------

    def start(
        self, name: bytes, replies: Callable[[list[bytes]], None], profile: Callable[[bytes], None] | None
    ) -> None:
        """Begin to hear."""
        self._hear, self.ready = replies, True
        if profile is not None:
            self._learn = profile
            for value in self.profiles.values():
                profile(value)

    def send(
        self, partition: int, merchant: str, value: bytes, delivered: Delivered | None = None, traceparent: bytes = b""
    ) -> bool:
        """Send a message, if it can be sent."""
        if self.reachable:
            events = self.events[partition]
            events.append(Came(partition, len(events), value, _GATEWAY, traceparent))
        if delivered is not None and self.reachable:
            asyncio.get_running_loop().call_soon(delivered, True)
        return True

    def close(self) -> None:
        """Hear no more."""
        self.ready = False

"""Asking and answering across processes: gateways ask, deciders reply; each decider owns some partitions."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol


class Came(NamedTuple):
    """What a gateway asked: a message at an offset of a partition. `reply_to` is its gateway's address; −1 for none.

    `traceparent` is the span of its sending; empty where it is not traced.
    """

    partition: int
    offset: int
    value: bytes
    reply_to: int = -1
    traceparent: bytes = b""


class Inbox(Protocol):
    """Where a decider finds what is asked of it. One thread.

    Contract: between ``assigned`` and ``revoked`` (or ``lost``) a partition is this process's own, though it may learn
    late that it is not: who writes must be fenced elsewhere. Its messages come from ``begin`` on, in order, each once.
    """

    def take(self, most: int, timeout_s: float) -> list[Came]:
        """Return what came, after waiting so long for a first message; tell of partitions won and lost meanwhile."""
        ...

    def begin(self, partition: int, offset: int) -> None:
        """Begin to read an assigned partition, or begin again, at `offset`; before, nothing of it comes."""
        ...

    def behind(self, partition: int, offset: int) -> int:
        """Return how many messages lie from `offset` on, as far as it is known here."""
        ...

    def close(self) -> None:
        """Leave, so that others get the partitions at once."""
        ...


class Turns(Protocol):
    """Who is told of partitions won and lost."""

    def assigned(self, partitions: list[int]) -> None:
        """These are ours from now on."""
        ...

    def revoked(self, partitions: list[int]) -> None:
        """These will be another's when this returns."""
        ...

    def lost(self, partitions: list[int]) -> None:
        """These are another's already."""
        ...


class Outbox(Protocol):
    """Where a decider's replies go. Nothing blocks but ``flush`` and the first ``heard``."""

    def reply(self, to: int, value: bytes) -> None:
        """Send a reply to a gateway."""
        ...

    def bury(self, came: Came, merchant: str, reason: str, at_ms: int) -> None:
        """Lay a message that cannot be taken among the dead letters, with the reason; it is safe there afterwards."""
        ...

    def publish(self, merchant: str, profile: bytes) -> None:
        """Tell every gateway what it must know of a merchant."""
        ...

    def heard(self) -> list[bytes]:
        """Return the profiles that were published since the last call, by whomever; nothing at the first one.

        Contract: whoever is another's by then may have published after us, and its word would be the last.
        """
        ...

    def flush(self, timeout_s: float) -> bool:
        """Wait until all that was given is safe; tell whether it is."""
        ...


Delivered = Callable[[bool], None]
"""Told whether a message is safe with the brokers."""


class Deciders(Protocol):
    """Whom a gateway asks. Used from an event loop: nothing blocks."""

    partitions: int

    @property
    def ready(self) -> bool:
        """Tell whether every merchant's profile that was published is known, and replies would be heard."""
        ...

    def start(
        self, name: bytes, replies: Callable[[list[bytes]], None], profile: Callable[[bytes], None] | None
    ) -> None:
        """Begin to hear replies to requests that begin with `name`, and profiles where they are wanted; called on the
        event loop, where both are given.
        """
        ...

    def send(
        self, partition: int, merchant: str, value: bytes, delivered: Delivered | None = None, traceparent: bytes = b""
    ) -> bool:
        """Send a message; False if there is no room for it. `delivered` is called on the event loop."""
        ...

    def close(self) -> None:
        """Send what waits, for a moment, and hear no more."""
        ...

"""Traces: where a payment's time went, from process to process. Off unless settings name a collector.

Who may trace holds a ``Tracer | None``: None where it is off, so that it costs one look.
"""

from __future__ import annotations

from typing import Literal, Protocol, TypedDict, Unpack

Kind = Literal["server", "producer", "consumer"]


class Said(TypedDict, total=False):
    """All that a span may say: nothing of a person, and no id that a caller chose but the merchant's."""

    merchant: str
    partition: int
    offset: int
    seq: int
    action: str
    degraded: bool
    status: int


class Span(Protocol):
    """One step of a trace, which has begun."""

    @property
    def traceparent(self) -> bytes:
        """Return by what another process names it as the parent: W3C Trace Context."""
        ...

    def note(self, what: str, **said: Unpack[Said]) -> None:
        """Say that something happened in it, now."""
        ...

    def end(self, error: str = "", **said: Unpack[Said]) -> None:
        """End it; with an `error`, where it failed. A span that is not ended is not told."""
        ...


class Tracer(Protocol):
    """Begins spans. Nothing blocks: what cannot be told in time is dropped."""

    def begin(self, name: str, kind: Kind, parent: bytes = b"", **said: Unpack[Said]) -> Span:
        """Begin a span; of a trace of its own where `parent` is empty, or no ``traceparent``."""
        ...

    def close(self) -> None:
        """Tell what has ended."""
        ...

"""A gateway's questions: what waits for a reply, and what becomes of a payment that gets none in time."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from avalist.api.commit import Settles
from avalist.app import asked as a
from avalist.domain.errors import Unavailable

_SWEEP_S: Final = 0.002
_NAME_BYTES: Final = 8


class _Question(NamedTuple):
    due_s: float
    done: Settles[a.Reply]
    late: Callable[[], None]


class Questions:
    """Those of one gateway, which has a name of its own that its requests begin with."""

    def __init__(self) -> None:
        self.name = secrets.token_bytes(_NAME_BYTES)
        self._loop = asyncio.get_running_loop()
        self._count = 0
        self._open: dict[bytes, _Question] = {}
        self._sweeping = False

    @property
    def depth(self) -> int:
        """Return how many wait."""
        return len(self._open)

    def put(self, timeout_s: float, done: Settles[a.Reply], late: Callable[[], None]) -> bytes:
        """Return the name of a new request. `late` is called when its time is out, and a reply is not wanted then."""
        self._count += 1
        request = self.name + self._count.to_bytes(8, "big")
        self._open[request] = _Question(self._loop.time() + timeout_s, done, late)
        if not self._sweeping:
            self._sweeping = True
            self._loop.call_later(_SWEEP_S, self._sweep)
        return request

    def drop(self, request: bytes) -> None:
        """Wait no longer."""
        self._open.pop(request, None)

    def settle(self, replies: Iterable[bytes]) -> None:
        """Give replies to those who wait; the others came too late, or are another gateway's."""
        for reply in map(a.decode_reply, replies):
            question = self._open.pop(reply.request, None)
            if question is not None and not question.done.done():
                question.done.set_result(reply)

    def fail(self) -> None:
        """Give up: nothing more is answered."""
        waiting, self._open = self._open, {}
        for question in waiting.values():
            if not question.done.done():
                question.done.set_exception(Unavailable("the gateway stops: send it again, to another"))

    def _sweep(self) -> None:
        self._sweeping = bool(self._open)
        if not self._sweeping:
            return
        now_s = self._loop.time()
        for request in [request for request, question in self._open.items() if question.due_s <= now_s]:
            question = self._open.pop(request)
            if not question.done.done():
                question.late()
        self._loop.call_later(_SWEEP_S, self._sweep)

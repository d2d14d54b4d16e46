"""Questions to deciders: what waits for a reply, what becomes of a payment that gets none in time, and all else."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from avalist.api.commit import Settles
from avalist.app import asked as a
from avalist.app.administer import AdminRequest
from avalist.domain.errors import Overloaded, Unavailable
from avalist.enrich.seal import Secret
from avalist.ports.asking import Deciders

_SWEEP_S: Final = 0.002
_NAME_BYTES: Final = 8
_ADMIN_S: Final = 30.0

Make: TypeAlias = Callable[[bytes], a.Asked]
"""Makes a message of the name by which its reply is known again."""


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


class Office:
    """Asks deciders for what is no payment, and waits for the reply. `questions` are heard by whoever made them."""

    def __init__(self, deciders: Deciders, questions: Questions, secret: Secret) -> None:
        self._deciders, self._questions, self._secret = deciders, questions, secret

    async def administer(self, request: AdminRequest, at_ms: int) -> dict[str, Any]:
        """Have an operator's request carried out. Raises as :meth:`ask`."""
        merchant = request.merchant
        part = a.sealed(self._secret(merchant), at_ms, msgspec.json.encode(request))
        reply = await self.ask(merchant, lambda name: a.Administer(name, merchant, at_ms, part), _ADMIN_S)
        assert isinstance(reply, a.CarriedOut)
        answer: dict[str, Any] = msgspec.json.decode(a.opened(self._secret(merchant), reply.at_ms, reply.sealed))
        return answer

    async def ask(self, merchant: str, make: Make, timeout_s: float) -> a.Reply:
        """Ask the decider that owns a merchant. Raises as :meth:`ask_partition`."""
        partition = a.partition_of(merchant, self._deciders.partitions)
        return await self.ask_partition(partition, merchant, make, timeout_s)

    async def ask_partition(self, partition: int, merchant: str, make: Make, timeout_s: float) -> a.Reply:
        """Ask, and return the reply. Raises what was refused, and ``Unavailable`` when the time is out."""
        done: asyncio.Future[a.Reply] = asyncio.get_running_loop().create_future()
        request = self._questions.put(timeout_s, done, lambda: done.set_exception(_no_reply()))
        if not self._deciders.send(partition, merchant, a.encode_message(make(request))):
            self._questions.drop(request)
            raise Overloaded("too many requests wait for the log: retry after a second")
        reply = await done
        if isinstance(reply, a.Refused):
            raise a.raised(reply.error)
        return reply

    async def put_tables(self, version: int) -> int:
        """Have reference tables put in force in every partition; return for how many merchants that was news."""
        partitions = range(self._deciders.partitions)
        asking = [self.ask_partition(one, "", lambda name: a.PutTables(name, version), _ADMIN_S) for one in partitions]
        return sum(reply.changed for reply in await asyncio.gather(*asking) if isinstance(reply, a.TablesPut))


def _no_reply() -> Unavailable:
    return Unavailable("no decider replied in time: it may or may not be carried out; send it again, with the same ids")

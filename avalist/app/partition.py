"""One partition in a decider: what gateways ask of its merchants, in order, becomes log records and replies."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from avalist.app import asked as a
from avalist.app.administer import AddFeatures, Administration, ListKeys, SetTables, Show, decode_request
from avalist.app.lookup import logged
from avalist.app.profile import Profile, profile_of
from avalist.app.writer import Answer, Asked, Writer
from avalist.domain.errors import AvalistError, BadInput, LogFailed
from avalist.domain.events import Payment, decode_event, decode_payment
from avalist.domain.keys import ApiKey, owner_of
from avalist.enrich.seal import Secret

_EVENTS = msgspec.json.Decoder(list[msgspec.Raw])


class Poison(NamedTuple):
    """A message that cannot be taken, by its place in the batch, and why."""

    place: int
    merchant: str
    reason: str


class Taken(NamedTuple):
    """What became of a batch: replies by place, which may be sent once the log is durable up to its end."""

    replies: list[tuple[int, a.Reply]]
    poison: list[Poison]
    changed: list[Profile]


class Turn(Protocol):
    """A writer's turn at a log. `epoch` names it: that of a later one is higher."""

    epoch: int

    @property
    def near(self) -> int:
        """Return the position from which on every record is at hand in memory."""
        ...


class _Placed(NamedTuple):
    place: int
    asked: a.Asked


class Partition:
    """Takes messages in order.

    What is asked twice is answered twice the same: the log knows it. A message that breaks the code, or that this
    version cannot read, is poison: nothing of it is logged, and the next is taken.
    """

    def __init__(self, writer: Writer, administration: Administration, secret: Secret, turn: Turn) -> None:
        self.writer = writer
        self._administration = administration
        self._secret = secret
        self._turn = turn
        self._published: dict[str, Profile] = {}

    def take(self, values: Sequence[bytes], at_ms: int) -> Taken:
        """Take messages that came at `at_ms`.

        Raises
        ------
        LogFailed
            If the log failed, or a decision broke half way: the partition must be opened again.
        """
        taken = Taken([], [], [])
        placed = list(self._decoded(values, taken))
        for payments, run in groupby(placed, lambda one: isinstance(one.asked, a.Decide)):
            if payments:
                self._decide(list(run), at_ms, taken)
            else:
                for one in run:
                    self._take_one(one, at_ms, taken)
        return taken

    def profiles(self) -> list[Profile]:
        """Return those merchants' profiles that changed since the last call."""
        return [*self._changed(list(self.writer.merchants))]

    def prepare(self, value: bytes) -> None:
        """Do what takes long before an operator's message is taken; not on the deciding thread. Raises as taking it."""
        match a.decode_asked(value):
            case a.PutTables(version=version):
                self._administration.prepare(SetTables(version))
            case a.Administer() as asked:
                request = decode_request(self._clear(asked))
                if not isinstance(request, AddFeatures):
                    self._administration.prepare(request)

    def newer(self, merchant: str, epoch: int) -> Profile | None:
        """Return a merchant's profile where one of an older `epoch` was published behind it."""
        mine = self._published.get(merchant)
        return mine if mine is not None and mine.epoch > epoch else None

    def _decoded(self, values: Sequence[bytes], taken: Taken) -> Iterator[_Placed]:
        for place, value in enumerate(values):
            try:
                yield _Placed(place, a.decode_asked(value))
            except BadInput as error:
                taken.poison.append(Poison(place, "", reason_of(error)))

    def _decide(self, run: Sequence[_Placed], at_ms: int, taken: Taken) -> None:
        """Decide payments together; where that breaks the code, one by one, to find the one that does."""
        try:
            asked = [Asked(_merchant(one), self._payment(one.asked), at_ms) for one in run]
            answers = self.writer.decide_many(asked)
        except LogFailed:
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, the others must be decided
            if len(run) == 1:
                taken.poison.append(_poison(run[0], error))
                return
            for one in run:
                self._decide([one], at_ms, taken)
            return
        for one, answer in zip(run, answers, strict=True):
            taken.replies.append((one.place, self._answer(one, answer)))

    def _answer(self, one: _Placed, answer: Answer | AvalistError) -> a.Reply:
        if isinstance(answer, AvalistError):
            return a.Refused(one.asked.request, a.tell(answer))
        return a.Decided(one.asked.request, self.writer.first(_merchant(one), answer))

    def _payment(self, asked: a.Asked) -> Payment:
        return decode_payment(self._clear(asked))

    def _clear(self, asked: a.Asked) -> bytes:
        assert not isinstance(asked, a.PutTables | a.Find)
        return asked.clear(self._secret(asked.merchant))

    # --- all else --------------------------------------------------------------------------------------------------

    def _take_one(self, one: _Placed, at_ms: int, taken: Taken) -> None:
        try:
            reply = self._reply(one.asked, at_ms, taken)
        except LogFailed:
            raise
        except AvalistError as error:
            if not one.asked.request:  # nobody waits: an answer that was given must not get lost
                taken.poison.append(_poison(one, error))
                return
            reply = a.Refused(one.asked.request, a.tell(error))
        except Exception as error:  # noqa: BLE001  whatever it is, the next must be taken
            taken.poison.append(_poison(one, error))
            return
        if reply is not None:
            taken.replies.append((one.place, reply))

    def _reply(self, asked: a.Asked, at_ms: int, taken: Taken) -> a.Reply | None:
        match asked:
            case a.Fallen():
                answer = self.writer.decide(asked.merchant, self._payment(asked), at_ms)
                self.writer.keep_given(asked.merchant, answer, asked.answer, asked.why, at_ms)
                return None
            case a.Record():
                return self._record(asked, at_ms)
            case a.Administer():
                return self._administer(asked, at_ms, taken)
            case a.PutTables(version=version):
                return a.TablesPut(asked.request, self._administration.set_tables(SetTables(version), at_ms).changed)
            case a.Find(merchant=merchant, payment_id=payment_id, checkpoint=checkpoint):
                # What is not at hand is old, and a document by now: brokers would keep the other merchants waiting.
                stored = logged(self.writer, merchant, payment_id, checkpoint, self._turn.near)
                return a.Found(asked.request, stored)
            case a.Decide():
                raise AssertionError("payments are decided together")

    def _record(self, asked: a.Record, at_ms: int) -> a.Recorded:
        events = [decode_event(bytes(raw)) for raw in _EVENTS.decode(self._clear(asked))]
        found = self.writer.record_many(asked.merchant, events, at_ms)
        errors = [(place, a.tell(one)) for place, one in enumerate(found) if isinstance(one, AvalistError)]
        return a.Recorded(asked.request, tuple(errors))

    def _administer(self, asked: a.Administer, at_ms: int, taken: Taken) -> a.CarriedOut:
        request = decode_request(self._clear(asked))
        if isinstance(request, AddFeatures):  # a partition's other merchants would wait
            raise BadInput("features are added to an installation in one folder, or when a merchant is created")
        answer = msgspec.json.encode(self._administration.carry_out(request, at_ms))
        if not isinstance(request, ListKeys | Show):
            owner = owner_of(asked.merchant)
            taken.changed.extend(self._changed([id for id in self.writer.merchants if owner_of(id) == owner]))
        return a.CarriedOut(asked.request, at_ms, a.sealed(self._secret(asked.merchant), at_ms, answer))

    def _changed(self, ids: Sequence[str]) -> Iterator[Profile]:
        """Yield those of these merchants' profiles that changed."""
        keys: dict[str, list[ApiKey]] = {}
        for key in self._administration.keys.values():
            keys.setdefault(key.merchant, []).append(key)
        for id in ids:
            profile = profile_of(self.writer.merchants[id], keys.get(id, ()), self._turn.epoch)
            if self._published.get(id) != profile:
                self._published[id] = profile
                yield profile


def _merchant(one: _Placed) -> str:
    assert not isinstance(one.asked, a.PutTables)
    return one.asked.merchant


def _poison(one: _Placed, error: Exception) -> Poison:
    merchant = "" if isinstance(one.asked, a.PutTables) else one.asked.merchant
    return Poison(one.place, merchant, reason_of(error))


def reason_of(error: BaseException) -> str:
    """Return what may be told of an error: a stranger's words may repeat personal data, so only where it was raised."""
    if isinstance(error, AvalistError):
        return f"{type(error).__name__}: {error}"
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"

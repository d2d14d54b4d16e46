"""What a gateway answered a moment ago: a retry or a look-up may come when nobody else can tell."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

import msgspec

from avalist.app.stored import StoredDecision, numbered
from avalist.domain.decisions import Decision


class Given(NamedTuple):
    """An answer; `content` tells whether a retry is one."""

    content: int
    answer: Decision


class Answers:
    """The last answers, by their events and by what they decided; beyond `most` the oldest are forgotten."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._by_event: OrderedDict[tuple[str, str], Given] = OrderedDict()
        self._newest: dict[tuple[str, str, str], Decision] = {}

    def __len__(self) -> int:
        return len(self._by_event)

    def keep(self, merchant: str, content: int, answer: Decision) -> None:
        """Remember what was answered."""
        self._by_event[merchant, answer.event_id] = Given(content, answer)
        self._newest[merchant, answer.payment_id, answer.checkpoint] = answer
        if len(self) > self._most:
            (merchant, _), (_, oldest) = self._by_event.popitem(last=False)
            place = merchant, oldest.payment_id, oldest.checkpoint
            if self._newest.get(place) is oldest:
                del self._newest[place]

    def of_event(self, merchant: str, event_id: str) -> Given | None:
        """Return the answer to an event."""
        return self._by_event.get((merchant, event_id))

    def newest(self, merchant: str, payment_id: str, checkpoint: str) -> Decision | None:
        """Return the last answer on a payment at a checkpoint."""
        return self._newest.get((merchant, payment_id, checkpoint))


def as_given(stored: StoredDecision, given: Decision | None) -> StoredDecision:
    """Return a decision as it was answered: with the fallback, where that is not in the log yet."""
    if given is None or not given.degraded or given.event_id != stored.decision.event_id:
        return stored
    return msgspec.structs.replace(stored, decision=numbered(given, stored.decision.seq))

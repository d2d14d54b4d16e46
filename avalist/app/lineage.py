"""A merchant's models as its log tells of them: which decides, which came before, what is due."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Final, Literal, NamedTuple

import msgspec

from avalist.app.merchant import decode_control, decode_event_core
from avalist.app.train import FEWEST_FRAUDS
from avalist.domain.core import (
    Cause,
    Evidence,
    LearningSet,
    MerchantCreated,
    ModelActivated,
    ModelRefused,
    ModelStaged,
    PriorConsent,
)
from avalist.domain.errors import BadInput, NotFound
from avalist.domain.records import Record, RecordKind
from avalist.domain.row import FRAUD_DELTA
from avalist.domain.schema import DAY_MS

HOUR_MS: Final = 3_600_000
_REST_MS: Final = 6 * HOUR_MS
"""Reports that pour in make no training due within these hours of the last."""
_MOST_EARLIER: Final = 20
_FRAUD: Final = struct.Struct("<q")

Records = Iterable[tuple[int, Record]]
What = Literal["staged", "refused", "activated", "rolled back"]


class Step(NamedTuple):
    """One step of a model's life: the event that says so."""

    seq: int
    at_ms: int
    what: What
    version: str
    told: ModelStaged | ModelRefused | ModelActivated


class Standing(msgspec.Struct):
    """How a merchant's models stand as of the last record taken.

    `earlier` are the models that decided before `active`, the last one last; `evidence` is that of its activation, if
    the gate let it in. `labels` fraud reports came since the last training, and `news` tells whether anything did.
    `teaches` is its consent to teach a network prior.
    """

    active: str = ""
    by: str = ""
    earlier: list[str] = []
    evidence: Evidence | None = None
    activated_ms: int = 0
    began_ms: int = -1
    trained_ms: int = 0
    rolled_back_ms: int = 0
    labels: int = 0
    news: bool = False
    learning: LearningSet = LearningSet()
    teaches: bool = False

    def take(self, record: Record) -> Step | None:
        """Take one record of the merchant; return the step it is, if any."""
        if record.kind == RecordKind.EVENT:
            row = decode_event_core(record.core).row
            self.labels += _FRAUD.unpack_from(row, 8 * FRAUD_DELTA)[0] > 0
            self.news = True
        elif record.kind == RecordKind.CONTROL:
            return self._apply(record)
        return None

    def _apply(self, record: Record) -> Step | None:
        told, at_ms = decode_control(record.core), record.received_at_ms
        match told:
            case MerchantCreated():
                self.began_ms = at_ms
            case LearningSet():
                self.learning = told
            case PriorConsent():
                self.teaches = told.given
            case ModelStaged() | ModelRefused():
                what: What = "staged" if isinstance(told, ModelStaged) else "refused"
                if what == "staged" or told.evidence is not None:  # else a person refused what was trained before
                    self.trained_ms, self.labels, self.news = at_ms, 0, False
                return Step(record.seq, at_ms, what, told.version, told)
            case ModelActivated():
                return self._activated(record.seq, at_ms, told)
        return None

    def _activated(self, seq: int, at_ms: int, told: ModelActivated) -> Step:
        if told.by == "rollback":
            self.rolled_back_ms = at_ms
            self.earlier = self.earlier[: self.earlier.index(told.version)] if told.version in self.earlier else []
        elif self.active and self.active != told.version:
            self.earlier = [*self.earlier, self.active][-_MOST_EARLIER:]
        self.active, self.by, self.evidence, self.activated_ms = told.version, told.by, told.evidence, at_ms
        return Step(seq, at_ms, "rolled back" if told.by == "rollback" else "activated", told.version, told)

    @property
    def previous(self) -> str:
        """Return the model that decided before the active one, or nothing."""
        return self.earlier[-1] if self.earlier else ""

    def watched(self, now_ms: int) -> bool:
        """Tell whether the active model is on trial: it came with evidence, and there is one to go back to."""
        inside = now_ms - self.activated_ms < self.learning.watch_h * HOUR_MS
        return self.by != "rollback" and self.evidence is not None and bool(self.previous) and inside

    def may_activate(self, now_ms: int) -> bool:
        """Tell whether a model that passes the gate decides at once, or waits for a person: a first one always does."""
        resting = self.rolled_back_ms and now_ms - self.rolled_back_ms < self.learning.rest_d * DAY_MS
        return bool(self.active) and self.learning.approval == "automatic" and not resting


def due(standing: Standing, now_ms: int) -> Cause | None:
    """Return what makes a training due now, if anything does: time has passed, or reports came in."""
    since_ms = now_ms - max(standing.trained_ms, standing.began_ms)
    every_ms = standing.learning.every_d * DAY_MS
    few = not standing.active and standing.labels < FEWEST_FRAUDS
    if not every_ms or not standing.news or since_ms < _REST_MS or few:
        return None
    if standing.labels >= standing.learning.labels:
        return "labels" if standing.active else "first"
    if since_ms < every_ms:
        return None
    return "schedule" if standing.active else "first"


def lineage(records: Records, merchant: str) -> tuple[Standing, list[Step]]:
    """Read a merchant's log: how its models stand, and every step. Raises ``NotFound``."""
    standing, steps = Standing(), list[Step]()
    for record in _of(records, merchant):
        step = standing.take(record)
        if step is not None:
            steps.append(step)
    if standing.began_ms < 0:
        raise NotFound(f"no merchant {merchant!r} in the log")
    return standing, steps


def _of(records: Records, merchant: str) -> Iterator[Record]:
    return (record for _, record in records if record.merchant == merchant)


def evidence_of(steps: list[Step], version: str, active: str) -> Evidence | None:
    """Return what the gate found last when it compared a model with the one that is active, if it did."""
    found = (step.told.evidence for step in reversed(steps) if step.version == version and step.what != "rolled back")
    return next((one for one in found if one is not None and one.against == active), None)


def named(steps: list[Step], text: str) -> str:
    """Return the version that a text is the beginning of. Raises ``BadInput`` naming those there are."""
    known = list(dict.fromkeys(step.version for step in steps))
    found = [version for version in known if text and version.startswith(text)]
    if len(found) != 1:
        expected = ", ".join(known[-5:]) or "a model that was trained"
        raise BadInput("no such model, or several", field="VERSION", expected=expected, got=text[:64])
    return found[0]

"""What the follower says of itself, in a document: how far it is, and what it found."""

from __future__ import annotations

from typing import get_args

import msgspec

from avalist.app.health import Health
from avalist.app.level import ALL_PAYMENTS
from avalist.app.parity import Checked
from avalist.app.snapshot import CODE
from avalist.domain.alerts import AlertKind
from avalist.domain.errors import ReplayMismatch
from avalist.domain.keys import HOUSE
from avalist.ports.documents import Documents

_COLLECTION, _ID = "follower", "status"


class Checkup(msgspec.Struct, frozen=True, kw_only=True):
    """A merchant's latest health check, as metrics tell it: how many alerts stand of each kind, and the z-value of the
    level of all payments, None where too few frauds are known.
    """

    at_ms: int
    alerts: dict[AlertKind, int]
    z: float | None = None

    @classmethod
    def of(cls, health: Health) -> Checkup:
        """Return a check as metrics tell it."""
        counted = {kind: sum(alert.kind == kind for alert in health.alerts) for kind in get_args(AlertKind)}
        whole = [level.z for level in health.levels if level.subject == ALL_PAYMENTS]
        return cls(at_ms=health.at_ms, alerts=counted, z=whole[0] if whole else None)


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What the process of an embedded follower does besides: trainings that it starts, messages that it sends.

    `trainings` that ended and `attempts` to send are counted from its start, by what came of them; `oldest_ms` is the
    time of the oldest message that waits.
    """

    training: bool = False
    trainings_waiting: int = 0
    trainings: dict[str, int] = {}
    sending: int = 0
    oldest_ms: int | None = None
    attempts: dict[str, int] = {}


class Followed(msgspec.Struct, frozen=True, kw_only=True):
    """The follower as of `at_ms`: what it has folded to (`position`), where its newest snapshot ends, parity by
    merchant, as found by `code`, how many waves go on, health by merchant, and its other work.
    """

    at_ms: int
    position: int
    snapshot: int
    parity: dict[str, Checked] = {}
    waves_open: int = 0
    code: str = CODE
    health: dict[str, Checkup] = {}
    work: Work = Work()


def tell(documents: Documents, followed: Followed, part: str = "") -> None:
    """Store what the follower says; `part` tells one log of several from the others."""
    documents.put_many([(HOUSE, _COLLECTION, _ID + part, msgspec.json.encode(followed))])


def told(documents: Documents, part: str = "") -> Followed | None:
    """Return what the follower said last of a log, or None."""
    body = documents.get(HOUSE, _COLLECTION, _ID + part)
    return None if body is None else msgspec.json.decode(body, type=Followed)


def broken_parity(documents: Documents, merchant: str, part: str = "") -> Checked | None:
    """Return what was found where decisions of a merchant saw other features than its log gives, or None."""
    followed = told(documents, part)
    if followed is None or followed.code != CODE:  # other code found it; ours is yet to look
        return None
    found = followed.parity.get(merchant)
    return found if found is not None and found.different else None


def check_parity(documents: Documents, merchant: str, part: str = "") -> None:
    """Raise ``ReplayMismatch`` where parity is broken: do not train."""
    found = broken_parity(documents, merchant, part)
    if found is not None:
        raise ReplayMismatch(
            f"parity is broken: {found.different} of {found.checked} decisions of {merchant} saw other features than "
            f"its log gives now ({found.first}). A model trained on plan {found.plan} would learn from values that "
            f"decisions do not see. Look with 'avalist replay {merchant} --verify'"
        )

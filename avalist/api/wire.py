"""Bodies that only the HTTP edge knows."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from avalist.api.errors import Problem
from avalist.app.waves import Alert


class NotRecorded(msgspec.Struct, frozen=True, kw_only=True):
    """An event of a batch that was not recorded: its place, its id, and why."""

    at: int
    event_id: str
    problem: Problem


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a batch: how many events were recorded, and why the others were not, by place in the batch."""

    recorded: int
    errors: tuple[NotRecorded, ...] = ()


AlertLimit = Annotated[int, msgspec.Meta(ge=1, le=100)]


class Alerts(msgspec.Struct, frozen=True, kw_only=True):
    """Alerts of a merchant, the newest first."""

    alerts: tuple[Alert, ...]


class Alive(msgspec.Struct, frozen=True):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Ready(msgspec.Struct, frozen=True):
    """The service can decide."""

    status: Literal["ready"] = "ready"

"""Alerts: what a merchant's health check found wrong. They are logged, and change no decision."""

from __future__ import annotations

from typing import Literal

import msgspec

AlertKind = Literal["level", "drift", "missing", "parity"]


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong.

    `level`: reports are not those expected by now, of the payments `subject`; `value` is observed over expected.
    `drift`: values of columns with the reason code `subject` have moved; `value` is the largest stability index.
    `missing`: a source is missing more or less often; `value` is the change of the share.
    `parity`: decisions saw other features than their log gives; `value` is their share. `words` say it for people.
    """

    kind: AlertKind
    subject: str
    value: float
    words: str

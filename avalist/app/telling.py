"""What an event says in words of its own, which stand in its core: the archive has no sealed part to look them up in.

Outcomes are told whole but for their ids; of a step of identity verification and of a change of a profile, what only
they say. None of it tells of a person: who somebody is stands in the fields that the vault keeps.
"""

from __future__ import annotations

import datetime as dt
from types import NoneType
from typing import Final, get_args

import msgspec

from avalist.app.vault import FIELDS
from avalist.domain.core import Told
from avalist.domain.events import Event, KycStep, OfPayment, OutcomeEvent, ProfileChange, WireEvent

_encode: Final = msgspec.json.Encoder().encode
_ELSEWHERE: Final = {*Event.__struct_fields__, *FIELDS, "payment_id"}
_LEFT_OUT: Final = frozenset({str, tuple, NoneType})
_OWN: Final = {
    kind: tuple(name for name in kind.__struct_fields__ if name not in _ELSEWHERE)
    for kind in (*get_args(OutcomeEvent), KycStep, ProfileChange)
}


def told_by(event: WireEvent) -> Told:
    """Return what an event says in words of its own; what it leaves out, or empty, is left out.

    >>> from avalist.domain.events import decode_event
    >>> at = b'"event_id": "e", "occurred_at": "2026-12-20T00:00:00Z", "payment_id": "p"'
    >>> told_by(decode_event(b'{"type": "chargeback", "reason_code": "10.4", %b}' % at))
    {'stage': 'opened', 'fraud': True, 'reason_code': '10.4', 'occurred_at': '2026-12-20T00:00:00+00:00'}
    """
    told: Told = {}
    for name in _OWN.get(event.__class__, ()):
        value = getattr(event, name)
        if value or value.__class__ not in _LEFT_OUT:
            told[name] = value
    if isinstance(event, OfPayment):  # its row has the time of its payment
        told["occurred_at"] = iso_text(event.occurred_at)
    return told


def iso_text(at: dt.datetime) -> str:
    """Return what ``at.isoformat()`` does, in a third of the time.

    >>> iso_text(dt.datetime(2026, 12, 20, 1, 2, 3, 40, dt.UTC))
    '2026-12-20T01:02:03.000040+00:00'
    """
    text = _encode(at)[1:-1].decode()
    return f"{text[:-1]}+00:00" if text[-1] == "Z" else text

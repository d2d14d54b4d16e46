"""Patterns: the shape of a payment, an identity, a device, a session, and of two of them together.

A wave changes its identities from payment to payment; its habits cost money to change. A pattern is a text that equal
habits share. It is hashed like every key, and used as one: velocity, distinct identities and lagged fraud rate of a
pattern are the kernel's, like those of a card. Only payments have patterns.
"""

from __future__ import annotations

import functools
import hashlib
import re
from bisect import bisect_right
from collections.abc import Callable
from typing import Final

from avalist.domain.events import Card, Payment, SessionSummary
from avalist.domain.facts import Facts

Shape = Callable[[Payment, Facts], str | None]
_AGES_S: Final = (3600, 86_400, 7 * 86_400, 30 * 86_400, 365 * 86_400)
_AGE_NAMES: Final = ("hour", "day", "week", "month", "year", "old")


def amount_band(minor: int) -> int:
    """Return an amount's half octave; the borders lie between usual prices, which a review moves by a few hundredths.

    >>> amount_band(999) == amount_band(1043), amount_band(1000) == amount_band(2000)
    (True, False)
    """
    return (minor * minor * 3 // 2).bit_length()


def age_class(age_s: int | None) -> str:
    """Return how old an account is, roughly.

    >>> age_class(30), age_class(90_000), age_class(None)
    ('hour', 'week', '')
    """
    return "" if age_s is None else _AGE_NAMES[bisect_right(_AGES_S, age_s)]


def name_relation(name: str, local: str) -> str:
    """Return how the local part of an address is made of a name: ``0``, ``1`` or ``2`` of first and last word whole, or
    ``i`` for an initial with the last; empty without a name.

    >>> [name_relation("Ann Lee", local) for local in ("ann.lee7", "lee", "alee", "x9k2")]
    ['2', '1', 'i', '0']
    """
    words = name.lower().split()
    if not words:
        return ""
    first, last = words[0], words[-1]
    if last in local:
        return "2" if first in local and len(words) > 1 else "i" if local.startswith(first[0] + last) else "1"
    return "1" if first in local else "0"


@functools.lru_cache(maxsize=8192)
def agent_family(user_agent: str) -> str:
    """Return a user agent without its numbers: a new version of a browser is no new habit.

    >>> agent_family("Chrome/143.0.0.0 Safari/537.36") == agent_family("Chrome/144.0.0.0 Safari/537.36")
    True
    """
    return re.sub(r"\d+(?:[._]\d+)*", "#", user_agent)


def session_shape(session: SessionSummary) -> str:
    """Return a session's pace and means, quantised: factors of two in time, of four in keys and pointer moves.

    A session that is done again with a tenth more or less mostly stays in its cell; honest ones spread over dozens.

    >>> session_shape(SessionSummary(duration_ms=40_000, pages=3, key_presses=9, pointer_moves=95, pastes=1))
    '5.2.3.2.1'
    """
    duration_s = (session.duration_ms or 0) // 1000
    pages, keys, moves = session.pages or 0, session.key_presses or 0, session.pointer_moves or 0
    return f"{_log2(duration_s)}.{_log2(pages)}.{_log4(moves)}.{_log4(keys)}.{1 if session.pastes else 0}"


def behaviour_shape(session: SessionSummary) -> str | None:
    """Return how a session was gone through: steps, how regular keys, pointer and taps are, signs of automation.

    Paces are quantised in factors of two, regularity in three classes: what a script varies by a tenth stays in a few
    cells. None of a session that tells nothing of it.

    >>> behaviour_shape(SessionSummary(journey=("home", "cart", "cart", "pay"), tells=("webdriver",)))
    'home>cart>pay||||webdriver'
    >>> behaviour_shape(SessionSummary(duration_ms=40_000)) is None
    True
    """
    typing, pointer, touch, tells = session.typing, session.pointer, session.touch, session.tells
    if session.journey is None and typing is None and pointer is None and touch is None and not tells:
        return None
    keys = f"{_pace(typing.flight_ms)}.{_regular(typing.flight_spread)}" if typing else ""
    moves = _straight(pointer.detour) if pointer else ""
    taps = f"{_pace(touch.hold_ms)}.{_regular(touch.hold_spread)}" if touch else ""
    return f"{_steps(session.journey or ())}|{keys}|{moves}|{taps}|{' '.join(sorted(set(tells or ())))}"


def _steps(journey: tuple[str, ...]) -> str:
    """Return the first twelve steps, a step that is repeated at once counted once."""
    return ">".join([step for n, step in enumerate(journey) if n == 0 or journey[n - 1] != step][:12])


def _pace(ms: int | None) -> str:
    return "" if ms is None else str(_log2(ms))


def _regular(spread: float | None) -> int:
    """Return 1 for what varies as machines do, 2 for hardly, 3 for as people do; 0 if unknown."""
    return 0 if spread is None else 1 if spread < 0.08 else 2 if spread < 0.25 else 3


def _straight(detour: float | None) -> str:
    return "" if detour is None else "1" if detour < 1.02 else "2" if detour < 1.15 else "3"


def _log2(n: int) -> int:
    """Round the logarithm to base 2 of n + 1: cells are centred on powers of two."""
    return ((n + 1) * (n + 1)).bit_length() // 2


def _log4(n: int) -> int:
    return (n + 1).bit_length() // 2


def _goods(event: Payment, facts: Facts) -> str:
    """Return amount band, product and kind of payee."""
    payee = event.payee.kind or "payee" if event.payee else ""
    return f"{amount_band(facts.amount_base_minor)}|{facts.product}|{payee}"


def _issuer(event: Payment, facts: Facts) -> str:
    """Return the first five digits of a card's BIN: its neighbours are bought and sold together."""
    method = event.method
    return (method.bin or "")[:5] if isinstance(method, Card) else ""


def _identity(event: Payment, facts: Facts) -> str | None:
    """Return e-mail shape, what it has to do with the name, and the account's age class."""
    customer = event.customer
    if customer is None or not customer.email:
        return None
    relation = _relation(customer.name or "", customer.email)
    return f"{facts.email_shape}|{relation}|{age_class(facts.account_age_s)}"


@functools.lru_cache(maxsize=16_384)
def _relation(name: str, email: str) -> str:
    return name_relation(name, email.rpartition("@")[0].lower())


def _machine(event: Payment, facts: Facts) -> str | None:
    """Return agent family, screen, timezone and language."""
    device = event.device
    if device is None or not device.user_agent:
        return None
    return _machine_word(device.user_agent, device.screen, device.timezone, device.language)


@functools.lru_cache(maxsize=16_384)
def _machine_word(*parts: str | None) -> str:
    """Return a word for a machine: its text is long, and part of four patterns."""
    text = "|".join([agent_family(parts[0] or ""), *(part or "" for part in parts[1:])])
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _session(event: Payment, facts: Facts) -> str | None:
    return None if event.session is None else session_shape(event.session)


def _behaviour(event: Payment, facts: Facts) -> str | None:
    return None if event.session is None else behaviour_shape(event.session)


PATTERNS: Final[dict[str, tuple[Shape, ...]]] = {
    "pattern.payment": (_goods, _issuer),
    "pattern.goods": (_goods, _machine),
    "pattern.identity": (_identity,),
    "pattern.device": (_machine,),
    "pattern.person": (_identity, _machine),
    "pattern.session": (_session,),
    "pattern.conduct": (_session, _machine),
    "pattern.behaviour": (_behaviour,),
}
"""Sources of entities, by the shapes whose texts make a payment's; it has none where it lacks one of them."""

"""What the beginning of a phone number tells: the country, and the kind of line where the numbering plan says it.

Numbering plans come as regular expressions over whole numbers, a kind of line each. They are walked digit by digit,
by Antimirov's partial derivatives, as far as the digits leave a doubt. What is kept is a dictionary of beginnings: no
expression is run when a payment is decided, and no more of a number is looked at than its beginning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

KINDS: Final = {
    "premium_rate": "premium", "toll_free": "toll_free", "shared_cost": "shared_cost", "voip": "voip",
    "personal_number": "personal", "pager": "pager", "uan": "company", "voicemail": "voicemail",
    "fixed_line": "fixed", "mobile": "mobile",
}  # fmt: skip
"""Names of the plans' kinds of line, and ours."""
DEEPEST: Final = 5
"""Digits behind the calling code that are looked at: more of them mostly tell lines apart by a number's length."""
_DIGITS: Final = "0123456789"
_BOTH: Final = frozenset(("fixed", "mobile"))
_TOKEN: Final = re.compile(r"\\d|\[[\d-]+\]|\d|\(\?:|[)|?]|\{(\d+)(?:,(\d+))?\}")


class _One(NamedTuple):
    digits: frozenset[str]


class _Any(NamedTuple):
    options: tuple[tuple[_Part, ...], ...]


class _Times(NamedTuple):
    part: _Part
    least: int
    most: int


_Part = _One | _Any | _Times
_Term = tuple[_Part, ...]
State = frozenset[_Term]
"""What may still follow: of several ways to match, each one's rest."""


def parse(pattern: str) -> State:
    r"""Return the state before the first digit. Raises ``ValueError`` for an expression of another dialect.

    >>> sorted(d for d in _DIGITS if step(parse(r"[2-4]\d{2}|0(?:12)?"), d))
    ['0', '2', '3', '4']
    """
    tokens = _tokens(pattern)
    options, end = _options(tokens, 0)
    if end != len(tokens):
        raise ValueError(pattern)
    return frozenset(options)


def _tokens(pattern: str) -> list[re.Match[str]]:
    found = list(_TOKEN.finditer(pattern))
    if "".join(token[0] for token in found) != pattern:
        raise ValueError(pattern)
    return found


def _options(tokens: Sequence[re.Match[str]], at: int) -> tuple[tuple[_Term, ...], int]:
    """Parse alternatives from a token on; return them and where they end."""
    options: list[_Term] = []
    parts: list[_Part] = []
    while at < len(tokens) and tokens[at][0] != ")":
        word = tokens[at][0]
        at += 1
        if word == "|":
            options.append(tuple(parts))
            parts = []
        elif word == "(?:":
            inner, at = _options(tokens, at)
            parts.append(_Any(inner))
            at += 1  # the closing one
        elif word[0] in "?{":
            least, most = (
                (0, 1) if word == "?" else (int(tokens[at - 1][1]), int(tokens[at - 1][2] or tokens[at - 1][1]))
            )
            parts[-1] = _Times(parts[-1], least, most)
        else:
            parts.append(_One(_digits(word)))
    return (*options, tuple(parts)), at


def _digits(word: str) -> frozenset[str]:
    """Return the digits that a class of them stands for.

    >>> sorted(_digits("[13-5]"))
    ['1', '3', '4', '5']
    """
    return frozenset(d for d in _DIGITS if re.fullmatch(word, d))


@lru_cache(maxsize=1 << 16)
def step(state: State, digit: str) -> State:
    """Return the state after one more digit; an empty one says that no number begins like that."""
    return frozenset(rest for term in state for rest in _rests(term, digit))


def _rests(term: _Term, digit: str) -> Iterator[_Term]:
    if not term:
        return
    head, rest = term[0], term[1:]
    match head:
        case _One(digits):
            if digit in digits:
                yield rest
        case _Any(options):
            for option in options:
                yield from _rests((*option, *rest), digit)
        case _Times(part, least, most):
            again = (_Times(part, max(least - 1, 0), most - 1),) if most > 1 else ()
            yield from _rests((part, *again, *rest), digit)
            if least == 0:
                yield from _rests(rest, digit)


class Region(NamedTuple):
    """One country's numbering plan: its name, the kinds of line with their expressions, and the digits that its numbers
    begin with where it shares its calling code (empty: any).
    """

    name: str
    kinds: Mapping[str, str]
    leading: str = ""


class _Here(NamedTuple):
    """What a region's numbers may still be, by kind, and what must still come for them to be that region's."""

    name: str
    kinds: tuple[tuple[str, State], ...]
    leading: State

    def after(self, digit: str) -> _Here:
        leading = _MET if () in self.leading else step(self.leading, digit)
        states = ((kind, step(state, digit)) for kind, state in self.kinds if leading)
        return _Here(self.name, tuple((kind, state) for kind, state in states if state), leading)


_MET: Final[State] = frozenset({()})


def beginnings(code: str, regions: Sequence[Region]) -> dict[str, str]:
    r"""Return what numbers of a calling code are by their beginning: the longest one that is there tells.

    A value is a country and, behind a blank, a kind of line where that is sure: ``FR mobile``. The first region is the
    main one. Raises ``ValueError`` for expressions of another dialect.

    >>> beginnings("9", [Region("AA", {"mobile": r"7\d{3}", "fixed_line": r"[12]\d{3}"})])
    {'9': 'AA', '91': 'AA fixed', '92': 'AA fixed', '97': 'AA mobile'}
    """
    here = tuple(
        _Here(
            one.name,
            tuple((KINDS[kind], parse(pattern)) for kind, pattern in one.kinds.items()),
            parse(one.leading) if one.leading else _MET,
        )
        for one in regions
    )
    found = {code: regions[0].name}
    for digit in _DIGITS:
        _walk(code + digit, 1, tuple(one.after(digit) for one in here), found[code], found)
    return found


def _walk(number: str, depth: int, here: tuple[_Here, ...], inherited: str, found: dict[str, str]) -> None:
    """Note what a beginning tells where it differs from a shorter one, then what longer ones do."""
    possible = [one for one in here if one.kinds]
    told, sure = _told(possible)
    if told and told != inherited:
        found[number] = inherited = told
    if not sure and depth < DEEPEST:
        for digit in _DIGITS:
            _walk(number + digit, depth + 1, tuple(one.after(digit) for one in possible), inherited, found)


def _told(possible: Sequence[_Here]) -> tuple[str, bool]:
    """Return what is told of what a number may be, and whether more digits cannot tell more; nothing of no number."""
    if not possible:
        return "", True
    first = possible[0]
    kinds = {kind for kind, _ in first.kinds}
    same = len(possible) == 1 or all(one.kinds == first.kinds for one in possible)
    kind = kinds.pop() if len(kinds) == 1 else "fixed_or_mobile" if kinds == _BOTH else ""
    alike = len({state for _, state in first.kinds}) == 1
    others = {kind for one in possible for kind, _ in one.kinds}
    if kind and kind != "fixed_or_mobile" and others != {kind}:
        kind = ""
    return f"{first.name} {kind}".rstrip(), same and bool(kind) and alike

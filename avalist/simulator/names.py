"""Names and e-mail addresses of nobody, from syllables."""

from __future__ import annotations

from typing import Final

from avalist.simulator.draws import I64, Rng, below

_HEADS: Final = tuple("al be ca da el fa ga he is jo ka le ma na ol pe ra sa ti va".split())  # noqa: SIM905
_TAILS: Final = tuple("ra lin mo sha ben dor nia to vi rel lo na mir sa ko ley".split())  # noqa: SIM905
_FAMILY: Final = tuple("bar cor dan fer gol hal kar lin mor nev pol ros san tal ven wal".split())  # noqa: SIM905
_ENDS: Final = tuple("ley man ski sen etti ez berg ova ton ard ier ini er o as is".split())  # noqa: SIM905

PATTERNS: Final = (
    "{first}.{family}",
    "{first}{family}",
    "{first}{two}",
    "{initial}.{family}",
    "{first}.{family}{two}",
    "{family}{first}",
    "{first}_{family}",
    "{initial}{family}{two}",
    "{family}.{first}{year}",
    "{first}{family}{four}",
    "{nick}{four}",
    "{nick}{six}",
    "{first}.{family}{four}",
    "{initial}{initial}{six}",
    "{nick}.{two}{initial}{two}",
    "{family}_{four}",
)
"""Local parts of e-mail addresses; the later ones are rare among honest customers."""

HONEST_WEIGHTS: Final = (22.0, 16.0, 12.0, 8.0, 9.0, 5.0, 4.0, 8.0, 4.0, 4.0, 2.5, 1.0, 1.5, 0.5, 0.5, 2.0)
SCRIPTED: Final = tuple(range(9, len(PATTERNS)))
"""The patterns that waves use: what a script makes of a list of names."""


def draw_names(rng: Rng, n: int) -> list[tuple[str, str]]:
    """Draw `n` first and family names."""
    parts = (below(rng, len(table), n).tolist() for table in (_HEADS, _TAILS, _FAMILY, _ENDS))
    return [(_HEADS[a] + _TAILS[b], _FAMILY[c] + _ENDS[d]) for a, b, c, d in zip(*parts, strict=True)]


def draw_locals(rng: Rng, names: list[tuple[str, str]], pattern: I64) -> list[str]:
    """Draw the local part of an address for each name, by its pattern's number."""
    digits = below(rng, 1_000_000, len(names)).tolist()
    return [
        PATTERNS[which].format(
            first=first,
            family=family,
            initial=first[0],
            nick=first[:2] + family[:3],
            two=f"{number % 100:02d}",
            four=f"{number % 10_000:04d}",
            six=f"{number:06d}",
            year=1960 + number % 48,
        )
        for (first, family), which, number in zip(names, pattern.tolist(), digits, strict=True)
    ]


def title(name: tuple[str, str]) -> str:
    """Return a name as it is written.

    >>> title(("anna", "norova"))
    'Anna Norova'
    """
    return f"{name[0].capitalize()} {name[1].capitalize()}"

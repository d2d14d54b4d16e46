"""Drawing in bulk: seeded generators by purpose, weighted choices, counts, texts of addresses."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from enum import IntEnum

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Rng = np.random.Generator

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


class Purpose(IntEnum):
    """What a generator is for: one purpose never disturbs another's draws."""

    SETTLERS = 0
    HONEST = 1
    LONE = 2
    WAVE_DATES = 3
    WAVE_STYLE = 4
    WAVE = 5
    MARKET = 6
    TASTE = 7
    ASSETS = 8
    BROWSE = 9
    FATE = 10  # added to the purpose of a payment's process


def generator(seed: int, purpose: int, *index: int) -> Rng:
    """Return the generator of one purpose and place in time; the same arguments give the same draws."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, purpose, *index))))


def cumulative(weights: Sequence[float] | F64) -> F64:
    """Return running sums, as :func:`choose` wants them."""
    return np.cumsum(np.asarray(weights, dtype=np.float64))


def choose(rng: Rng, sums: F64, n: int) -> I64:
    """Draw `n` indices by weight; a weight of 0 is never drawn.

    >>> choose(generator(1, Purpose.HONEST), cumulative([0.0, 1.0, 0.0]), 3).tolist()
    [1, 1, 1]
    """
    drawn: I64 = sums.searchsorted(rng.random(n) * (sums[-1] * (1.0 - 1e-12)), side="right")
    return drawn


def below(rng: Rng, high: int | I64, n: int) -> I64:
    """Draw `n` integers from 0 up to but not including `high`, several times faster than the generator's own."""
    return (rng.random(n) * high).astype(np.int64)


def chance(rng: Rng, n: int, share: float | F64) -> Bools:
    """Draw `n` coins that fall true with the given share."""
    return rng.random(n) < share


class Ranges:
    """IPv4 networks to draw addresses from, one row of networks per place.

    >>> ranges = Ranges([["192.0.2.0/24"]])
    >>> [text_of_ip(a)[:8] for a in ranges.draw(generator(1, 0), np.zeros(2, np.int64)).tolist()]
    ['192.0.2.', '192.0.2.']
    """

    def __init__(self, networks: Sequence[Sequence[str]]) -> None:
        nets = [[ipaddress.IPv4Network(text) for text in row] for row in networks]
        width = max(len(row) for row in nets)
        self._base = np.array([[int(row[i % len(row)].network_address) for i in range(width)] for row in nets])
        self._size = np.array([[row[i % len(row)].num_addresses for i in range(width)] for row in nets])

    def draw(self, rng: Rng, place: I64) -> I64:
        """Draw an address for each place, as a number."""
        column = below(rng, self._base.shape[1], len(place))
        first: I64 = self._base[place, column]
        return first + below(rng, self._size[place, column], len(place))


def text_of_ip(address: int) -> str:
    """Return an IPv4 address as text.

    >>> text_of_ip(0xC0000207)
    '192.0.2.7'
    """
    return f"{address >> 24}.{address >> 16 & 255}.{address >> 8 & 255}.{address & 255}"


def hex_ids(rng: Rng, n: int) -> list[str]:
    """Draw `n` 64-bit ids as hexadecimal text; put a letter before them, and none is a card number."""
    return [f"{word:016x}" for word in rng.bit_generator.random_raw(n).tolist()]

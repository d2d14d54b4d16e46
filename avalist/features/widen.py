"""Words that rows are widened by before the kernel sees them: what a plan asks for and no row holds.

A word stands behind the row's own and is read like one, as a value or as a key, so that the kernel needs no code for
it and plans without such words no time. Values: a number of events within a range of amounts, its negative (the
smallest is the largest negative), the limbs of its square, a place on earth. Keys: composites of three fields and more.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from avalist.domain.row import MISSING, VALUES
from avalist.features.arena import mix
from avalist.features.jit import jit, jit_inline
from avalist.features.layout import (
    EMPTY,
    I64,
    JOINED,
    M_A,
    M_B,
    M_BELOW,
    M_FROM,
    M_OP,
    M_P,
    M_Q,
    NEGATED,
    PLACED,
    SQUARE_HIGH,
    WITHIN,
)  # fmt: skip

LIMB_BITS: Final = 40
"""Bits of a square's lower limb: squares of ±10¹² have 80, and both limbs' sums overflow no earlier than Σx."""
LARGEST: Final = 10**12
_HALF_TURN: Final = 18_000_000
"""In 10⁻⁵ degrees, about a metre: a place then fits a double."""
_TURN: Final = 2 * _HALF_TURN + 1


def widened(rows: I64, made: I64) -> I64:
    """Return rows int64 [n, width] with the words of `made` behind; [n, width + words]."""
    width = rows.shape[1]
    wide = np.empty((len(rows), width + len(made)), dtype=np.int64)
    wide[:, :width] = rows
    widen(wide, width, made)
    return wide


@jit
def widen(rows: I64, width: int, made: I64) -> None:
    """Fill the words of `rows` from `width` on, in order: one may be made of another."""
    for n in range(rows.shape[0]):
        for m in range(made.shape[0]):
            rows[n, width + m] = word_of(rows[n], made[m])


@jit_inline
def word_of(row: I64, made: I64) -> int:
    """Return one word; a value is MISSING where the event does not count, a key is 0 where a part is missing."""
    op, a = made[M_OP], row[made[M_A]]
    if op == JOINED:
        return joined(a, row[made[M_B]])
    amount, low, below = row[VALUES], made[M_FROM], made[M_BELOW]
    limited = low != MISSING or below != MISSING
    if op == EMPTY or a == MISSING or (limited and amount == MISSING):
        return MISSING
    if (low != MISSING and amount < low) or (below != MISSING and amount >= below):
        return MISSING
    if op == NEGATED:
        return int(-a)
    if op == PLACED:
        return place_of(a, row[made[M_B]], made[M_P], made[M_Q])
    if op == WITHIN:
        return int(a)
    return limb(a, op == SQUARE_HIGH)


@jit_inline
def joined(a: int, b: int) -> int:
    """Return the key of two keys in this order."""
    if a == 0 or b == 0:
        return 0
    key = np.int64(mix((mix(np.uint64(a)) << np.uint64(1)) ^ mix(np.uint64(b) + np.uint64(0x9E3779B97F4A7C15))))
    return int(key) if key != 0 else 1


@jit_inline
def limb(x: int, high: bool) -> int:
    """Return a limb of x², which has 80 bits."""
    x = min(abs(x), LARGEST)
    upper, lower = x >> 20, x & 0xFFFFF
    # x² = upper²·2⁴⁰ + 2·upper·lower·2²⁰ + lower²
    rest = ((2 * upper * lower & 0xFFFFF) << 20) + lower * lower
    if high:
        return upper * upper + (2 * upper * lower >> 20) + (rest >> LIMB_BITS)
    return rest & ((1 << LIMB_BITS) - 1)


@jit_inline
def place_of(latitude: int, longitude: int, p: int, q: int) -> int:
    """Return a place as one number; MISSING where it is none. Both come in 10⁻ᵖ and 10⁻ᵠ degrees."""
    if longitude == MISSING:
        return MISSING
    north, east = in_steps(latitude, p), in_steps(longitude, q)
    if abs(north) > _HALF_TURN // 2 or abs(east) > _HALF_TURN:
        return MISSING
    return (north + _HALF_TURN // 2) * _TURN + east + _HALF_TURN


@jit_inline
def in_steps(angle: int, decimals: int) -> int:
    """Return an angle in 10⁻⁵ degrees; far beyond a turn where it is no angle."""
    if abs(angle) > 10**9:
        return 10 * _HALF_TURN
    for _ in range(decimals, 5):
        angle *= 10
    for _ in range(5, decimals):
        angle //= 10
    return angle


@jit_inline
def north_of(place: int) -> float:
    """Return a place's latitude in degrees."""
    return (place // _TURN - _HALF_TURN // 2) / 1e5


@jit_inline
def east_of(place: int) -> float:
    """Return a place's longitude in degrees."""
    return (place % _TURN - _HALF_TURN) / 1e5

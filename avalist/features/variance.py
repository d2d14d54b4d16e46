"""Variances from integer sums: n·Σx² − (Σx)² in 128 bits, then one division."""

from __future__ import annotations

import math

import numpy as np

from avalist.features.jit import jit_inline, jit_part
from avalist.features.layout import F64, I64, PLACE, V_CELL, V_HIGH, V_LOW, V_X
from avalist.features.widen import LIMB_BITS

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_WORD = np.uint64(64)


@jit_part
def compute_variances(variances: I64, first: int, end: int, cells: F64) -> None:
    """Write some variances from the cells of count, sum and the limbs of the squares' sum."""
    for v in range(first & PLACE, end):
        x, high, low = variances[v, V_X] & PLACE, variances[v, V_HIGH] & PLACE, variances[v, V_LOW] & PLACE
        cells[variances[v, V_CELL] & PLACE] = variance(cells[x], cells[x + 1], cells[high + 1], cells[low + 1])


@jit_inline
def variance(count: float, total: float, high: float, low: float) -> float:
    """Return the mean square less the square of the mean, of `count` numbers; NaN of none.

    >>> variance(3.0, 6.0, 0.0, 14.0) == 2 / 3
    True
    """
    if not count > 0.0:
        return math.nan
    n, sum_high, sum_low = np.uint64(count), np.uint64(high), np.uint64(low)
    bits = np.uint64(LIMB_BITS)
    squares = sum_low + (sum_high << bits)
    over = (sum_high >> (_WORD - bits)) + np.uint64(squares < sum_low)
    top, bottom = product(n, squares)
    top += n * over
    less_top, less = product(np.uint64(abs(total)), np.uint64(abs(total)))
    if top < less_top or (top == less_top and bottom < less):
        return 0.0  # numbers beyond what their squares hold
    return as_float(top - less_top - np.uint64(bottom < less), bottom - less) / (count * count)


@jit_inline
def product(a: np.uint64, b: np.uint64) -> tuple[np.uint64, np.uint64]:
    """Return the upper and the lower word of a·b."""
    a1, a0, b1, b0 = a >> _HALF, a & _LOW, b >> _HALF, b & _LOW
    low = a0 * b0
    middle = a1 * b0 + (low >> _HALF)
    other = a0 * b1 + (middle & _LOW)
    return a1 * b1 + (middle >> _HALF) + (other >> _HALF), (other << _HALF) | (low & _LOW)


@jit_inline
def as_float(top: np.uint64, bottom: np.uint64) -> float:
    """Return the nearest double of 128 bits: shifted into one word, with what falls off in its last bit."""
    scale, one = 1.0, np.uint64(1)
    while top != np.uint64(0):
        bottom = (top << np.uint64(63)) | (bottom >> one) | (bottom & one)
        top >>= one
        scale *= 2.0
    return float(bottom) * scale

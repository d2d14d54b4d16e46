"""Our own logarithm, exponential and distance on earth: the same bits on every machine (architecture §4.10).

Only IEEE additions, multiplications, divisions and square roots in a fixed order; no libm.
"""

from __future__ import annotations

import math

from avalist.features.jit import jit_inline

_LN2 = 0.6931471805599453
_PI = 3.141592653589793
_EARTH_KM = 6371.0088


@jit_inline
def ln(x: float) -> float:
    """Return the natural logarithm of a finite x > 0, to about 1e-15 relative.

    ln x = e·ln 2 + 2·artanh((m − 1)/(m + 1)) with x = m·2^e, m in [2/3, 4/3).

    >>> abs(ln(10.0) - 2.302585092994046) < 1e-14
    True
    """
    exponent = 0
    while x >= 4.0 / 3.0:
        x *= 0.5
        exponent += 1
    while x < 2.0 / 3.0:
        x *= 2.0
        exponent -= 1
    s = (x - 1.0) / (x + 1.0)
    square = s * s
    total = 0.0
    for k in range(25, -1, -2):
        if k > 0:
            total = total * square + 1.0 / k
    return exponent * _LN2 + 2.0 * s * total


@jit_inline
def exp(x: float) -> float:
    """Return e to the x for −700 ≤ x ≤ 700 (clipped), to about 1e-15 relative.

    e^x = 2^k · e^r with |r| ≤ ln 2 / 2, the second by its Taylor series.

    >>> abs(exp(1.0) - 2.718281828459045) < 1e-14
    True
    """
    x = min(max(x, -700.0), 700.0)
    k = int(x / _LN2 + (0.5 if x >= 0.0 else -0.5))
    r = x - k * _LN2
    total = 1.0
    for n in range(16, 0, -1):
        total = 1.0 + total * r / n
    base = 2.0 if k >= 0 else 0.5
    for _ in range(abs(k)):
        total *= base
    return total


@jit_inline
def sigmoid(x: float) -> float:
    """Return 1/(1 + e^−x).

    >>> sigmoid(0.0)
    0.5
    """
    return 1.0 / (1.0 + exp(-x))


@jit_inline
def sine(x: float) -> float:
    """Return the sine of an angle in radians, |x| ≤ π, to about 1e-15: its Taylor series.

    >>> abs(sine(1.0) - 0.8414709848078965) < 1e-15
    True
    """
    if x > _PI / 2.0:
        x = _PI - x
    elif x < -_PI / 2.0:
        x = -_PI - x
    total, square = 1.0, x * x
    for n in range(22, 0, -2):
        total = 1.0 - total * square / (n * (n + 1))
    return x * total


@jit_inline
def arcsine(x: float) -> float:
    """Return the angle in radians whose sine is x, for 0 ≤ x ≤ 1, to about 1e-15: its power series up to a half.

    >>> abs(arcsine(1.0) - 1.5707963267948966) < 1e-15, abs(arcsine(0.25) - 0.25268025514207865) < 1e-15
    (True, True)
    """
    near = x <= 0.5
    s = x if near else math.sqrt((1.0 - x) / 2.0)
    term, total, square = s, s, s * s
    for n in range(1, 60, 2):
        term *= square * n * n / ((n + 1) * (n + 2))
        total += term
    return total if near else _PI / 2.0 - 2.0 * total


@jit_inline
def distance_km(north: float, east: float, north2: float, east2: float) -> float:
    """Return the distance on earth between two places in degrees, as on a sphere of its mean radius.

    The haversine formula (Sinnott, "Virtues of the haversine", Sky and Telescope 68, 1984).

    >>> round(distance_km(52.52, 13.405, 48.8566, 2.3522))
    877
    """
    radian = _PI / 180.0
    up, along = sine((north2 - north) * radian / 2.0), sine((east2 - east) * radian / 2.0)
    widths = sine((90.0 - abs(north)) * radian) * sine((90.0 - abs(north2)) * radian)
    return 2.0 * _EARTH_KM * arcsine(math.sqrt(min(up * up + widths * along * along, 1.0)))

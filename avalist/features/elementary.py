"""Our own logarithm and exponential: the same bits on every machine (architecture §4.10).

Only IEEE additions, multiplications and divisions in a fixed order; no libm.
"""

from __future__ import annotations

from avalist.features.jit import jit_inline

_LN2 = 0.6931471805599453


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

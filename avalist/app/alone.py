"""Score payments with an exported model. It needs Python 3.9 or newer and nothing else; not Avalist.

    python score.py rows.csv            p_fraud of each row: a header with the model's columns, empty cells are unknown;
                                        other columns are passed over
    python score.py --check             score the rows of check.json and compare with what Avalist said

It reads model.json and calibration.json beside itself (README.md says what is in them). The probability is the same to
the last digit: the same float32 comparisons, the same order of additions, the same exponential.
"""

from __future__ import annotations

import csv
import json
import math
import struct
import sys
from pathlib import Path
from typing import Any

LN2 = 0.6931471805599453


def as_float32(x: float | None) -> float | None:
    """Return a number as float32 keeps it: columns are compared as such. None stays None, too large is infinite."""
    if x is None or x != x:
        return None
    try:
        return float(struct.unpack("<f", struct.pack("<f", x))[0])
    except OverflowError:
        return math.copysign(math.inf, x)


def margin(forest: dict[str, Any], row: list[float | None]) -> float:
    """Return the log-odds that a forest gives a row of float32 values; None is unknown."""
    total = 0.0
    for tree in forest["trees"]:
        at = 0
        while tree["feature"][at] >= 0:
            x = row[tree["feature"][at]]
            bound = tree["threshold"][at]
            left = tree["unknown_left"][at] if x is None else bound is None or x <= bound
            at = tree["left"][at] if left else tree["right"][at]
        total += tree["value"][at]
    return float(total + forest["base"])


def exp(x: float) -> float:
    """Return e to the x by IEEE additions, multiplications and divisions alone: the same bits everywhere."""
    x = min(max(x, -700.0), 700.0)
    k = int(x / LN2 + (0.5 if x >= 0.0 else -0.5))
    r = x - k * LN2
    total = 1.0
    for n in range(16, 0, -1):
        total = 1.0 + total * r / n
    for _ in range(abs(k)):
        total *= 2.0 if k >= 0 else 0.5
    return total


def calibrated(z: float, calibration: dict[str, Any]) -> float:
    """Return P(fraud) at a margin: piecewise linear in log-odds, clipped, rounded to 1e-9."""
    knots, log_odds, slope = calibration["knots"], calibration["log_odds"], calibration["slope"]
    if z <= knots[0]:
        y = log_odds[0] + slope * (z - knots[0])
    elif z >= knots[-1]:
        y = log_odds[-1] + slope * (z - knots[-1])
    else:
        i = max(k for k in range(len(knots)) if knots[k] <= z)
        share = (z - knots[i]) / (knots[i + 1] - knots[i])
        y = log_odds[i] + share * (log_odds[i + 1] - log_odds[i])
    least = calibration["least"]
    p = min(max(1.0 / (1.0 + exp(-y)), least), 1.0 - least)
    return math.floor(float(p) * 1e9 + 0.5) / 1e9


def p_fraud(row: dict[str, float | None], model: dict[str, Any], calibration: dict[str, Any]) -> float:
    """Return P(fraud) of a row: column name -> number, or None or no entry where it is unknown."""
    values = [as_float32(row.get(name)) for name in model["columns"]]
    if model["prior"] is not None:
        values.append(as_float32(margin(model["prior"], values)))
    return calibrated(margin(model, values), calibration)


def main(arguments: list[str]) -> int:
    here = Path(__file__).parent
    model = json.loads((here / "model.json").read_text(encoding="utf-8"))
    calibration = json.loads((here / "calibration.json").read_text(encoding="utf-8"))
    if arguments == ["--check"]:
        rows = json.loads((here / "check.json").read_text(encoding="utf-8"))
        wrong = [row for row in rows if p_fraud(row["columns"], model, calibration) != row["p_fraud"]]
        print(f"{len(rows) - len(wrong)} of {len(rows)} rows score as they did")
        return 1 if wrong else 0
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print(__doc__)
        return 2
    with open(arguments[0], newline="", encoding="utf-8") as file:
        table = csv.DictReader(file)
        names = [name for name in model["columns"] if name in (table.fieldnames or ())]
        if len(names) < len(model["columns"]):
            print(f"{len(names)} of the model's {len(model['columns'])} columns are there", file=sys.stderr)
        if not names:
            return 2
        for cells in table:
            row: dict[str, float | None] = {name: float(cells[name]) for name in names if cells[name]}
            print(f"{p_fraud(row, model, calibration):.9f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What each aggregate makes of the rows that the contract gives it, by brute force."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from avalist.domain.records import FoldKind
from avalist.domain.row import AT, CAPTURED_DELTA, FRAUD_DELTA, KIND, MISSING, OCCURRED, VALUES, T
from avalist.domain.schema import DAY_MS, Schema
from avalist.features.declare import RUN_GAP, Feature
from avalist.features.elementary import distance_km

Row = Sequence[int]
NAN = math.nan
JUDGED = ("captured", "frauds", "fraud_mean", "clean", "rate", "since_fraud", "since_first_fraud")


class Seen(NamedTuple):
    """What a decision sees for a feature: its key's life, the rows in the window, and of these the ones `inside` that
    the feature counts; `at` is the place of its field, in units of `scale`. `whole` and `met` are numbers of rows and
    of other keys."""

    schema: Schema
    f: Feature
    now: Row
    at: int
    scale: float
    life: list[Row]
    window: list[Row]
    inside: list[Row]
    whole: int
    met: int
    known: float


def aggregate(s: Seen, values: dict[str, float]) -> float:
    """The feature's value; `values` are those of the features before it."""
    f, now, value = s.f, s.now, s.now[s.at]
    top, bottom = (values[name] for name in f.over) if f.over else (NAN, NAN)
    always = {
        "value": value * s.scale if value != MISSING else NAN, "hour": now[OCCURRED] % DAY_MS / 3_600_000.0,
        "weekday": (now[OCCURRED] // DAY_MS + 3) % 7.0, "ratio": top / bottom if bottom else NAN, "known": s.known,
    }  # fmt: skip
    if f.aggregate in always or not s.life:
        return always.get(f.aggregate, NAN)
    if f.aggregate == "speed":
        return speed(s)
    told = latest(s) if f.latest else judged(s, values.get(f.prior, NAN)) if f.aggregate in JUDGED else counted(s)
    return told.get(f.aggregate, NAN)


def counted(s: Seen) -> dict[str, float]:
    """What is made of numbers of rows, of their values, and of times since."""
    x, n, t = [r[s.at] for r in s.inside if r[s.at] != MISSING], len(s.inside), s.now[AT]
    last = max((r[T] for r in s.life if r[KIND] <= FoldKind.PAYMENT), default=NAN)
    first = min((r[T] for r in s.life if r[KIND] <= FoldKind.SESSION), default=NAN)
    spread = float(len(x) * sum(v * v for v in x) - sum(x) ** 2)
    return {
        "since_last": (t - last) / 1000, "since_first": (t - first) / 1000, "count": float(n), "distinct": float(s.met),
        "sum": sum(x) * s.scale, "share": n / s.whole if s.whole else NAN,
        **({"max": max(x) * s.scale, "min": min(x) * s.scale, "mean": float(sum(x)) / len(x) * s.scale,
            "variance": spread / float(len(x) ** 2) * s.scale**2} if x else {}),
    }  # fmt: skip


def judged(s: Seen, prior: float) -> dict[str, float]:
    """What is made of labels: sums of what became of payments, by steps of time where fraud comes in runs."""
    f, t, step = s.f, s.now[AT], s.f.step_ms or 1
    n, frauds = (float(sum(r[column] for r in s.window)) for column in (CAPTURED_DELTA, FRAUD_DELTA))
    stolen = float(sum(r[VALUES] * r[FRAUD_DELTA] for r in s.window))
    steps = [
        k for k in {r[T] // step for r in s.window} if sum(r[FRAUD_DELTA] for r in s.window if r[T] // step == k) > 0
    ]
    first = bad = max(steps, default=NAN)
    for k in sorted(steps, reverse=True):
        first = k if first - k <= f.window_ms // (RUN_GAP * step) else first
    expected = f.strength * (prior if prior >= 0 else 0.01)
    return {
        "captured": n, "frauds": frauds, "fraud_mean": stolen / frauds if frauds > 0 else NAN,
        "clean": float(sum(r[CAPTURED_DELTA] for r in s.window if not r[T] // step <= bad)),
        "rate": (frauds + expected) / (n + f.strength) if n + f.strength else NAN,
        "since_fraud": (t - bad * step) / 1000, "since_first_fraud": (t - first * step) / 1000,
    }  # fmt: skip


def latest(s: Seen) -> dict[str, float]:
    """What the latest events tell: by time, those of one time by seq, which `inside` is in."""
    valued = s.f.aggregate != "since_kth" or s.f.kinds == 1
    last = sorted((r for r in s.inside if not valued or r[s.at] != MISSING), key=lambda r: r[T])[-s.f.latest :]
    mean = float(sum(r[s.at] for r in last)) / len(last) * s.scale if last else NAN
    if len(last) < s.f.latest:
        return {"mean_last": mean}
    return {"mean_last": mean, "last": last[0][s.at] * s.scale, "since_kth": (s.now[AT] - last[0][T]) / 1000}


def speed(s: Seen) -> float:
    """Kilometres an hour from the last known place, as if at least a minute had passed."""
    met = sorted((r for r in s.inside if place_of(s, r)), key=lambda r: r[T])
    here, there = place_of(s, s.now), place_of(s, met[-1]) if met else None
    took_s = (s.now[AT] - met[-1][T]) / 1000 if met else NAN
    return distance_km(*there, *here) / (max(took_s, 60.0) / 3600.0) if here and there else NAN


def place_of(s: Seen, row: Row) -> tuple[float, float] | None:
    """Latitude and longitude in degrees, as far as the state keeps them."""
    numbers, found = {n.name: (VALUES + 1 + i, n.decimals) for i, n in enumerate(s.schema.numbers)}, []
    for name, most in zip(s.f.place or (), (90, 180), strict=True):
        at, decimals = numbers[name]
        if row[at] == MISSING or abs(row[at]) > most * 10**decimals:
            return None
        found.append(row[at] * 10 ** (5 - decimals) / 1e5)
    return found[0], found[1]

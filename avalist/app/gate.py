"""The gate that a challenger must pass before it decides (modelling §2.5).

It is scored over the merchant's last days by the functions that decide live, and what it would have done is compared in
money with what the active model would have done, on the days that grew no tree of it. Every condition leaves a check
with its figures, passed or not: they are the evidence that enters the log.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import numpy as np

from avalist.app.backtest import decide_again, kept_by, let_in, logged_of, worth_of
from avalist.app.past import Bools, Past, Period
from avalist.app.reread import Records, read_past
from avalist.domain.core import Check, Evidence
from avalist.domain.delay import DelayLaw
from avalist.domain.schema import DAY_MS
from avalist.models.artefact import Artefact
from avalist.models.delay import as_declared
from avalist.models.judge import MOST_OFF, Draws, Level, levels
from avalist.models.metrics import Interval
from avalist.models.off_policy import Worth, pseudo
from avalist.models.score import Model
from avalist.models.trees import F32, F64, I64, Trees

WINDOW_D: Final = 45
MOST_TREES: Final = 600
MOST_ROW_US: Final = 500.0
"""A row's score may take so long: a hundredth of the default deadline."""
THRESHOLDS: Final = (50, 80, 90, 95, 98)
"""Percentiles at which ``risk_score`` is looked at."""
_HOUR_MS: Final = 3_600_000
_LEAST_REPORTED: Final = 0.01
_RANKED_D: Final = 28
_RECENT_D: Final = 3
_MOST_OF_SEGMENT: Final = 8
_ROWS, _SKEW = 200, 0.5
Read = Callable[[], Records]
Clock = Callable[[], int]
"""Nanoseconds, from any beginning."""


class Shadow(NamedTuple):
    """The last days under two models: payments with the challenger's probability, and which each would let in."""

    past: Past
    before: Bools
    after: Bools


def shadow(read: Read, merchant: str, challenger: Artefact, active: Artefact | None, period: Period) -> Shadow:
    """Score a period by both models and decide it twice. Raises as ``read_past``.

    Without an active model the comparison is with what was done.
    """
    past = read_past(read, merchant, period, challenger)
    after = kept_by(decide_again(past))
    if active is None:
        return Shadow(past, let_in(past), after)
    return Shadow(past, kept_by(decide_again(read_past(read, merchant, period, active))), after)


def last_days(cut_ms: int, days: float = WINDOW_D) -> Period:
    """Return the last days up to a time, that time included."""
    return Period(cut_ms - round(days * DAY_MS), cut_ms + 1)


def judge(
    seen: Shadow, model: Artefact, active: Artefact | None = None, *, row_us: float = 0.0, parity: str = ""
) -> Evidence:
    """Judge a challenger, on payments that neither model learnt from.

    `parity` says how parity is broken, or nothing; `row_us` what a row's score takes.
    """
    past, judged = seen.past, unlearnt(seen.past, model)
    if active is not None:
        judged = judged & unlearnt(past, active)
    recent = past.t_ms >= past.t_ms[-1] - _RECENT_D * DAY_MS
    known = reported_by(past, model)
    gain = gained(seen, judged & (known >= _LEAST_REPORTED), known)
    checks = (
        _profit(gain, int(judged.sum()), past, relevelled(model, active)),
        *_levels(past, judged, known),
        _latency(model, row_us),
        _ranks(seen, model),
        Check("parity", not parity, parity or "decisions saw what their log gives again"),
    )
    return Evidence(
        against=active.version if active is not None else "",
        from_ms=int(past.t_ms[0]),
        to_ms=int(past.t_ms[-1]) + 1,
        payments=len(past.t_ms),
        judged=int(judged.sum()),
        gain_minor=gain.value,
        gain_low_minor=gain.low,
        gain_high_minor=gain.high,
        declined=float((~seen.after[recent]).mean()),
        declined_before=float((~seen.before[recent]).mean()),
        checks=checks,
    )


def unlearnt(past: Past, model: Artefact) -> Bools:
    """Tell which payments grew no tree of a model: those of the days it held, and those after its training.

    A network prior's trees grew from none of them.
    """
    if model.trained == "prior":
        return np.ones(len(past.t_ms), np.bool_)
    later = past.t_ms > model.data.last_ms
    return later if model.held is None else later | model.held(past.t_ms)


def reported_by(past: Past, model: Artefact) -> F64:
    """Return F of each payment: by the law that the model estimated, or else by the declared one."""
    law = model.delay or as_declared(DelayLaw(*past.schema.report_delay_d))
    return law.reported_by((past.cut_ms - past.t_ms) / DAY_MS)


def gained(seen: Shadow, rows: Bools, known: F64) -> Interval:
    """Return what the challenger earns more on some payments, doubly robust, with a 90 % interval.

    A report counts 1/F. Hours are drawn: payments of an hour share its wave, and a new attack has few days. A draw may
    leave any report out, so that two or three lucky ones prove nothing.
    """
    past = seen.past
    logged, worth = logged_of(past, known, _LEAST_REPORTED), worth_of(past, past.policy)
    none, ones = np.zeros(len(known)), np.ones(len(known))
    each = worth.of(pseudo(logged, Worth(ones, none)), pseudo(logged, Worth(none, ones)))
    more = seen.after.astype(np.float64) - seen.before
    return Draws(past.t_ms // _HOUR_MS).total(np.where(rows, more * each, 0.0))


def _profit(gain: Interval, judged: int, past: Past, relevelled: bool) -> Check:
    unit = f"{past.schema.base_currency} minor units"
    wanted = "the upper bound must not be below 0" if relevelled else "the lower bound must be above 0"
    words = (
        f"on {judged:,} payments that grew no tree it earns {gain.value:+,.0f} {unit} more, "
        f"{gain.low:+,.0f} to {gain.high:+,.0f} with 90 %; {wanted}"
    )
    return Check("profit", gain.high >= 0.0 if relevelled else gain.low > 0.0, words)


def _levels(past: Past, judged: Bools, known: F64) -> Iterator[Check]:
    """Yield the checks of calibration: over all payments, and by segment, of those whose outcome can be known."""
    rows = np.flatnonzero(judged & let_in(past) & past.captured)
    y, due = past.fraud[rows].astype(np.float64), past.p[rows] * known[rows]
    whole = _level(past, rows, y, due)
    yield Check("calibration", whole is not None and not whole.off, _said("all payments", whole))
    bad = []
    for by, (names, place) in past.groups.items():
        for k in np.argsort(-np.bincount(place), kind="stable")[:_MOST_OF_SEGMENT].tolist():
            mine = place[rows] == k
            level = _level(past, rows[mine], y[mine], due[mine])
            if level is not None and level.off and level.observed > level.expected:
                bad.append(_said(f"{by} {names[k]}", level))
    fine = f"no product, country or age of account has more than {MOST_OFF:g} times the frauds expected of it"
    yield Check("segments", not bad, "; ".join(bad) or fine)


def _level(past: Past, rows: I64, y: F64, due: F64) -> Level | None:
    everything = np.array([0.0, 1.0])
    draws = Draws(past.t_ms[rows] // _HOUR_MS)
    return next(iter(levels(np.zeros(len(rows)), everything, y, due, draws)), None)


def _said(group: str, level: Level | None) -> str:
    if level is None:
        return f"{group}: there are none to judge by"
    return f"{group}: {level.observed:,.0f} frauds are reported, {level.expected:,.1f} were expected by now"


def relevelled(model: Artefact, active: Artefact | None) -> bool:
    """Tell whether both are a network prior, at other levels: the newer one knows more reports and ranks the same."""
    return active is not None and model.trained == active.trained == "prior"


def _latency(model: Artefact, row_us: float) -> Check:
    trees = sum(len(part.roots) for part in (model.trees, model.prior_trees) if part is not None)
    words = f"{trees} trees of at most {MOST_TREES}; a row takes {row_us:.0f} µs of at most {MOST_ROW_US:.0f}"
    return Check("latency", trees <= MOST_TREES and row_us <= MOST_ROW_US, words)


def _ranks(seen: Shadow, model: Artefact) -> Check:
    """Look at whether ``risk_score`` means what it meant: a threshold of customers must catch as many as before."""
    rows = seen.past.t_ms >= seen.past.t_ms[-1] - _RANKED_D * DAY_MS
    shares = shares_from(model, seen.past.p[rows])
    off = []
    for wanted, (above, at) in zip((1.0 - k / 100.0 for k in THRESHOLDS), shares, strict=True):
        room = _SKEW * wanted + 3.0 * math.sqrt(wanted * (1.0 - wanted) / rows.sum())
        off.append(above > wanted + room or at < wanted - room)
    said = ", ".join(f"{at:.1%} at {k} or above" for k, (_, at) in zip(THRESHOLDS, shares, strict=True))
    return Check("risk scores", not any(off), f"of the last payments {said}")


def shares_from(model: Artefact, p: F64) -> list[tuple[float, float]]:
    """Return, for each of ``THRESHOLDS``, the share of payments above the score that reaches it, and at or above it.

    They differ where many payments have the same score.
    """
    least = model.calibration.apply(model.percentiles)[np.array(THRESHOLDS) - 1]
    return [(float((p > score).mean()), float((p >= score).mean())) for score in least.tolist()]


def row_us(model: Model, now_ns: Clock) -> float:
    """Return the median time that one row's score takes, µs; rows that walk the trees every way."""
    taken = []
    for row in _typical(model.artefact.trees, _ROWS):
        began = now_ns()
        model.score(row[None])
        taken.append(now_ns() - began)
    return float(np.median(taken)) / 1e3


def _typical(trees: Trees, rows: int) -> F32:
    """Return rows of values at which the trees part, float32 [n, n_features]."""
    inner = trees.nodes[trees.nodes["left"] > 0]
    column, rng = inner["feature"] >> 1, np.random.default_rng(0)
    found = np.zeros((rows, trees.n_features), np.float32)
    for f in np.unique(column).tolist():
        found[:, f] = rng.choice(inner["threshold"][column == f], rows)
    return found

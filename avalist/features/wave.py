"""Wave detection: which patterns come far more often than they did, at a stated rate of false alarms.

Every payment of the merchant is a trial; a pattern is hit when an account pays with it that is not among the last four
that did. Before: the chance of a hit is at most p₀, the pattern's share of the merchant's payments over about two weeks
up to the step before this one, with an upper margin for its error. After: p₁ = max(p₀ + q, 3·p₀), for a wave of a
hundredth and of a sixteenth of all payments. The evidence of each is Page's cumulative sum in nats,
S ← max(S, 0) + ln(p₁/p₀) at a hit and S ← S − ln((1 − p₀)/(1 − p₁)) at any other payment, computed at hits alone.

exp(S) is an e-detector: before any change it grows by one a trial at most. Stopping when the mean of exp(S) over all
patterns reaches A gives at least A payments until a false alarm, however the patterns depend on each other (Shin,
Ramdas and Rinaldo, "E-detectors: a nonparametric framework for sequential change detection", New England Journal of
Statistics in Data Science 2(2), 2024; the sum is Page, "Continuous inspection schemes", Biometrika 41, 1954). An alarm
at S ≥ ln(A · patterns · 2) is that with weights spread evenly. A is the merchant's payments of FALSE_ALARM_D days. The
guarantee holds where p₀ is not too low: a price list that changes, or a product that is new, is a burst like another.

A merchant's rate by hour and day does not matter, as its own payments are the clock. All state is integers, of fixed
size, and a fold of the payments alone.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from avalist.domain.records import FoldKind
from avalist.domain.row import AT, KIND, VALUES, keys_at
from avalist.domain.schema import WATCHED, WAVE_SOURCES, Schema
from avalist.features.elementary import ln
from avalist.features.jit import jit, jit_inline
from avalist.features.layout import I64

FALSE_ALARM_D: Final = 128
"""Days of a merchant's payments until a false alarm, in expectation and at least."""
SETS: Final = 2048
WAYS: Final = 8
"""Patterns that are remembered are SETS · WAYS; the least frequent of eight gives way."""
STEP_MS: Final = 21_600_000
QUIET_MS: Final = 43_200_000
"""A wave is over when its pattern was not hit for so long, or when its evidence has waned by seven nats."""

PAYMENTS, STEP, STAGED, TOTAL, PATTERNS = range(5)
HEAD: Final = 8
P_KEY, P_TRIAL, P_STEP, P_STAGED, P_SLOW, P_FAST, P_SMALL, P_RUN, P_SEEN, P_SEEN2, P_OPENED, P_LAST, P_GAP = range(13)
SLOT: Final = 13
WORDS: Final = HEAD + SETS * WAYS * SLOT

EVIDENCE, RUN, ALARMS, EXCESS, OPEN = range(5)
"""What a payment is told: its loudest pattern's evidence in hundredths of a nat, that one's hits since its evidence
began, how many of its patterns are in alarm, how many in a hundred of such an alarm's latest hits are more than usual,
and which are in alarm: bit i for the i-th that is watched."""
MARKS: Final = 5

_ONE: Final = 1 << 16
_NAT: Final = 1 << 20
_FORGET: Final = 64
_WARM_PAYMENTS: Final = 500
_LEAST_RATIO: Final = 3.0
_COMMON: Final = 0.2
_LARGE: Final = 1.0 / 16.0
_SMALL: Final = 0.01
_CLOSE: Final = 7 * _NAT
_LATEST: Final = 8
"""Hits over which the present rate of a pattern is taken."""
_KEPT_STEPS: Final = 2048


class Watch:
    """One merchant's waves: what its payments are told of them fills the numbers that its schema asks for."""

    def __init__(self, schema: Schema) -> None:
        told = [(VALUES + 1 + n, WAVE_SOURCES.index(d.source)) for n, d in enumerate(schema.numbers)
                if d.source in WAVE_SOURCES]  # fmt: skip
        first = keys_at(schema)
        self.watched = tuple((e.name, first + n) for n, e in enumerate(schema.entities) if e.source in WATCHED)
        self.words = np.zeros(WORDS if told and self.watched else 0, dtype=np.int64)
        self.marks = np.zeros((0, MARKS), dtype=np.int64)
        self._told = np.array(told, dtype=np.int64).reshape(-1, 2)
        self._first = first
        self._places = np.array([place for _, place in self.watched], dtype=np.int64)

    def __bool__(self) -> bool:
        return len(self.words) > 0

    def fold(self, rows: I64) -> I64:
        """Fold rows int64 [n, width]; return them with what they are told. `marks` int64 [n, MARKS] keeps it."""
        filled = rows.copy()
        self.marks = np.empty((len(rows), MARKS), dtype=np.int64)
        watch(filled, self._first, self._places, self.words, self.marks, self._told)
        filled.flags.writeable = False
        return filled


@jit
def watch(rows: I64, first_key: int, patterns: I64, state: I64, marks: I64, told: I64) -> None:
    """Fold `rows` int64 [n, width] into `state` int64 [WORDS], and mark each, `marks` int64 [n, MARKS].

    `told` int64 [t, 2]: the places in a row of payment that get a mark, and which.

    `first_key` is the place of the account's key in a row, `patterns` int64 [k] those of the patterns' keys. A payment
    is told what is known with itself. What comes again (READ_ONLY) is told and not counted; other kinds are left out.
    """
    for n in range(len(rows)):
        marks[n, :] = 0
        kind = rows[n, KIND]
        if kind != FoldKind.PAYMENT and kind != FoldKind.READ_ONLY:
            continue
        counted, at, loudest = kind == FoldKind.PAYMENT, rows[n, AT], 0
        if counted:
            _begin(state, at // STEP_MS)
        for place in range(len(patterns)):
            key = rows[n, patterns[place]]
            slot = _slot(state, key + place, counted) if key != 0 else -1
            if slot < 0:
                continue
            if counted:
                _hit(state, slot, rows[n, first_key], at)
            if at - state[slot + P_LAST] > QUIET_MS:
                continue
            loud = max(state[slot + P_FAST], state[slot + P_SMALL])
            if loud > loudest:
                loudest = loud
                marks[n, EVIDENCE], marks[n, RUN] = loud * 100 // _NAT, state[slot + P_RUN]
            if state[slot + P_OPENED] > 0:
                marks[n, ALARMS] += 1
                marks[n, EXCESS] = max(marks[n, EXCESS], _excess(state, slot))
                marks[n, OPEN] |= 1 << place
        for i in range(len(told)):
            rows[n, told[i, 0]] = marks[n, told[i, 1]]


@jit_inline
def _begin(state: I64, step: int) -> None:
    """Count a payment; at a new step the last one's payments join the baseline."""
    if step > state[STEP]:
        state[TOTAL] = _faded(state[TOTAL] + state[STAGED] * _ONE, step - state[STEP])
        state[STEP], state[STAGED] = step, 0
    state[PAYMENTS] += 1
    state[STAGED] += 1


@jit_inline
def _faded(count: int, steps: int) -> int:
    if steps > _KEPT_STEPS:
        return 0
    for _ in range(steps):
        count -= count // _FORGET
    return count


@jit_inline
def _slot(state: I64, key: int, make: bool) -> int:
    """Return where a pattern stands, −1 if nowhere; `make` room for a new one in place of the least frequent."""
    mixed = key * 0x2545F4914F6CDD1D
    first = HEAD + ((mixed >> 40) & (SETS - 1)) * WAYS * SLOT
    least, victim = 1 << 62, first
    for way in range(WAYS):
        slot = first + way * SLOT
        if state[slot + P_KEY] == key:
            return slot
        weight = -1
        if state[slot + P_KEY] != 0:
            age = min((state[STEP] - state[slot + P_STEP]) // (_FORGET // 2), 60)
            weight = (state[slot + P_SLOW] + state[slot + P_STAGED]) >> age
            if state[slot + P_OPENED] > 0 and age == 0:
                weight = (1 << 62) - 1
        if weight < least:
            least, victim = weight, slot
    if not make:
        return -1
    if state[victim + P_KEY] == 0:
        state[PATTERNS] += 1
    for word in range(SLOT):
        state[victim + word] = 0
    state[victim + P_KEY] = key
    state[victim + P_STEP] = state[STEP]
    state[victim + P_TRIAL] = state[PAYMENTS]
    return victim


@jit_inline
def _hit(state: I64, slot: int, account: int, at: int) -> None:
    """Fold a payment of a pattern."""
    if _seen(state, slot, account & 0xFFFFFFFF):
        return
    steps = state[STEP] - state[slot + P_STEP]
    if steps > 0:
        state[slot + P_SLOW] = _faded(state[slot + P_SLOW] + state[slot + P_STAGED], steps)
        state[slot + P_STEP], state[slot + P_STAGED] = state[STEP], 0
    missed = state[PAYMENTS] - state[slot + P_TRIAL] - 1
    state[slot + P_TRIAL] = state[PAYMENTS]
    if state[TOTAL] >= _WARM_PAYMENTS * _ONE:
        p = _usual(state, slot)
        before = max(state[slot + P_FAST], state[slot + P_SMALL])
        over = at - state[slot + P_LAST] > QUIET_MS
        fast = _evidence(0 if over else state[slot + P_FAST], missed, p, _LARGE)
        small = _evidence(0 if over else state[slot + P_SMALL], missed, p, _SMALL)
        begun = over or before <= 0 or max(fast[0], small[0]) <= 0
        _judge(state, slot, fast[1], small[1], begun)
        _gauge(state, slot, missed + 1)
    state[slot + P_STAGED] += _ONE // 4 if state[slot + P_OPENED] > 0 else _ONE
    state[slot + P_LAST] = at


@jit_inline
def _usual(state: I64, slot: int) -> float:
    """Return the largest share of the merchant's payments that a pattern may well have had before."""
    count = state[slot + P_SLOW] / _ONE
    return float((count + 2.0 * math.sqrt(count) + 1.0) * _ONE / max(state[TOTAL], 1))


@jit_inline
def _gauge(state: I64, slot: int, trials: int) -> None:
    """Fold the trials up to a hit into their mean: over the run while it is short, then over the latest."""
    if state[slot + P_RUN] <= 1:
        state[slot + P_GAP] = 0  # what came before the first hit tells of the time before
    else:
        gap = min(trials, 1 << 30) * _ONE
        state[slot + P_GAP] += (gap - state[slot + P_GAP]) // min(state[slot + P_RUN] - 1, _LATEST)


@jit_inline
def _excess(state: I64, slot: int) -> int:
    """Return how many in a hundred of a pattern's latest hits are more than usual: 1 - expected / observed."""
    expected = _usual(state, slot) * state[slot + P_GAP] / _ONE
    return int(100.0 * min(max(1.0 - expected, 0.0), 0.99))


@jit_inline
def _judge(state: I64, slot: int, fast: int, small: int, begun: bool) -> None:
    """Keep the evidence; open an alarm where it suffices, close one where it has waned by _CLOSE since it did.

    Evidence that is `begun` anew rests on this payment alone.
    """
    if begun:
        state[slot + P_RUN], state[slot + P_OPENED] = 0, 0
    state[slot + P_RUN] += 1
    enough, loud = _threshold(state), max(fast, small)
    if loud >= enough and state[slot + P_OPENED] == 0:
        state[slot + P_OPENED] = state[PAYMENTS]
    elif loud < enough - _CLOSE and state[slot + P_OPENED] > 0:
        state[slot + P_OPENED], state[slot + P_RUN], fast, small = 0, 0, 0, 0
    state[slot + P_FAST], state[slot + P_SMALL] = min(fast, enough), min(small, enough)


@jit_inline
def _threshold(state: I64) -> int:
    """Return ln(A · patterns · 2): the baseline holds the payments of _FORGET steps."""
    days = _FORGET * STEP_MS / 86_400_000.0
    until = max(state[TOTAL] / _ONE, 1.0) * FALSE_ALARM_D / days
    return int(ln(until * 2.0 * max(state[PATTERNS], 1)) * _NAT)


@jit_inline
def _evidence(evidence: int, missed: int, p: float, q: float) -> tuple[int, int]:
    """Return the evidence after `missed` payments without a hit, and with this one; none of what is most common."""
    if p > _COMMON:
        return 0, 0
    after = max(p + q, _LEAST_RATIO * p)
    waned = evidence - int(min(missed, 1 << 30) * ln((1.0 - p) / (1.0 - after)) * _NAT)
    return waned, max(waned, 0) + int(ln(after / p) * _NAT)


@jit_inline
def _seen(state: I64, slot: int, account: int) -> bool:
    """Tell whether an account is among the last four of a pattern; afterwards it is."""
    one, two = state[slot + P_SEEN], state[slot + P_SEEN2]
    mask = 0xFFFFFFFF
    if account == one & mask or account == (one >> 32) & mask or account == two & mask or account == (two >> 32) & mask:
        return True
    state[slot + P_SEEN2] = (two << 32) | ((one >> 32) & mask)
    state[slot + P_SEEN] = (one << 32) | account
    return False

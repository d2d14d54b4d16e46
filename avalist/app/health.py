"""Is a merchant's model still right for its payments? Checked on what is known now, immature labels included (§2.6).

Three questions, each asked many times over, so each with control of how often chance alone would raise an alert: are as
many frauds reported as were expected by now, of all payments, of each product, at each age; have the values of a column
moved; is a field missing more or less often? An alert also needs a size that matters: in a large shop every difference
is significant.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from avalist.app.dataset import Dataset
from avalist.app.level import CHANCE, LevelCheck, level_checks, off
from avalist.app.parity import Checked
from avalist.domain.alerts import Alert
from avalist.domain.schema import DAY_MS
from avalist.features.codes import code_of
from avalist.features.words import in_words
from avalist.models.judge import evenly
from avalist.models.shift import apart, by_day, design_effect, edges, more_missing, significant, stability
from avalist.models.trees import F32, F64, I64
from avalist.ports.documents import Documents

HEALTH: Final = "health"
"""Collection of the latest check of each merchant."""
MOVED: Final = 0.25
"""Population stability index from which on a column has moved; 0.1 is usually called a small change."""
TIMES_USUAL: Final = 2.0
"""And so many times as far as in any period before: a young shop's columns move all the time, a little."""
_EARLIER: Final = 4
_FEWEST_EARLIER: Final = 2
"""Periods before that tell how far is usual."""
MORE_MISSING: Final = 0.05
_BEFORE_D: Final = 28
_FEWEST: Final = 200
"""Payments on either side of a comparison."""
_SAMPLE: Final = 20_000
_COMPARED: Final = 40_000
_SHOWN: Final = 15
_SCORE: Final = "p_fraud"
_FRAUD_HISTORY: Final = "fraud_history"
"""Columns of known frauds move with every wave of reports, all together: the level is the question to ask of that."""


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """How a column's values moved, the last days against the four weeks before them.

    `psi` is the population stability index, `least` the same without the day that does most to it, `earlier` that of
    each period before, against its own four weeks, the latest first. `distance` is Kolmogorov and Smirnov's, with its
    p-value. `code` is the column's reason code.
    """

    column: str
    code: str
    words: str
    psi: float
    least: float
    distance: float
    p_value: float
    earlier: tuple[float, ...] = ()

    @property
    def far(self) -> bool:
        """Tell whether that is far: in itself, on more than one day, and beside what the column does all the time."""
        usual = max(self.earlier, default=0.0)
        return len(self.earlier) >= _FEWEST_EARLIER and min(self.psi, self.least) > max(MOVED, TIMES_USUAL * usual)


class Missing(msgspec.Struct, frozen=True, kw_only=True):
    """The share of payments without a field, before and lately, and the p-value of the difference."""

    field: str
    before: float
    now: float
    p_value: float


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """A merchant's health as of `at_ms`, the last arrival in its log.

    The last `days` are compared with the four weeks before them; `payments` are those of the last days, `checks` how
    many questions were asked. The columns that moved most come first.
    """

    merchant: str
    at_ms: int
    days: int
    payments: int
    checks: int
    levels: tuple[LevelCheck, ...] = ()
    moved: tuple[Moved, ...] = ()
    missing: tuple[Missing, ...] = ()
    alerts: tuple[Alert, ...] = ()


def keep(documents: Documents, health: Health) -> None:
    """Store a merchant's latest check."""
    documents.put_many([(health.merchant, HEALTH, "latest", msgspec.json.encode(health))])


def kept(documents: Documents, merchant: str) -> Health | None:
    """Return a merchant's latest check, or None."""
    body = documents.get(merchant, HEALTH, "latest")
    return None if body is None else msgspec.json.decode(body, type=Health)


def check(
    data: Dataset, merchant: str, days: int = 7, said: F64 | None = None, broken: Checked | None = None
) -> Health:
    """Check a merchant's replayed log.

    `said` float64 [n] is P(fraud) of each payment before it was learnt from, NaN where nobody said; None: as decided.
    `broken` is how the follower found parity broken.
    """
    said = data.background.decided[:, 0].astype(np.float64) if said is None else said
    levels, windows = level_checks(data, data.cut_ms, said), _windows(data, days)
    moved, missing = tuple(_moved(data, windows, days, said.astype(np.float32))), tuple(_missing(data, windows))
    alerts = (*_no_parity(broken), *_off_levels(levels), *_moved_columns(moved), *_more_missing(missing))
    strongest = sorted(moved, key=lambda one: -one.psi)[:_SHOWN]
    return Health(
        merchant=merchant, at_ms=data.cut_ms, days=days, payments=len(windows.now),
        checks=len(levels) + len(moved) + len(missing), levels=levels, moved=tuple(strongest), missing=missing,
        alerts=alerts,
    )  # fmt: skip


def _no_parity(broken: Checked | None) -> Iterator[Alert]:
    if broken is not None:
        words = (
            f"{broken.different} of {broken.checked} decisions saw other features than the log gives now "
            f"({broken.first})"
        )
        share = broken.different / broken.checked
        yield Alert(kind="parity", subject=f"plan {broken.plan}", value=share, words=words)


class _Windows(NamedTuple):
    """Places of the payments before and lately, evenly sampled."""

    before: I64
    now: I64

    @property
    def enough(self) -> bool:
        return min(len(self.before), len(self.now)) >= _FEWEST


def _windows(data: Dataset, days: int) -> _Windows:
    last = int(data.t_ms[-1]) + 1 if len(data.t_ms) else 0
    begin, middle, end = np.searchsorted(
        data.t_ms, [last - (days + _BEFORE_D) * DAY_MS, last - days * DAY_MS, last]
    ).tolist()
    return _Windows(evenly(np.arange(begin, middle), _SAMPLE), evenly(np.arange(middle, end), _SAMPLE))


class _Periods:
    """The last `length` days, and periods as long before them, each to be compared with its own four weeks before it.

    `rows` are the payments of them all, evenly sampled.
    """

    def __init__(self, t_ms: I64, length: int) -> None:
        last, self.length = int(t_ms[-1]), length
        known = (last - int(t_ms[0])) // DAY_MS + 1
        self.many = 1 + min(max((known - _BEFORE_D) // length - 1, 0), _EARLIER)
        self.days = self.many * length + _BEFORE_D
        first = np.searchsorted(t_ms, last + 1 - self.days * DAY_MS)
        self.rows = evenly(np.arange(first, len(t_ms)), _COMPARED)
        self._age_d = (last - t_ms[self.rows]) // DAY_MS

    def moved(self, column: str, code: str, words: str, values: F32) -> Moved:
        """Compare a column's values, float32 [rows]."""
        both = self.length + _BEFORE_D
        before = values[(self._age_d >= self.length) & (self._age_d < both)]
        counts = by_day(values, self._age_d, self.days, edges(before))
        distance, p_value = apart(before, values[self._age_d < self.length], design_effect(counts[self.length : both]))
        psi, *earlier = (self._psi(counts, k * self.length) for k in range(self.many))
        return Moved(
            column=column, code=code, words=words, psi=psi, least=self._least(counts), distance=distance,
            p_value=p_value, earlier=tuple(earlier),
        )  # fmt: skip

    def _psi(self, counts: I64, begin: int) -> float:
        now, before = self._sides(counts, begin)
        return stability(before.sum(axis=0), now.sum(axis=0))

    def _least(self, counts: I64) -> float:
        """Return the index of the last days without the one that does most to it."""
        now, before = self._sides(counts, 0)
        return min(stability(before.sum(axis=0), now.sum(axis=0) - day) for day in now)

    def _sides(self, counts: I64, begin: int) -> tuple[I64, I64]:
        end = begin + self.length
        return counts[begin:end], counts[end : end + _BEFORE_D]


def _moved(data: Dataset, windows: _Windows, days: int, said: F32) -> Iterator[Moved]:
    if not windows.enough:
        return
    periods, named = _Periods(data.t_ms, days), {feature.name: feature for feature in data.plan.features}
    x = np.asarray(data.x[periods.rows])
    for column, feature in enumerate(data.plan.features):
        yield periods.moved(feature.name, code_of(feature, named), in_words(feature), x[:, column])
    if min(int((~np.isnan(said[rows])).sum()) for rows in windows) >= _FEWEST:
        yield periods.moved(_SCORE, _SCORE, "the probability of fraud", said[periods.rows])


def _missing(data: Dataset, windows: _Windows) -> Iterator[Missing]:
    """Yield how often each declared entity, category and number is missing."""
    if not windows.enough:
        return
    schema, keys = data.schema, data.background.keys
    sources = [one.source for one in schema.entities] + [one.source for one in schema.categories]
    for place, source in enumerate(sources):
        yield _as_missing(source, keys[windows.before, place] == 0, keys[windows.now, place] == 0)
    for number in schema.numbers:
        if number.name in data.plan.columns:
            column = data.plan.columns.index(number.name)
            before, now = (np.isnan(np.asarray(data.x[rows, column])) for rows in windows)
            yield _as_missing(number.source, before, now)


def _as_missing(field: str, before: npt.NDArray[np.bool_], now: npt.NDArray[np.bool_]) -> Missing:
    _, p_value = more_missing(before, now)
    return Missing(field=field, before=float(before.mean()), now=float(now.mean()), p_value=p_value)


def _off_levels(levels: tuple[LevelCheck, ...]) -> Iterator[Alert]:
    for one in off(levels):
        words = f"{one.words}: train again, and see whether report_delay_d fits"
        yield Alert(kind="level", subject=one.subject, value=one.ratio, words=words)


def _moved_columns(moved: tuple[Moved, ...]) -> Iterator[Alert]:
    """Yield an alert for each reason code of which a column has moved: the one that moved most."""
    stands = significant(np.array([one.p_value for one in moved]), CHANCE)
    told: set[str] = set()
    for one, stand in sorted(zip(moved, stands.tolist(), strict=True), key=lambda both: -both[0].psi):
        if stand and one.far and not one.code.startswith(_FRAUD_HISTORY) and one.code not in told:
            told.add(one.code)
            words = f"{one.words}: its values have moved (stability index {one.psi:.2f}); see what changed in the shop"
            yield Alert(kind="drift", subject=one.code, value=one.psi, words=words)


def _more_missing(missing: tuple[Missing, ...]) -> Iterator[Alert]:
    stands = significant(np.array([one.p_value for one in missing]), CHANCE)
    for one, stand in zip(missing, stands.tolist(), strict=True):
        if stand and abs(one.now - one.before) > MORE_MISSING:
            words = f"{one.field} is missing in {one.now:.0%} of payments, {one.before:.0%} before: see the integration"
            yield Alert(kind="missing", subject=one.field, value=one.now - one.before, words=words)

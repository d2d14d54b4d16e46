"""When payments were made."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterable

import numpy as np

from avalist.domain.errors import BadInput
from avalist.history.columns import ISO, numbers
from avalist.history.understanding import lexicon as lex
from avalist.history.understanding.draft import ORDERS, TIME_UNITS, Draft, counted
from avalist.history.understanding.profile import Profile

_COARSE = 5
"""Counts that stand in as many rows each are of hours or days, and not of seconds."""
_DAY_STEPS = 24
_FEW_STEPS = 28 * _DAY_STEPS
"""So few steps are days: four weeks of hours would hardly hold a fraud that was reported."""
_SWING, _EXPLAINED = 0.15, 0.25
"""How far, of their mean, counts swing with the day at least; and the share of all ups and downs that this explains."""


def take_time(d: Draft) -> None:
    """Take the column of times, or those of date and time of day."""
    given = d.answers.get("time")
    if given:
        p = d.profiles[given]
        if not p.time and not p.numeric:
            raise BadInput(
                "no format of times fits this column",
                field="--time",
                expected="a time, or a number",
                got=p.samples[0],
            )
    ranked = sorted((-_time_score(d, p), n, p) for n, p in enumerate(d.left()) if p.name == given or not given)
    best = [p for score, _, p in ranked if score < 0 or p.name == given]
    if best and (given or best[0].time or not _date_in_parts(d)):
        _take_time(d, best[0])
    elif parts := _date_in_parts(d):
        _take_parts(d, parts)
    else:
        _ask(d)


def _ask(d: Draft) -> None:
    numbers = [p for p in d.left() if p.numeric and p.whole and p.distinct > 2]
    partly = [p for p in d.left() if p.time and 0.3 < p.filled < 0.9 and not d.called(p, lex.NOT_PAYMENT_TIME)]
    if partly:
        shares = ", ".join(f"{p.name} in {p.filled:.0%} of the rows" for p in partly)
        text = f"no column holds a time in every row, but {shares}: is it the payment's? Rows without are left out"
        d.ask("time", text, [p.name for p in partly])
        return
    choices = [p.name for p in sorted(numbers, key=lambda p: not d.called(p, lex.TIME, lex.COUNTERS))]
    if choices:
        text = "no column of times was recognised: which one says when a payment was made, if only by counting?"
    else:
        text = "no column can be a time, and a payment needs one: add a column that says when each was made"
    d.ask("time", text + d.unread(lex.TIME), choices)


def _time_score(d: Draft, p: Profile) -> float:
    called = d.called(p, lex.TIME, lex.COUNTERS)
    if p.filled < 0.9 or d.called(p, lex.NOT_PAYMENT_TIME):
        return 0.0
    if p.time:
        return 1 + 2 * called + p.has_clock + 0.5 * p.rising + 0.2 * d.called(p, lex.PAYMENT)
    if p.numeric and called and (p.rising or counted(d, p)):
        return 0.5 + p.rising + 2 * bool(counted(d, p))
    return 0.0


def _take_time(d: Draft, p: Profile) -> None:
    zone = _zone(d)
    format, clock = p.time or _counter(d, p), ""
    if p.time and not p.has_clock:
        columns, clock = _time_of_day(d)
        d.parts["occurred_at"] = (p.name, *columns) if columns else p.name
        _take_all(d, columns, f"the time of day; the date is in {p.name}")
        date = "%Y-%m-%d" if format == ISO else format
        format = f"{date} {clock}" if clock and not (format == ISO and clock.startswith("%H:")) else format
    else:
        d.parts["occurred_at"] = p.name
    why = p.times or d.notes[-1]
    if p.orders and "date_order" in d.answers:
        order = d.answers["date_order"]
        format = format if order == "dmy" else format.replace("%d", "%D").replace("%m", "%d").replace("%D", "%m")
        why = "day first, as you said" if order == "dmy" else "month first, as you said"
    elif p.orders:
        cell = p.samples[0]
        d.ask("date_order", f"is {cell!r} in column {p.name!r} day first or month first?", ORDERS)
    if format != ISO:
        d.formats[p.name] = format
    d.take(p.name, "occurred_at", why + ("" if p.has_clock or clock or not p.time else "; there is no time of day"))
    if p.time:
        known = "in each cell" if "z" in format else f"taken as {zone}" + _how(d, zone)
        d.notes.append(
            f"times that name no zone are {known}" if "z" not in format else "the zone of times stands in each cell"
        )


def _zone(d: Draft) -> str:
    """Return the zone of times that name none: as was said, or as a column of the file says; else UTC."""
    zone = d.parts["timezone"] = d.answers.get("timezone") or _zone_told(d) or "UTC"
    return zone


def _zone_told(d: Draft) -> str:
    """Return the zone that a column names in every row; nothing where there is none, or it names several."""
    for p in d.left():
        if d.called(p, lex.ZONE) and p.filled > 0.9 and p.distinct <= 2:
            names = frozenset(v.upper() for v in p.top)
            known = p.distinct == 1 and p.top[0] in zoneinfo.available_timezones()
            zone = p.top[0] if known else next((zone for pair, zone in lex.ZONES.items() if names <= pair), "")
            if zone:
                d.take(p.name, "timezone", f"times are in {zone}, as it says in every row")
                return zone
            d.notes.append(f"{p.name} names no zone that is known ({', '.join(p.top)})")
    return ""


def _how(d: Draft, zone: str) -> str:
    told = next((r.column for r in d.reasons.values() if r.role == "timezone"), "")
    return "" if "timezone" in d.answers else f", as {told} says" if told else " (--timezone)"


def _time_of_day(d: Draft) -> tuple[tuple[str, ...], str]:
    """Return the columns that say the time of day, and their format; nothing where there are none."""
    full = [p for p in d.left() if p.filled > 0.9]
    clock = next((p for p in full if p.clock), None)
    if clock is not None:
        return (clock.name,), _clock_format(clock)
    digits = next((p for p in full if d.called(p, lex.TIME) and _is_clock_of_digits(d, p)), None)
    if digits is not None:
        return (digits.name,), "%H%M%S"[: digits.longest]
    hour = next((p for p in full if d.called(p, lex.HOUR) and _within(p, 0, 23)), None)
    if hour is None:
        return (), ""
    minute = next((p.name for p in full if d.called(p, lex.MINUTE) and _within(p, 0, 59)), "=00")
    return (hour.name, minute), "%H %M"


def _is_clock_of_digits(d: Draft, p: Profile) -> bool:
    """Tell whether cells are such as ``093015`` or ``0930``, as card networks and airlines write the time of day."""
    if p.length != p.longest or p.longest not in (4, 6) or d.called(p, lex.YEAR):
        return False
    if p.numeric < 1 or not p.whole or not 0 <= p.low <= p.high < 24 * 10 ** (p.longest - 2):
        return False
    cells = numbers(d.frame[p.name], d.mark).drop_nulls()
    return bool(((cells % 100 < 60) & (cells // 100 % 100 < (60 if p.longest == 6 else 24))).all())


def _within(p: Profile, low: int, high: int) -> bool:
    return p.numeric == 1 and p.whole and low <= p.low < p.high <= high


# --- a date whose year, month and day are columns of their own --------------------------------------------------------


def _date_in_parts(d: Draft) -> list[Profile]:
    """Return the columns of year, month and day; none where one of them is missing."""
    ranges = ((lex.YEAR, 1980, 2100), (lex.MONTH, 1, 12), (lex.DAY, 1, 31))
    full = [p for p in d.left() if p.filled == 1 and p.numeric == 1 and p.whole]
    found = [
        next((p for p in full if d.called(p, words) and low <= p.low <= p.high <= high), None)
        for words, low, high in ranges
    ]
    parts = [p for p in found if p is not None]
    return parts if len({p.name for p in parts}) == len(ranges) else []


def _take_parts(d: Draft, parts: list[Profile]) -> None:
    zone = _zone(d)
    columns, clock = _time_of_day(d)
    names = [p.name for p in parts]
    d.parts["occurred_at"] = (*names, *columns)
    d.formats[names[0]] = " ".join(["%Y %m %d", clock]).strip()
    _take_all(d, names, f"year, month and day of a payment stand in {', '.join(names)}")
    _take_all(d, columns, "the time of day")
    d.notes.append(f"times are taken as {zone}" + _how(d, zone))


def _take_all(d: Draft, columns: Iterable[str], why: str) -> None:
    for column in columns:
        if not column.startswith("="):
            d.take(column, "occurred_at", why)


# --- counts -----------------------------------------------------------------------------------------------------------


def _counter(d: Draft, p: Profile) -> str:
    known = counted(d, p)
    if known:
        unit, _, start = known.split()
        zone = "since 1970, which names its zone" if unit != "d" else f"from {start}, as spreadsheets do"
        d.notes.append(f"{p.name} counts {unit} {zone}")
        return known
    unit, why = _unit(d, p)
    d.notes.append(
        f"{p.name} counts {TIME_UNITS[unit]} from a start that the file does not tell: 2020-01-01 stands in, so hours "
        f"and weekdays mean little{why}"
    )
    return f"{unit} since 2020-01-01"


def _unit(d: Draft, p: Profile) -> tuple[str, str]:
    """Return the unit of a count, and why: by its name, or asked for where many rows share each and it does not say."""
    word = next((w for w in p.words[::-1] if w in lex.COUNTERS), "")
    if "time_unit" in d.answers:
        return d.answers["time_unit"], ""
    unit = lex.COUNTERS.get(word, "s")
    coarse = p.whole and p.repeats > _COARSE and p.distinct > (p.high - p.low) / 2
    if not coarse or word not in {"", *lex.VAGUE}:
        return unit, ""
    unit, why = _hours_or_days(d, p)
    text = (
        f"{p.name} counts from {p.low:g} to {p.high:g}, in {p.repeats:.0f} rows or so each: what does it count? "
        f"({unit} is proposed{why}; min are minutes, h hours, d days, w weeks)"
    )
    d.ask("time_unit", text, TIME_UNITS, proposed=unit, needed=False)
    return unit, f"; {TIME_UNITS[unit]} are assumed{why} (--time-unit)"


def _hours_or_days(d: Draft, p: Profile) -> tuple[str, str]:
    """Tell hours from days by how many there are, and by whether payments come and go every 24 of them; and why."""
    steps = p.high - p.low + 1
    if steps >= 2 * _DAY_STEPS and _come_and_go_daily(d, p):
        return "h", f": payments come and go every {_DAY_STEPS}"
    if steps < _FEW_STEPS:
        return "d", f": as hours they would span {steps / _DAY_STEPS:.0f} days"
    return "h", ""


def _come_and_go_daily(d: Draft, p: Profile) -> bool:
    """Tell whether the number of payments of a step follows its place among 24."""
    at = numbers(d.frame[p.name], d.mark).to_numpy() - p.low
    stands_for = np.diff(d.lines, append=d.lines[-1] + 1)  # the sample is denser at the beginning
    known = np.isfinite(at)
    counts = np.bincount(at[known].astype(np.int64), stands_for[known])
    place = np.arange(len(counts)) % _DAY_STEPS
    usual = (np.bincount(place, counts) / np.bincount(place))[place]
    swing, blur = usual.std() / counts.mean(), stands_for.max() / counts.mean()
    explained = 1 - ((counts - usual) ** 2).mean() / max(counts.var(), 1e-9)
    chance = (_DAY_STEPS - 1) / (len(counts) - 1)
    return bool(swing > _SWING + blur / 2 and explained > chance + _EXPLAINED * (1 - chance))


def _clock_format(p: Profile) -> str:
    cell = p.samples[0]
    hour, twelve = next(c for c in cell if not c.isdigit()), cell[-1:] in "mM."
    return (
        ("%I" if twelve else "%H")
        + f"{hour}%M"
        + (":%S%.f" if cell.count(":") == 2 else "")
        + (" %p" if twelve else "")
    )

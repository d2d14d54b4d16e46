"""When payments were made."""

from __future__ import annotations

from avalist.domain.errors import BadInput
from avalist.history.understanding import lexicon as lex
from avalist.history.understanding.draft import ORDERS, Draft, epoch
from avalist.history.understanding.profile import Profile


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
    if not best:
        choices = [p.name for p in d.left() if p.numeric and p.whole and p.distinct > 2]
        d.ask("time", "no column of times was recognised: which one says when a payment was made?", choices)
        return
    _take_time(d, best[0])


def _time_score(d: Draft, p: Profile) -> float:
    called = d.called(p, lex.TIME, lex.COUNTERS)
    if p.filled < 0.9 or d.called(p, lex.NOT_PAYMENT_TIME):
        return 0.0
    if p.time:
        return 1 + 2 * called + p.has_clock + 0.5 * p.rising + 0.2 * d.called(p, lex.PAYMENT)
    if p.numeric and called and (p.rising or epoch(p)):
        return 0.5 + p.rising + 2 * bool(epoch(p))
    return 0.0


def _take_time(d: Draft, p: Profile) -> None:
    zone = d.answers.get("timezone", "UTC")
    d.parts["timezone"] = zone
    clock = next((c for c in d.left() if c.clock and c.filled > 0.9), None)
    if p.time and not p.has_clock and clock is not None:
        d.parts["occurred_at"] = (p.name, clock.name)
        d.take(clock.name, "occurred_at", f"the time of day; the date is in {p.name}")
        format = "iso" if p.time == "iso" else f"{p.time} {_clock_format(clock)}"
    else:
        d.parts["occurred_at"] = p.name
        format = p.time or _counter(d, p)
    why = p.times or d.notes[-1]
    if p.orders and "date_order" in d.answers:
        order = d.answers["date_order"]
        format = format if order == "dmy" else format.replace("%d", "%D").replace("%m", "%d").replace("%D", "%m")
        why = "day first, as you said" if order == "dmy" else "month first, as you said"
    elif p.orders:
        cell = p.samples[0]
        d.ask("date_order", f"is {cell!r} in column {p.name!r} day first or month first?", ORDERS)
    if format != "iso":
        d.formats[p.name] = format
    d.take(p.name, "occurred_at", why + ("" if p.has_clock or clock or not p.time else "; there is no time of day"))
    if p.time:
        known = (
            "in each cell"
            if "z" in format
            else f"taken as {zone}" + ("" if "timezone" in d.answers else " (--timezone)")
        )
        d.notes.append(
            f"times that name no zone are {known}" if "z" not in format else "the zone of times stands in each cell"
        )


def _counter(d: Draft, p: Profile) -> str:
    since_1970 = epoch(p)
    if since_1970:
        d.notes.append(f"{p.name} counts {since_1970.split()[0]} since 1970, which names its zone")
        return since_1970
    unit = next((lex.COUNTERS[w] for w in p.words[::-1] if w in lex.COUNTERS), "s")
    d.notes.append(
        f"{p.name} counts {unit} from a start that the file does not tell: 2020-01-01 stands in, so hours and "
        "weekdays mean little"
    )
    return f"{unit} since 2020-01-01"


def _clock_format(p: Profile) -> str:
    cell = p.samples[0]
    twelve = cell[-1:] in "mM."
    return ("%I" if twelve else "%H") + ":%M" + (":%S%.f" if cell.count(":") == 2 else "") + (" %p" if twelve else "")

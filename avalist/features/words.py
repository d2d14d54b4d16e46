"""Features in plain words, and the families they belong to: a report is read by people who never saw a column name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from avalist.domain.records import FoldKind
from avalist.features.declare import ACTIVITY, ALL, PAYMENTS, Feature
from avalist.features.plan import Plan

_UNITS: Final = ((86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute"))
_MONEY: Final = frozenset({"sum", "mean", "max", "fraud_mean", "value", "min", "last", "mean_last"})
_TIMES: Final = frozenset({"since_last", "since_first", "since_fraud", "since_first_fraud", "since_kth"})
_UNITLESS: Final = {"rate": "share", "share": "share", "hour": "hours", "known": "known", "speed": "km/h"}
_RATES: Final = frozenset({"rate", "captured", "frauds", "fraud_mean", "since_fraud", "since_first_fraud", "clean"})
_EVENTS: Final = {
    FoldKind.PAYMENT: "payments", FoldKind.SIGN_UP: "sign-ups", FoldKind.LOGIN_OK: "logins",
    FoldKind.LOGIN_FAILED: "failed logins", FoldKind.PROFILE_CHANGE: "profile changes", FoldKind.KYC_STEP: "KYC steps",
    FoldKind.SESSION: "sessions", FoldKind.AUTH_APPROVED: "issuer approvals", FoldKind.AUTH_DECLINED: "issuer declines",
}  # fmt: skip


def period(ms: int) -> str:
    """Return a window in words.

    >>> period(3_600_000), period(7 * 86_400_000)
    ('hour', '7 days')
    """
    for size, unit in _UNITS:
        if ms % size == 0:
            return unit if ms == size else f"{ms // size} {unit}s"
    return f"{ms / 1000:g} seconds"


def _spoken(ms: int) -> str:
    """Return a window with its number: 1 day."""
    text = period(ms)
    return text if text[0].isdigit() else f"1 {text}"


def in_words(feature: Feature) -> str:
    """Return what a column tells, for a reader who knows payments and no column names.

    >>> in_words(Feature(name="x", aggregate="count", entity="card", window_ms=3_600_000))
    'payments of the card in the last hour'
    >>> in_words(Feature(name="y", aggregate="known", entity="account+card"))
    'whether the account with the card was seen before'
    """
    who, window = _who(feature.entity), f"in the last {period(feature.window_ms)}"
    own = ", this payment included" if feature.include_current else ""
    of = "amount" if feature.field == "amount" else _plain(feature.field)
    whose = who if feature.kinds == PAYMENTS else f"{_counted(feature.kinds)} of {who}"
    among = "" if feature.kinds in (PAYMENTS, ACTIVITY) else f", among {_counted(feature.kinds)}"
    over = f"over {_spoken(feature.window_ms)}"
    what, limits = f"{_counted(feature.kinds)}{_limits(feature)}", _limits(feature)
    texts = {
        "value": "amount of this payment" if feature.field == "amount" else f"{of} of this payment",
        "hour": "hour of the day",
        "weekday": "day of the week",
        "known": f"whether {who} was seen before",
        "since_last": f"time since the last payment of {who}",
        "since_first": f"time since {who} was first seen",
        "count": f"{what} of {who} {window}{own}",
        "sum": f"total {of} of {whose}{limits} {window}{own}",
        "mean": f"mean {of} of {whose}{limits} {window}{own}",
        "max": f"largest {of} of {whose}{limits} {window}{own}",
        "min": f"smallest {of} of {whose}{limits} {window}{own}",
        "variance": f"variance of the {of} of {whose}{limits} {window}{own}",
        "share": f"share of {what} of {who} among {_whole(feature)} {window}",
        "last": f"{of} of the {_place(feature.latest)} of {whose}{limits} {window}",
        "mean_last": f"mean {of} of the last {feature.latest} {what} of {who} {window}",
        "since_kth": f"time since the {_place(feature.latest)} of the {what} of {who} {window}",
        "speed": f"speed from where {who} was last seen to here, by {_counted(feature.kinds)} {window}",
        "ring": f"how many {_listed(feature.links)} hang together with {who}",
        "distinct": f"different {_plain(feature.of)} values seen with {who} {window}{among}",
        "rate": f"known fraud rate of {who} {over}",
        "captured": f"payments of {who} old enough to be judged {over}",
        "frauds": f"known frauds of {who} {over}",
        "fraud_mean": f"mean amount of known frauds of {who} {over}",
        "since_fraud": f"time since the latest known fraud of {who}",
        "since_first_fraud": f"time since the latest run of frauds of {who} began",
        "clean": f"payments of {who} without fraud since its latest known fraud",
        "retired": "nothing: it was retired",
        "ratio": "",
    }
    return texts[feature.aggregate] or _ratio(feature)


def _limits(feature: Feature) -> str:
    """Return which amounts count."""
    low, below = feature.from_minor, feature.below_minor
    words = ([] if low is None else [f"from {low:,}"]) + ([] if below is None else [f"below {below:,}"])
    return f" of amounts {' and '.join(words)} minor units" if words else ""


def _whole(feature: Feature) -> str:
    """Return what a share is of."""
    return f"the {_counted(feature.among or feature.kinds)} of {_who(feature.of or feature.entity)}"


def _place(k: int) -> str:
    """Return the k-th place from the end.

    >>> _place(1), _place(3), _place(12)
    ('last', '3rd last', '12th last')
    """
    ending = "th" if k // 10 == 1 else {1: "st", 2: "nd", 3: "rd"}.get(k % 10, "th")
    return "last" if k == 1 else f"{k}{ending} last"


def _listed(names: Sequence[str]) -> str:
    return " and ".join(f"{_plain(name)}s" for name in names)


def family(feature: Feature, plan: Plan) -> str:
    """Return the family of a column in words: one line of the report's table."""
    if feature.aggregate == "ratio":
        feature = _deciding(feature, plan)
    if feature.aggregate == "retired":
        return "retired columns"
    if feature.aggregate in ("hour", "weekday"):
        return "time of day and weekday"
    if feature.aggregate == "value":
        return "amount of this payment" if feature.field == "amount" else "other numbers of this payment"
    who = _who(feature.entity)
    if feature.aggregate in _RATES:
        return f"earlier fraud of {who}"
    if feature.aggregate in ("known", "since_first") or "+" in feature.entity:
        return f"how new or familiar {who} is"
    if feature.aggregate in ("distinct", "ring"):
        return f"how many others {who} is seen with"
    if feature.aggregate == "speed":
        return f"where {who} pays from"
    if feature.aggregate in ("sum", "mean", "max", "min", "variance", "last", "mean_last"):
        return f"spending habits of {who}"
    failed = feature.kinds in (1 << FoldKind.AUTH_DECLINED, 1 << FoldKind.LOGIN_FAILED)
    return f"failed attempts of {who}" if failed else f"how often {who} pays"


def covers(feature: Feature) -> str:
    """Return how long a window is, which moves in steps.

    >>> covers(Feature(name="x", aggregate="count", entity="card", window_ms=3_600_000, step_ms=60_000))
    'the last 1 hour is 60 to 61 minutes: the window moves in steps of 1 minute'
    >>> covers(Feature(name="y", aggregate="known", entity="card"))
    ''
    """
    if not feature.window_ms:
        return ""
    step, size, name = feature.step_ms, *_measure(feature.step_ms)
    low, high = feature.window_ms / size, (feature.window_ms + step) / size
    moves = f"the window moves in steps of {_spoken(step)}"
    if feature.lag_ms:
        lag = _spoken(feature.lag_ms)
        return f"{_spoken(feature.window_ms)}, up to {lag} before the payment, for reports take time: {moves}"
    return f"the last {_spoken(feature.window_ms)} is {low:g} to {high:g} {name}s: {moves}"


def _measure(ms: int) -> tuple[int, str]:
    return next(((size, name) for size, name in _UNITS if ms % size == 0), (1000, "second"))


def unit(feature: Feature) -> str:
    """Return the unit of a column's values: money, seconds, share, hours or nothing."""
    if feature.aggregate in _TIMES:
        return "seconds"
    if feature.aggregate in _MONEY and feature.field == "amount":
        return "money"
    return _UNITLESS.get(feature.aggregate, "")


def _deciding(feature: Feature, plan: Plan) -> Feature:
    """Return the column below a ratio's stroke: its entity and habit are what the ratio is about."""
    assert feature.over is not None
    return plan.features[plan.columns.index(feature.over[1])]


def _ratio(feature: Feature) -> str:
    top, bottom = feature.over or ("", "")
    return f"{_column(top)} divided by {_column(bottom)}"


def _column(name: str) -> str:
    """Return a column's words from its standard name: a ratio knows its parts by name alone."""
    entity, *rest = name.split("__")
    if not rest:
        return "this " + _plain(entity) if entity == "amount" else _plain(entity)
    if rest[0] == "mean" and rest[1:2] != ["amount"]:
        return f"mean {_plain(rest[1])} of {_who(entity)} ({_short(rest[-1])})"
    what = {
        "count": "payments", "mean": "mean amount", "max": "largest amount", "sum": "total amount",
        "fraud_mean": "mean amount of known frauds",
    }  # fmt: skip
    aggregate = rest[0].removesuffix("_own")
    return f"{what.get(aggregate, _plain(aggregate))} of {_who(entity)} ({_short(rest[-1])})"


def _short(window: str) -> str:
    sizes = {"d": 86_400_000, "h": 3_600_000, "m": 60_000}
    return "last " + period(int(window[:-1]) * sizes[window[-1]]) if window[:-1].isdigit() else window


def _counted(kinds: int) -> str:
    return " and ".join(words for kind, words in _EVENTS.items() if kinds >> kind & 1) or "events"


def _who(entity: str) -> str:
    if entity == ALL:
        return "the whole shop"
    return " with ".join(f"the {_plain(part)}" for part in entity.split("+"))


def _plain(name: str) -> str:
    return name.replace("_", " ")

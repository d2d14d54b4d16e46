"""A merchant's own features: a few lines of TOML each, beside the columns that its schema gives."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from typing import Annotated, Final, Literal, get_args

import msgspec

from avalist.domain.errors import BadInput
from avalist.domain.events import bad_body
from avalist.domain.records import FoldKind
from avalist.domain.schema import DAY_MS, Schema
from avalist.features.compiler import LABELS, OF_ENTITY
from avalist.features.declare import ALL, LAGGED_STEPS, PAYMENTS, STEPS, Aggregate, Feature, window_name
from avalist.features.plan import compile_plan

Kind = Literal[
    "payment", "sign_up", "login_ok", "login_failed", "profile_change", "kyc_step", "session", "auth_approved",
    "auth_declined",
]  # fmt: skip
Text = Annotated[str, msgspec.Meta(max_length=160)]
Amount = Annotated[int, msgspec.Meta(ge=0, le=10**12)]

MOST: Final = 200
"""Own features of one merchant."""
_UNITS_MS: Final = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": DAY_MS}
_SPAN: Final = re.compile(r"[0-9]{1,6}[smhd]")
_NAME: Final = re.compile(r"[a-z][a-z0-9_+]{0,159}")
_OF_PAYMENT: Final = ("value", "hour", "weekday", "ratio")
_NUMBERS: Final = ("sum", "mean", "max", "min", "variance")
_LIMITS: Final = ("kinds", "from_minor", "below_minor", "window", "step")
_TAKES: Final[dict[str, tuple[str, ...]]] = {
    "value": ("field",), "hour": (), "weekday": (), "ratio": ("over",), **dict.fromkeys(OF_ENTITY, ("entity",)),
    "count": ("entity", *_LIMITS, "include_current"),
    **dict.fromkeys(_NUMBERS, ("entity", "field", *_LIMITS, "include_current")),
    "share": ("entity", "of", "among", *_LIMITS),
    **dict.fromkeys(("last", "mean_last"), ("entity", "field", "latest", *_LIMITS)),
    "since_kth": ("entity", "latest", *_LIMITS),
    "speed": ("entity", "place", "kinds", "window", "step"),
    "ring": ("entity", "links"),
    "retired": ("entity",),
    "distinct": ("entity", "of", "kinds", "window", "step"),
    **dict.fromkeys(LABELS, ("entity", "window", "step", "lag")),
    "rate": ("entity", "window", "step", "lag", "prior", "strength"),
}  # fmt: skip
"""What each aggregate is told, besides a name."""
_NEEDS: Final = ("entity", "of", "over", "window", "latest", "place", "links")
_MOST_PARTS: Final = 5
"""Fields of a composite entity."""


class OwnFeature(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One column of a merchant's own. `window`, `step` and `lag` are spans of time such as ``90m`` or ``7d``.

    `kinds` are the events that count, payments where none is named; of a share `among` are those that it is a share of,
    `kinds` where none is named, and `of` the entity that they belong to, `entity` by default. `step` is a sixtieth of
    the window by default, `lag` the schema's ``label_delay_d``. `prior` and `over` name columns that stand before this
    one. What is ``retired`` is no new column: those of its entity keep their places, and are not computed any more.
    """

    aggregate: Aggregate
    entity: Text = ""
    name: Text = ""
    field: Text = ""
    of: Text = ""
    over: tuple[Text, Text] | None = None
    kinds: tuple[Kind, ...] = ()
    window: Text = ""
    step: Text = ""
    lag: Text = ""
    include_current: bool = False
    prior: Text = ""
    strength: Annotated[float, msgspec.Meta(ge=0, le=1e6)] | None = None
    from_minor: Amount | None = None
    below_minor: Amount | None = None
    among: tuple[Kind, ...] = ()
    latest: Annotated[int, msgspec.Meta(ge=0, le=64)] = 0
    place: tuple[Text, Text] | None = None
    links: tuple[Text, ...] = ()


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    feature: tuple[OwnFeature, ...]


def decode_own(text: str) -> tuple[OwnFeature, ...]:
    """Decode a file of features from TOML: ``[[feature]]`` tables. Raises ``BadInput`` naming the field.

    >>> text = '''
    ... [[feature]]
    ... aggregate = "count"
    ... entity = "card"
    ... window = "2h"
    ... '''
    >>> [feature.window for feature in decode_own(text)]
    ['2h']
    """
    try:
        return msgspec.toml.decode(text, type=_File).feature
    except msgspec.DecodeError as error:
        raise bad_body(error, kind=_File) from None


def encode_own(features: Sequence[OwnFeature]) -> str:
    """Return features as a file that :func:`decode_own` reads.

    >>> print(encode_own([OwnFeature(aggregate="count", entity="card", window="2h")]))
    [[feature]]
    aggregate = "count"
    entity = "card"
    window = "2h"
    <BLANKLINE>
    """
    tables = (msgspec.to_builtins(one) for one in features)
    written = (
        "".join(f"{name} = {msgspec.json.encode(value).decode()}\n" for name, value in t.items()) for t in tables
    )
    return "\n".join(f"[[feature]]\n{lines}" for lines in written)


def with_own(schema: Schema, derived: Sequence[Feature], own: Sequence[OwnFeature]) -> tuple[Feature, ...]:
    """Return the derived columns of a schema followed by the merchant's own; those that one retires stay in place.

    Raises
    ------
    BadInput
        For a feature that says too little or too much for its aggregate, names what the schema or the columns before
        it do not have, or looks back beyond the schema's memory.
    """
    if len(own) > MOST:
        raise BadInput("too many features", field="$.feature", expected=f"at most {MOST}", got=str(len(own)))
    places = [place for place, one in enumerate(own) if one.aggregate != "retired"]
    features = [
        *with_retired(derived, _retiring(derived, own)),
        *(_feature(own[place], schema, f"$.feature[{place}]") for place in places),
    ]
    try:
        compile_plan(schema, features)
    except BadInput as error:
        raise _placed(error, schema, features, len(derived), places) from None
    return tuple(features)


def retired_by(features: Sequence[Feature], entities: Collection[str]) -> set[str]:
    """Return the columns of entities, with those that are computed from them."""
    gone = {f.name for f in features if f.entity in entities and f.aggregate != "retired"}
    while more := {f.name for f in features if {*(f.over or ()), f.prior} & gone} - gone:
        gone |= more
    return gone


def with_retired(features: Sequence[Feature], entities: Collection[str]) -> tuple[Feature, ...]:
    """Return columns, those of entities retired, and those that are computed from them."""
    gone = retired_by(features, entities)
    return tuple(Feature(name=f.name, aggregate="retired") if f.name in gone else f for f in features)


def _retiring(derived: Sequence[Feature], own: Sequence[OwnFeature]) -> set[str]:
    """Return the entities that features of one's own retire."""
    entities = set()
    for place, one in enumerate(own):
        if one.aggregate == "retired":
            _check_fields(one, where := f"$.feature[{place}]")
            if not retired_by(derived, (one.entity,)):
                expected, got = _EXPECTED["retired"], one.entity[:64]
                raise BadInput("it has no columns", field=f"{where}.entity", expected=expected, got=got)
            entities.add(one.entity)
    return entities


def _placed(
    error: BadInput, schema: Schema, features: Sequence[Feature], derived: int, places: Sequence[int]
) -> BadInput:
    """Return a plan's error with the place of the first feature that is at fault: a plan fails from that one on."""

    def fails(place: int) -> bool:
        try:
            compile_plan(schema, features[: derived + place + 1])
        except BadInput:
            return True
        return False

    place = bisect_left(range(len(features) - derived), True, key=fails)
    name = features[derived + place].name
    field = f"$.feature[{places[place]}]" + error.field.removeprefix(name).removeprefix("feature")
    return BadInput(f"{error.detail}: feature {name}", field=field, expected=error.expected, got=error.got)


def _feature(one: OwnFeature, schema: Schema, where: str) -> Feature:
    _check_fields(one, where)
    _check_entity(one.entity, schema, f"{where}.entity", most=1 if one.aggregate == "ring" else _MOST_PARTS)
    _check_entity(one.of, schema, f"{where}.of", most=_MOST_PARTS if one.aggregate == "share" else 1)
    for n, link in enumerate(one.links):
        _check_entity(link, schema, f"{where}.links[{n}]", most=1)
    numbers = [number.name for number in schema.numbers]
    for name in one.place or ():
        if name not in numbers:
            expected = " or ".join(numbers) or "a number, which the schema lacks"
            raise BadInput("no such number", field=f"{where}.place", expected=expected, got=name[:64])
    window, lag = _ms(one.window), _lag_ms(one, schema)
    if window + lag > schema.memory_d * DAY_MS:
        most = f"at most the schema's memory of {schema.memory_d} days, lag included"
        raise BadInput("it looks back too far", field=f"{where}.window", expected=most, got=one.window)
    name = one.name or _name(one, where)
    if not _NAME.fullmatch(name):
        expected = "a small letter, then small letters, digits, _ and +"
        raise BadInput("not a name", field=f"{where}.name", expected=expected, got=name[:64])
    definition = {
        "name": name,
        "aggregate": one.aggregate,
        "entity": one.entity,
        "field": one.field or "amount",
        "kinds": _mask(one.kinds) or PAYMENTS,
        "window_ms": window,
        "step_ms": _step_ms(one, window, lag, where),
        "lag_ms": lag,
        "include_current": one.include_current,
        "of": one.of,
        "over": one.over,
        "prior": one.prior,
        "from_minor": one.from_minor,
        "below_minor": one.below_minor,
        "among": _mask(one.among),
        "latest": one.latest,
        "place": one.place,
        "links": one.links,
    }
    if one.aggregate == "rate":
        definition["strength"] = 1.0 if one.strength is None else one.strength
    return msgspec.convert(definition, Feature)


def _mask(kinds: Sequence[Kind]) -> int:
    return sum(1 << FoldKind[kind.upper()] for kind in set(kinds))


def _check_fields(one: OwnFeature, where: str) -> None:
    """Refuse what an aggregate does not take, and what it lacks."""
    takes, given = _TAKES[one.aggregate], set(_given(one))
    names = () if one.aggregate == "retired" else ("name",)
    if needless := sorted(given - {*takes, *names, "aggregate"}):
        expected = ", ".join(takes) or "nothing but a name"
        raise BadInput(
            f"{one.aggregate} does not take it", field=f"{where}.{needless[0]}", expected=expected, got=needless[0]
        )
    for name in _NEEDS:
        if name in takes and name not in given and (one.aggregate, name) != ("share", "of"):
            raise BadInput(
                f"{one.aggregate} needs it", field=f"{where}.{name}", expected=_EXPECTED[name], got="nothing"
            )
    if one.from_minor is not None and one.below_minor is not None and one.from_minor >= one.below_minor:
        expected = f"above from_minor, {one.from_minor}"
        raise BadInput("no amount is left", field=f"{where}.below_minor", expected=expected, got=str(one.below_minor))
    for name, span in (("window", one.window), ("step", one.step), ("lag", one.lag)):
        if (span and not _SPAN.fullmatch(span)) or (name == "window" and span and not _ms(span)):
            raise BadInput("not a span of time", field=f"{where}.{name}", expected=_EXPECTED["window"], got=span[:64])


def _check_entity(name: str, schema: Schema, field: str, *, most: int) -> None:
    """Refuse what is no entity of the schema; the whole shop and composites of `most` are entities too."""
    known = [e.name for e in schema.entities] + [c.name for c in schema.categories]
    parts = name.split("+") if name else []
    alone = most > 1 and name == ALL
    if parts and not alone and (len(parts) > most or len(set(parts)) < len(parts) or set(parts) - set(known)):
        also = f", {ALL}, or a+b of two to {most}" if most > 1 else ""
        raise BadInput("no such entity", field=field, expected=f"one of {', '.join(known)}{also}", got=name[:64])


_EXPECTED: Final = {
    "entity": "an entity of the schema, merchant, or a+b",
    "of": "the entity whose values are counted",
    "over": "two columns",
    "latest": "how many of the latest events, 1 to 64",
    "place": "the numbers of latitude and longitude",
    "links": "the entities that links connect",
    "retired": "an entity, or a+b, that columns of the plan are of",
    "window": "a span of time above 0: 90m, 24h, 7d",
}


def _given(one: OwnFeature) -> Iterator[str]:
    defaults = msgspec.structs.fields(one)
    return (field.name for field in defaults if getattr(one, field.name) != field.default)


def _lag_ms(one: OwnFeature, schema: Schema) -> int:
    if one.aggregate not in LABELS:
        return 0
    return _ms(one.lag) if one.lag else round(schema.label_delay_d * DAY_MS)


def _step_ms(one: OwnFeature, window: int, lag: int, where: str) -> int:
    if not one.step:
        steps = LAGGED_STEPS if one.aggregate in LABELS else STEPS
        return max((window + lag) // steps, 1) if window else 0
    step = _ms(one.step)
    if not 0 < step <= window:
        raise BadInput("not a step", field=f"{where}.step", expected=f"above 0, to {one.window}", got=one.step)
    return step


def _name(one: OwnFeature, where: str) -> str:
    """Return the standard name, ``entity__aggregate__field__window``; what is not windowed has shorter ones."""
    if one.aggregate == "ratio":
        raise BadInput("ratio needs it", field=f"{where}.name", expected="a name", got="nothing")
    if one.aggregate in _OF_PAYMENT:
        return one.field or {"value": "amount"}.get(one.aggregate, one.aggregate)
    if one.aggregate in OF_ENTITY:
        return f"{one.entity}__{one.aggregate}"
    if one.aggregate == "ring":
        return f"{one.entity}__ring__{'_'.join(one.links)}"
    own = "_own" if one.include_current else ""
    aggregate = f"{one.aggregate}{one.latest or ''}{own}"
    return f"{one.entity}__{aggregate}__{_middle(one)}__{window_name(_ms(one.window))}"


def _middle(one: OwnFeature) -> str:
    """Return what is aggregated: a number, another entity, fraud, or kinds of event."""
    if one.aggregate in LABELS:
        return "fraud"
    kinds = _named(one.kinds)
    counts = {"count": "", "since_kth": "", "share": "", "distinct": one.of, "speed": "_".join(one.place or ())}
    what = counts.get(one.aggregate, one.field or "amount")
    parts = [what, "" if kinds == "payment" else kinds]
    middle = "_".join(filter(None, parts)) or "events"
    limits = {"from": one.from_minor, "below": one.below_minor}
    return "_".join(
        [
            middle,
            *(f"{name}_{minor}" for name, minor in limits.items() if minor is not None),
            *(["among", _named(one.among)] if one.among else []),
            *(["of", one.of] if one.aggregate == "share" and one.of else []),
        ]
    )


def _named(kinds: Sequence[Kind]) -> str:
    return "_".join(kind for kind in get_args(Kind) if kind in kinds)


def _ms(span: str) -> int:
    """Return a span of time; nothing is 0.

    >>> _ms("90m"), _ms("")
    (5400000, 0)
    """
    return int(span[:-1]) * _UNITS_MS[span[-1]] if span else 0

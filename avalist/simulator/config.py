"""What a world is made of: its parameters, from a versioned file, checked once and frozen."""

from __future__ import annotations

import ipaddress
import math
from importlib import resources
from typing import Annotated, Any, Literal

import msgspec

from avalist.domain.errors import BadInput, NotFound
from avalist.domain.events import Currency

TIERS = 6
Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Positive = Annotated[float, msgspec.Meta(gt=0.0)]
Weight = Annotated[float, msgspec.Meta(ge=0.0)]
Days = Annotated[int, msgspec.Meta(ge=1)]
Range = tuple[Positive, Positive]
Network = Annotated[str, msgspec.Meta(pattern=r"^[0-9.]{7,15}/[0-9]{1,2}$")]
Vertical = Literal["games", "gift_cards", "crypto"]


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class FraudConfig(_Table, frozen=True, kw_only=True):
    """How much fraud there is between waves, and of what kind."""

    rate: Share
    indistinguishable_share: Share
    friendly_share: Share
    lone_p: tuple[Share, Share]
    lone_return_share: Share
    lone_takeover_share: Share
    taste_days: Days


class WaveConfig(_Table, frozen=True, kw_only=True):
    """How often waves come, how long they last and how they work."""

    per_month: Weight
    minutes: Range
    share: tuple[Share, Share]
    hour_share_max: Share
    p: tuple[Share, Share]
    payments_per_identity: Annotated[float, msgspec.Meta(ge=1.0)]
    takeover_share: Share
    aged_share: Share
    proxy_share: Share
    proxy_growth_per_year: Weight
    stuffing: Range


class OutcomeConfig(_Table, frozen=True, kw_only=True):
    """What issuers and schemes answer, and when."""

    report_median_d: Positive
    report_p95_d: Positive
    warning_share: Share
    disputed_share: Share
    disputed_after_d: Positive
    approved_honest: Share
    approved_fraud: Share
    address_matches: tuple[Share, Share]
    three_d_secure_share: Share


class HabitConfig(_Table, frozen=True, kw_only=True):
    """How honest customers live; shares are per honest payment unless the file says otherwise."""

    new_share: Annotated[float, msgspec.Meta(gt=0.0, lt=1.0)]
    lifetime_d: Positive
    activity_shape: Positive
    loyalty: Share
    steady: Share
    echo_share: Annotated[float, msgspec.Meta(ge=0.0, lt=0.5)]
    login_share: Share
    mistyped_share: Share
    browse_per_payment: Weight
    card_change: Share
    device_change: Share
    address_change: Share
    away_share: Share
    vpn_share: Share
    session_missing: Share
    hurried_share: Share


class SessionStyle(_Table, frozen=True, kw_only=True):
    """A way of using a site: the median duration, its log spread, and means of the counts."""

    duration_s: Positive
    spread: Positive
    pages: Positive
    key_presses: Weight
    pointer_moves: Weight
    pastes: Weight


class SessionStyles(_Table, frozen=True, kw_only=True):
    """The four ways: two of honest customers, one of lone fraud, one of scripts."""

    calm: SessionStyle
    hurried: SessionStyle
    bold: SessionStyle
    scripted: SessionStyle


class BehaviourConfig(_Table, frozen=True, kw_only=True):
    """How people and scripts go through the shop; the world's file says what each number is."""

    between_people: Weight
    jitter: Weight
    script_jitter: Weight
    recorded_share: Share
    wave_tells: Share
    honest_tells: Share
    bare_share: Share
    apart_share: Share
    journeys: Annotated[tuple[Annotated[tuple[str, ...], msgspec.Meta(min_length=2)], ...], msgspec.Meta(min_length=2)]


class DriftConfig(_Table, frozen=True, kw_only=True):
    """How the market moves."""

    popularity_sigma: Weight
    popularity_pull: Share
    price_days: Days
    price_step: Annotated[float, msgspec.Meta(ge=0.0, lt=0.5)]
    asset_sigma: Weight
    version_days: Days


class NetworkConfig(_Table, frozen=True, kw_only=True):
    """Address ranges that belong to no country's households."""

    hosting: Annotated[tuple[Network, ...], msgspec.Meta(min_length=4)]


class Domain(_Table, frozen=True, kw_only=True):
    """An e-mail provider."""

    name: str
    weight: Positive


class Country(_Table, frozen=True, kw_only=True):
    """Where customers live; `issuers` are the first four digits of the country's BINs."""

    code: str
    weight: Positive
    language: str
    timezone: str
    issuers: Annotated[tuple[Annotated[int, msgspec.Meta(ge=1000, le=9999)], ...], msgspec.Meta(min_length=1)]
    networks: Annotated[tuple[Network, ...], msgspec.Meta(min_length=1)]
    carrier: Network


class Machine(_Table, frozen=True, kw_only=True):
    """A kind of browser; ``{}`` in its user agent is the version."""

    weight: Positive
    user_agent: str
    version: Days
    screens: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]


class Product(_Table, frozen=True, kw_only=True):
    """Something on sale: its amounts by tier, in minor units; `price` of one unit of an asset, in currency units.

    `wild` scales how far an asset's price walks.
    """

    sku: str
    label: str
    amounts: Annotated[tuple[Annotated[int, msgspec.Meta(ge=1)], ...], msgspec.Meta(min_length=TIERS, max_length=TIERS)]
    weight: Positive
    from_day: Annotated[int, msgspec.Meta(ge=0)] = 0
    price: Positive = 1.0
    wild: Weight = 1.0


class VerticalConfig(_Table, frozen=True, kw_only=True):
    """A line of business; `margin` is its contribution margin, for policies that need one."""

    item: Literal["game_currency", "gift_card", "crypto"]
    payments_per_day: Positive
    margin: Share
    gift_share: Share
    free_amounts: Share
    tiers: Annotated[tuple[Weight, ...], msgspec.Meta(min_length=TIERS, max_length=TIERS)]
    products: Annotated[tuple[Product, ...], msgspec.Meta(min_length=3)]


class WorldConfig(_Table, frozen=True, kw_only=True):
    """The parameters of a world.

    >>> world = load_world("default-1")
    >>> world.name, world.fraud.rate, sorted(world.verticals)
    ('default-1', 0.015, ['crypto', 'games', 'gift_cards'])
    """

    name: str
    start_ms: Annotated[int, msgspec.Meta(ge=0, multiple_of=86_400_000)]
    currency: Currency
    growth_per_year: Weight
    hours: Annotated[tuple[Positive, ...], msgspec.Meta(min_length=24, max_length=24)]
    weekdays: Annotated[tuple[Positive, ...], msgspec.Meta(min_length=7, max_length=7)]
    fraud: FraudConfig
    waves: WaveConfig
    outcomes: OutcomeConfig
    habits: HabitConfig
    sessions: SessionStyles
    drift: DriftConfig
    network: NetworkConfig
    domains: Annotated[tuple[Domain, ...], msgspec.Meta(min_length=2)]
    countries: Annotated[tuple[Country, ...], msgspec.Meta(min_length=2)]
    machines: Annotated[tuple[Machine, ...], msgspec.Meta(min_length=2)]
    verticals: dict[Vertical, VerticalConfig]
    behaviour: BehaviourConfig | None = None

    def check(self) -> WorldConfig:
        """Return self if it makes sense. Raises ``BadInput``: a reversed range, a bad network, impossible rates."""
        for name, (low, high) in {
            "waves.minutes": self.waves.minutes,
            "waves.share": self.waves.share,
            "waves.p": self.waves.p,
            "waves.stuffing": self.waves.stuffing,
            "fraud.lone_p": self.fraud.lone_p,
        }.items():
            _demand(low <= high, name, "lowest, highest", f"{low}, {high}")
        _demand(self.waves.share[1] < 1.0, "waves.share", "below 1", str(self.waves.share[1]))
        _demand(self.waves.hour_share_max < 1.0, "waves.hour_share_max", "below 1", str(self.waves.hour_share_max))
        _demand(all(v.products[0].from_day == 0 for v in self.verticals.values()), "products", "the first on sale", "")
        self._check_networks()
        mix = mix_of(self)
        _demand(0.0 <= mix.lone_slots < 1.0, "fraud", "rates that leave room for honest payments", str(mix.lone_slots))
        return self

    def _check_networks(self) -> None:
        for text in (*self.network.hosting, *(n for c in self.countries for n in (*c.networks, c.carrier))):
            try:
                ipaddress.IPv4Network(text)
            except ValueError as error:
                raise BadInput(str(error), field="$.network", expected="an IPv4 network", got=text) from None


class Mix(msgspec.Struct, frozen=True):
    """What the rates come to: `lone_slots` of regular payments, the `hazard` of an honest-process payment."""

    lone_slots: float
    hazard: float
    wave_fraud: float


def mix_of(config: WorldConfig) -> Mix:
    """Return the mix that makes fraud `rate` of regular payments and the hazard its share of all fraud.

    With B the rate, W the expected frauds of waves per regular payment and s the indistinguishable share, the hazard
    carries s·(B + W) and lone slots carry the rest of B.

    >>> mix = mix_of(load_world("default-1"))
    >>> round(mix.lone_slots * 0.85 + (1 - mix.lone_slots) * mix.hazard, 6)
    0.015
    """
    fraud, waves = config.fraud, config.waves
    wave_fraud = waves.per_month / 30 * _mean_minutes(waves.minutes) / 1440 * _mean_odds(waves.share) * mean(waves.p)
    hidden = fraud.indistinguishable_share * (fraud.rate + wave_fraud)
    lone_slots = (fraud.rate - hidden) / mean(fraud.lone_p)
    return Mix(lone_slots, hidden / (1.0 - lone_slots), wave_fraud)


def mean(span: tuple[float, float]) -> float:
    """Return the mean of a uniform draw from `span`."""
    return (span[0] + span[1]) / 2


def _mean_minutes(span: tuple[float, float]) -> float:
    low, high = span
    return low if low == high else (high - low) / math.log(high / low)


def _mean_odds(span: tuple[float, float]) -> float:
    low, high = span
    return low / (1 - low) if low == high else math.log((1 - low) / (1 - high)) / (high - low) - 1.0


def _demand(holds: bool, field: str, expected: str, got: str) -> None:
    if not holds:
        raise BadInput("the world does not make sense", field=f"$.{field}", expected=expected, got=got)


def parse_world(text: bytes) -> WorldConfig:
    """Decode and check a world file (TOML); one that ``extends`` a world has what that one says and it does not.

    Raises ``BadInput``, and ``NotFound`` for a world to extend that is none.
    """
    try:
        return msgspec.convert(_whole(text), type=WorldConfig).check()
    except msgspec.DecodeError as error:
        raise BadInput(str(error), field="$", expected="a world file") from None


def _whole(text: bytes) -> dict[str, Any]:
    own: dict[str, Any] = msgspec.toml.decode(text, type=dict[str, Any])
    base = own.pop("extends", None)
    return own if base is None else _over(_whole(_world_file(str(base))), own)


def _over(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Return `base` with what `own` says instead, table by table."""
    tables = {name for name, value in own.items() if isinstance(value, dict) and isinstance(base.get(name), dict)}
    return {**base, **own, **{name: _over(base[name], own[name]) for name in tables}}


def load_world(name: str = "default-1") -> WorldConfig:
    """Return a world that comes with the package. Raises ``NotFound`` naming those there are."""
    return parse_world(_world_file(name))


def _world_file(name: str) -> bytes:
    files = {f.name.removesuffix(".toml"): f for f in resources.files(__package__).joinpath("worlds").iterdir()}
    if name not in files:
        raise NotFound(f"no world named {name!r}; there are: {', '.join(sorted(files))}")
    return files[name].read_bytes()

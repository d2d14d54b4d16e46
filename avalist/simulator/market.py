"""What is on sale, what it costs and what people want: all of it drifts."""

from __future__ import annotations

import numpy as np

from avalist.domain.events import CartItem, CryptoPurchase, GameCurrency, GiftCard
from avalist.simulator.config import TIERS, VerticalConfig, WorldConfig
from avalist.simulator.draws import DAY_MS, HOUR_MS, I64, Purpose, Rng, chance, cumulative, generator
from avalist.simulator.people import Person


class Market:
    """One merchant's shop at the hour last opened; hours are opened in order."""

    def __init__(self, config: WorldConfig, vertical: VerticalConfig, seed: int) -> None:
        self._config, self._vertical, self._seed = config, vertical, seed
        self._day, self._season, self._taste = -1, -1, -1
        self._log_popularity = np.zeros(len(vertical.products))
        self._log_price = np.log([p.price for p in vertical.products])
        self._wild = np.array([p.wild for p in vertical.products])
        self._grid = np.array([p.amounts for p in vertical.products], np.int64)
        self._cache: dict[tuple[int, int], tuple[CartItem]] = {}
        self.amounts = self._grid
        self.popularity = self.fraud_taste = cumulative([p.weight for p in vertical.products])
        self.fraud_tiers = cumulative([1.0] * TIERS)

    def open(self, hour: int) -> None:
        """Move the market to an hour since the world's start."""
        if self._vertical.item == "crypto":
            self._move_assets(hour)
        if hour // 24 > self._day:
            self._day = hour // 24
            self._move_popularity()
            self._review_prices()
            self._change_taste()

    def on_sale(self) -> list[int]:
        """Return the products sold today."""
        return [i for i, p in enumerate(self._vertical.products) if p.from_day <= self._day]

    def cart(self, person: Person, product: int, amount: int, gift: bool) -> tuple[CartItem, ...]:
        """Return the cart of one purchase."""
        kind = self._vertical.item
        if kind == "crypto":
            return (self._asset(person, product, amount),)
        if kind == "gift_card" and gift:
            return (self._gift_card(product, amount, person.friend),)
        key = (product, amount)
        if key not in self._cache:
            item = self._gift_card(product, amount, None) if kind == "gift_card" else self._pack(product, amount)
            self._cache[key] = (item,)
        return self._cache[key]

    def _pack(self, product: int, amount: int) -> CartItem:
        made = self._vertical.products[product]
        return GameCurrency(sku=made.sku, name=f"{made.label} pack", title=made.label, unit_amount_minor=amount)

    def _gift_card(self, product: int, amount: int, friend: str | None) -> CartItem:
        made = self._vertical.products[product]
        tier = int(np.abs(self.amounts[product] - amount).argmin())
        face = made.amounts[tier]
        return GiftCard(
            sku=made.sku, brand=made.label, face_value_minor=face, unit_amount_minor=amount, recipient_email=friend
        )

    def _asset(self, person: Person, product: int, amount: int) -> CartItem:
        quantity = amount / 100.0 / float(np.exp(self._log_price[product]))
        asset = self._vertical.products[product].sku
        return CryptoPurchase(
            sku=asset,
            asset=asset,
            asset_quantity=f"{quantity:.6f}",
            address=person.wallet,
            unit_amount_minor=amount,
        )

    def _move_popularity(self) -> None:
        rng, drift = generator(self._seed, Purpose.MARKET, self._day), self._config.drift
        step = drift.popularity_sigma * rng.standard_normal(len(self._log_popularity))
        self._log_popularity = self._log_popularity * (1.0 - drift.popularity_pull) + step
        weight = np.array([p.weight if p.from_day <= self._day else 0.0 for p in self._vertical.products])
        self.popularity = cumulative(weight * np.exp(self._log_popularity))

    def _move_assets(self, hour: int) -> None:
        step = generator(self._seed, Purpose.ASSETS, hour).standard_normal(len(self._log_price))
        self._log_price = self._log_price + self._config.drift.asset_sigma * self._wild * step

    def _review_prices(self) -> None:
        season = self._day // self._config.drift.price_days
        if season == self._season or self._vertical.item == "crypto":
            return
        self._season, self._cache = season, {}
        rng = generator(self._seed, Purpose.MARKET, season, 1)
        level = 1.0 + rng.uniform(-1.0, 1.0, len(self._grid)) * self._config.drift.price_step * (season > 0)
        self.amounts = np.maximum(np.rint(self._grid * level[:, None]), 1.0).astype(np.int64)

    def _change_taste(self) -> None:
        taste = self._day // self._config.fraud.taste_days
        if taste != self._taste:
            self._taste = taste
            rng = generator(self._seed, Purpose.TASTE, taste)
            self._taste_weights = rng.standard_gamma(0.5, len(self._grid)) + 0.02
            self.fraud_tiers = cumulative(rng.standard_gamma(0.8, TIERS) * np.arange(1, TIERS + 1) + 0.02)
        on_sale = np.isin(np.arange(len(self._grid)), self.on_sale())
        self.fraud_taste = cumulative(self._taste_weights * on_sale)


def hourly_rate(config: WorldConfig, payments_per_day: float, hour: int) -> float:
    """Return the expected regular payments of an hour since the world's start."""
    at_day = hour / 24.0
    weekday = (config.start_ms // DAY_MS + hour // 24 + 3) % 7
    of_day = config.hours[(config.start_ms // HOUR_MS + hour) % 24] / sum(config.hours)
    of_week = config.weekdays[weekday] * 7 / sum(config.weekdays)
    return payments_per_day * of_day * of_week * (1.0 + config.growth_per_year * at_day / 365.0)


def free_amounts(rng: Rng, amounts: I64, share: float) -> I64:
    """Return `amounts` with a share of them off the grid: a sum the buyer typed."""
    n = len(amounts)
    wished = amounts * np.exp(0.25 * rng.standard_normal(n))
    typed = np.maximum(np.rint(wished / 50.0) * 50.0, 500.0).astype(np.int64)
    return np.where(chance(rng, n, share), typed, amounts)

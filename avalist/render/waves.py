"""Waves as a page for an analyst: when each came, how fast, what it shared, which payments it holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from avalist.app.waves import Shared, Wave
from avalist.domain.money import EXPONENT
from avalist.render.blocks import Bars, Block, Chart, Heading, Listing, Mark, Page, Series, Table, Text
from avalist.render.numbers import at, count, money, percent

_WORDS: Final = {
    "product": "product",
    "item_kind": "kind of goods",
    "method_kind": "means of payment",
    "bin": "BIN",
    "issuer_country": "issuer's country",
    "billing_country": "billing country",
    "email_domain": "e-mail domain",
    "email_shape": "e-mail shape",
    "device_class": "kind of device",
    "device_shape": "device (agent, screen, timezone, language)",
    "amount_base_minor": "amount",
    "account_age": "age of the account",
}
_LONGEST: Final = 90
_MOST_SHARED: Final = 6
_MOST_ROWS: Final = 100


def waves_page(merchant: str, waves: Sequence[Wave], currency: str) -> Page:
    """Return the incident summary of a merchant's waves, latest first."""
    blocks = [block for wave in reversed(waves) for block in _incident(wave, currency)]
    said = f"{count(len(waves))} waves, the latest first; times are UTC" if waves else "no wave was found"
    return Page(f"Waves of {merchant}", said, tuple(blocks))


def in_words(wave: Wave, currency: str) -> str:
    """Return a wave in a sentence or two."""
    over = "It is over." if wave.closed else "It goes on."
    speed = f"{count(wave.count)} payments of {money(wave.amount_minor, currency)} in {duration(wave)}"
    what = shared_in_words(wave.shared, currency)
    return f"{speed}. {f'They share {what}.' if what else 'No single fact sets them apart.'} {over}"


def shared_in_words(shared: Sequence[Shared], currency: str) -> str:
    """Return what a wave shares, the most telling first.

    >>> shared_in_words([Shared("bin", "411111", 1.0, 0.02)], "EUR")
    'BIN 411111 (100 % of them, 2 % of others)'
    """
    return "; ".join(
        f"{_named(one, currency)} ({percent(one.share)} of them, {percent(one.usual)} of others)"
        for one in shared[:_MOST_SHARED]
    )


def habits_in_short(shared: Sequence[Shared], currency: str) -> str:
    """Return what a wave shares in few words.

    >>> habits_in_short([Shared("bin", "411111", 1.0, 0.02), Shared("product", "card", 0.9, 0.1)], "EUR")
    'BIN 411111, product card'
    """
    return ", ".join(
        _WORDS[one.fact].partition(" (")[0] if one.fact == "device_shape" else _named(one, currency)
        for one in shared[:_MOST_SHARED]
    )


def duration(wave: Wave) -> str:
    """Return how long a wave has lasted."""
    return lasted(wave.first_ms, wave.last_ms)


def lasted(first_ms: int, last_ms: int) -> str:
    """Return a time in minutes, or in hours where these are many.

    >>> lasted(0, 600_000), lasted(0, 9_000_000)
    ('10 minutes', '2.5 hours')
    """
    minutes = (last_ms - first_ms) / 60_000
    return f"{minutes:.0f} minutes" if minutes < 120 else f"{minutes / 60:.1f} hours"


def _named(one: Shared, currency: str) -> str:
    value = money(int(one.value), currency) if one.fact == "amount_base_minor" else one.value
    short = value if len(value) <= _LONGEST else value[: _LONGEST - 1] + "…"
    return f"{_WORDS[one.fact]} {short}"


def _incident(wave: Wave, currency: str) -> Iterator[Block]:
    yield Heading(f"Wave {wave.id}: {at(wave.first_ms)} to {at(wave.last_ms)}")
    yield Text(in_words(wave, currency), "lead")
    yield Listing(
        (
            f"Alarm at {at(wave.opened_ms)}, {(wave.opened_ms - wave.first_ms) / 60_000:.0f} minutes after its "
            "first payment.",
            f"Patterns in alarm: {', '.join(wave.patterns)}.",
        )
    )
    yield _burst(wave)
    if wave.shared:
        shown = wave.shared[:_MOST_SHARED]
        yield Bars(
            title="What it shares",
            labels=tuple(f"{_named(one, currency)}; of others {percent(one.usual)}" for one in shown),
            values=tuple(one.share for one in shown),
            caption="Share of the wave's payments; others are the merchant's payments shortly before.",
        )
    yield _payments(wave, currency)


def _burst(wave: Wave) -> Chart:
    ats = sorted(listed.at_ms for listed in wave.payments)
    minutes = tuple((ms - wave.first_ms) / 60_000 for ms in ats)
    so_far = tuple(float(n) for n in range(1, len(ats) + 1))
    opened = sum(ms <= wave.opened_ms for ms in ats)
    return Chart(
        title="The burst",
        x_label="minutes since its first payment",
        y_label="payments so far",
        series=(Series(name="payments", x=minutes, y=so_far),),
        marks=(Mark((wave.opened_ms - wave.first_ms) / 60_000, float(opened), "alarm"),),
    )


def _payments(wave: Wave, currency: str) -> Table:
    rows = tuple(
        (listed.payment_id, at(listed.at_ms), f"{listed.amount_minor / 10 ** EXPONENT.get(currency, 2):,.2f}")
        for listed in wave.payments[:_MOST_ROWS]
    )
    caption = f"Its first {len(rows)} of {count(wave.count)} payments." if wave.count > len(rows) else "Its payments."
    return Table(("payment", "time", f"amount, {currency}"), rows, caption, 2)

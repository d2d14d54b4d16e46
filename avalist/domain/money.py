"""Money: integer minor units with an ISO 4217 currency, never a float."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

import msgspec

from avalist.domain.errors import BadInput, UnknownCurrency

MAX_MINOR = 10**12
"""Largest amount, in minor units of the base currency, that state may hold."""

_ZERO = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_THREE = "BHD IQD JOD KWD LYD OMR TND"
_FOUR = "CLF UYW"
_TWO = (
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY "
    "COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS "
    "INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR "
    "MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD "
    "SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG"
)
EXPONENT: dict[str, int] = {
    **dict.fromkeys(_ZERO.split(), 0),
    **dict.fromkeys(_TWO.split(), 2),
    **dict.fromkeys(_THREE.split(), 3),
    **dict.fromkeys(_FOUR.split(), 4),
}
"""ISO 4217 minor-unit exponent by currency code."""


class Money(msgspec.Struct, frozen=True):
    """An amount in minor units of a currency.

    >>> str(Money(1250, "EUR"))
    '12.50 EUR'
    >>> str(Money(1250, "JPY"))
    '1250 JPY'
    """

    minor: int
    currency: str

    def __str__(self) -> str:
        exponent = exponent_of(self.currency)
        return f"{Decimal(self.minor).scaleb(-exponent):.{exponent}f} {self.currency}"


def exponent_of(currency: str) -> int:
    """Return the number of decimals of `currency`.

    Raises
    ------
    UnknownCurrency
        If it is no ISO 4217 code in use.
    """
    try:
        return EXPONENT[currency]
    except KeyError:
        raise UnknownCurrency(
            "the currency is not an ISO 4217 code in use",
            field="$.currency",
            expected="a code such as EUR, USD, JPY",
            got=currency[:8],
        ) from None


def minor_from_text(text: str, currency: str) -> int:
    """Parse a decimal amount such as ``12.5`` into minor units, half to even.

    >>> minor_from_text("12.5", "EUR"), minor_from_text("12", "JPY")
    (1250, 12)
    """
    try:
        scaled = Decimal(text).scaleb(exponent_of(currency))
        return int(scaled.quantize(Decimal(1), rounding=ROUND_HALF_EVEN))
    except (ArithmeticError, ValueError):
        raise BadInput("not an amount", field="$.amount", expected="a decimal number", got=text[:32]) from None


def convert_minor(minor: int, currency: str, base: str, rates: dict[str, float]) -> int:
    """Convert `minor` units of `currency` into minor units of `base`.

    `rates` holds units of base per one unit of the other currency.

    >>> convert_minor(1000, "JPY", "EUR", {"JPY": 0.006})
    600
    """
    if currency == base:
        return minor
    exponent = exponent_of(currency)
    rate = rates.get(currency)
    if rate is None:
        raise UnknownCurrency(
            f"no rate from {currency} to the merchant's base currency {base}; declare it in the schema's rates",
            field="$.currency",
            expected=" or ".join(sorted({base, *rates})),
            got=currency,
        )
    return round(minor * rate * 10.0 ** (exponent_of(base) - exponent))

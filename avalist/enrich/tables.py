"""Reference tables: what the world knows of addresses, domains, time zones and calling codes.

They are data with a number, made of public packages (:mod:`avalist.enrich.packages`). Facts say by which number they
were made; without tables all of this is empty.
"""

from __future__ import annotations

import functools
import hashlib
import ipaddress
import re
import socket
from array import array
from typing import Final, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from avalist.domain.cards import brand_of
from avalist.domain.errors import ArtefactInvalid
from avalist.domain.facts import NO_TABLES
from avalist.enrich.agents import Agent, agent_of
from avalist.enrich.mail import FREE_MAIL
from avalist.enrich.operators import NETWORK_CLASSES
from avalist.enrich.phones import DEEPEST
from avalist.enrich.quality import is_public
from avalist.enrich.ranges import Packed, Ranges

_CACHED: Final = 65_536
_LONGEST_DOMAIN: Final = 253
_PHONE_DIGITS: Final = 3 + DEEPEST
_BRAND_DIGITS = 4  # enough to tell by, and few enough to come again
_ZSTD: Final = pa.Codec("zstd", compression_level=9)
_SIZE_BYTES: Final = 8
_LARGEST_BYTES: Final = 1 << 28
_SPACING = dict.fromkeys(map(ord, " .()/-"))
_REGION = re.compile(r"^[a-z]{2,3}(?:[-_][a-z]{4})?[-_]([a-z]{2})\b")


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """A package that tables were made of. `sha256` is of its archive."""

    registry: str
    name: str
    version: str
    licence: str
    sha256: str
    rows: int = 0


class Contents(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The tables at rest.

    `countries` are what the values of `country4` and `country6` count from 1. The value n of `network4` and `network6`
    is the n-th of `asns` (4 bytes each) and of `asn_classes` (1 byte each, of ``NETWORK_CLASSES``). IPv6 ranges are of
    /64 networks. `distances_km` [n, n] (2 bytes each) are between the `placed` countries. `calling_codes` are
    beginnings of international phone numbers, each with a country and, behind a blank, the kind of line; tables of
    before have calling codes and countries alone.
    """

    packages: tuple[Package, ...] = ()
    countries: tuple[str, ...] = ()
    country4: Packed = Packed(4)
    country6: Packed = Packed(8)
    asns: bytes = b""
    asn_classes: bytes = b""
    network4: Packed = Packed(4)
    network6: Packed = Packed(8)
    disposable: tuple[str, ...] = ()
    zones: dict[str, str] = {}
    placed: tuple[str, ...] = ()
    distances_km: bytes = b""
    calling_codes: dict[str, str] = {}


def to_bytes(contents: Contents) -> bytes:
    """Return the tables as one compressed string."""
    plain = msgspec.msgpack.encode(contents)
    return len(plain).to_bytes(_SIZE_BYTES, "little") + bytes(_ZSTD.compress(plain, asbytes=True))


def from_bytes(data: bytes) -> Contents:
    """Return tables again. Raises ``ArtefactInvalid``."""
    size = int.from_bytes(data[:_SIZE_BYTES], "little")
    if not 0 < size <= _LARGEST_BYTES:
        raise ArtefactInvalid("these are no reference tables: run 'avalist intel update' again")
    try:
        return msgspec.msgpack.decode(_ZSTD.decompress(data[_SIZE_BYTES:], size, asbytes=True), type=Contents)
    except (msgspec.MsgspecError, OSError, ValueError) as error:
        raise ArtefactInvalid(f"the reference tables are damaged ({error}): run 'avalist intel update' again") from None


def version_of(contents: Contents) -> int:
    """Return the number of these tables: a hash of their content, so that it means the same wherever it stands."""
    digest = hashlib.sha256(msgspec.msgpack.encode(contents)).digest()
    return int.from_bytes(digest[:4], "little") + NO_TABLES + 1


class Network(NamedTuple):
    """Whose an address is. `kind` is one of ``NETWORK_CLASSES``, or ``private``; empty is unknown."""

    country: str = ""
    asn: str = ""
    kind: str = ""


class Places(NamedTuple):
    """Countries that a payment's parts name, and how they agree: see :meth:`Tables.places`."""

    timezone: str = ""
    language: str = ""
    shape: str = ""
    countries: int | None = None
    ip_billing_km: int | None = None
    ip_issuer_km: int | None = None
    ip_timezone_km: int | None = None
    phone_billing_km: int | None = None
    phone_ip_km: int | None = None
    phone_issuer_km: int | None = None


class Phone(NamedTuple):
    """What a phone number's beginning tells. `kind` is of ``phones.KINDS``, or ``fixed_or_mobile``; empty is unsure."""

    country: str = ""
    kind: str = ""


class Known(msgspec.Struct, frozen=True, gc=False):
    """What the tables know of an event, as it stands in its facts."""

    network: Network = Network()
    email_class: str = ""
    card_brand: str = ""
    agent: Agent = Agent()
    phone: Phone = Phone()
    places: Places = Places()


NOTHING: Final = Known()


class Tables:
    """Looks things up. What is looked up again costs a tenth of a microsecond: addresses and domains come again."""

    def __init__(self, contents: Contents) -> None:
        self.version = version_of(contents)
        self.packages = contents.packages
        self._countries = ("", *contents.countries)
        self._country = Ranges(contents.country4), Ranges(contents.country6)
        self._network = Ranges(contents.network4), Ranges(contents.network6)
        self._asns = array("I", np.frombuffer(contents.asns, dtype="<u4").astype(np.uint32).tobytes())
        self._classes = contents.asn_classes
        self._disposable = frozenset(contents.disposable)
        self._zones = contents.zones
        self._placed = {country: place for place, country in enumerate(contents.placed)}
        self._km = array("H", np.frombuffer(contents.distances_km, dtype="<u2").astype(np.uint16).tobytes())
        self._calling = contents.calling_codes
        self.network = functools.lru_cache(_CACHED)(self._network_of)
        self.email_class = functools.lru_cache(_CACHED)(self._email_class_of)
        self._phone = functools.lru_cache(_CACHED)(self._phone_of)
        self.places = functools.lru_cache(_CACHED)(self._places_of)

    def _network_of(self, ip: str) -> Network:
        """Return whose an address is."""
        place = _number(ip)
        if place is None:
            return Network()
        if not is_public(ip):
            return Network(kind="private")
        family, number = place
        country = self._countries[self._country[family].value(number)]
        n = self._network[family].value(number) - 1
        return Network(country, str(self._asns[n]), NETWORK_CLASSES[self._classes[n]]) if n >= 0 else Network(country)

    def _email_class_of(self, domain: str) -> str:
        """Return ``disposable``, ``free`` or ``other``; subdomains of a disposable domain are disposable."""
        if not domain:
            return ""
        if domain in FREE_MAIL:
            return "free"
        while "." in domain:
            if domain in self._disposable:
                return "disposable"
            domain = domain.partition(".")[2]
        return "other"

    def _places_of(self, ip: str, issuer: str, billing: str, timezone: str, language: str, phone: str) -> Places:
        """Return how the countries of an address, a card, a bill, a time zone, a language and a phone agree.

        `shape` has one sign each, in this order: a dash where nothing is known, else which of the countries so far it
        names, so that ``0010--`` says that the billing country alone differs. It names no country.
        """
        zone = self._zones.get(timezone, "")
        tongue = _region(language)
        bill, issued = _country(billing), _country(issuer)
        met: dict[str, str] = {}
        signs = [met.setdefault(one, str(len(met))) if one else "-" for one in (ip, issued, bill, zone, tongue, phone)]
        shape = "".join(signs) if met else ""
        km = self.km
        return Places(
            zone, tongue, shape, len(met) or None, km(ip, bill), km(ip, issued), km(ip, zone), km(phone, bill),
            km(phone, ip), km(phone, issued),
        )  # fmt: skip

    def phone(self, number: str) -> Phone:
        """Return what the beginning of an international number tells; nothing of one without calling code."""
        digits = number.translate(_SPACING)
        digits = digits[1:] if digits[:1] == "+" else digits[2:] if digits[:2] == "00" else ""
        return self._phone(digits[:_PHONE_DIGITS])  # no more of it is kept

    def _phone_of(self, digits: str) -> Phone:
        if not digits.isdecimal():
            return Phone()
        longest = (digits[:n] for n in range(len(digits), 0, -1))
        country, _, kind = next((self._calling[one] for one in longest if one in self._calling), "").partition(" ")
        return Phone(country, kind)

    def km(self, one: str, other: str) -> int | None:
        """Return how far apart two countries are, between their nearest main cities; None where one is not placed."""
        a, b = self._placed.get(one), self._placed.get(other)
        return None if a is None or b is None else self._km[a * len(self._placed) + b]

    def known(
        self, ip: str, domain: str, bin: str, agent: str, issuer: str, billing: str, timezone: str, language: str,
        phone: str,
    ) -> Known:  # fmt: skip
        """Return what the tables know of an event's parts; each may be empty."""
        network = self.network(ip) if ip else NOTHING.network
        called = self.phone(phone) if phone else NOTHING.phone
        return Known(
            network,
            self.email_class(domain[-_LONGEST_DOMAIN:]) if domain else "",
            brand_of(bin[:_BRAND_DIGITS]) if bin else "",
            agent_of(agent) if agent else NOTHING.agent,
            called,
            self.places(network.country, issuer, billing, timezone, language, called.country),
        )


@functools.lru_cache(4096)
def _region(language: str) -> str:
    """Return the region of a language tag, or of the first of several.

    >>> _region("de-AT,de;q=0.9"), _region("zh-Hans-CN"), _region("en")
    ('AT', 'CN', '')
    """
    found = _REGION.match(language.lower())
    return found[1].upper() if found else ""


def _country(name: str) -> str:
    return name.upper() if len(name) == 2 and name.isascii() and name.isalpha() else ""


def _number(ip: str) -> tuple[int, int] | None:
    """Return (0, the address) of IPv4, (1, its upper 64 bits) of IPv6; a mapped IPv4 address is one."""
    if ":" not in ip:
        try:
            return 0, int.from_bytes(socket.inet_pton(socket.AF_INET, ip), "big")
        except (OSError, ValueError):
            return None
    try:
        address = ipaddress.IPv6Address(ip.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped
    return (0, int(mapped)) if mapped else (1, int(address) >> 64)

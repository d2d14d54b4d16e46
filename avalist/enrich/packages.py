"""The public packages that tables are made of: names, versions, licences, and how each is read. Nothing is run."""

from __future__ import annotations

import ast
import csv
import gzip
import hashlib
import io
import math
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from importlib.resources import files
from typing import Any, Final, Literal, NamedTuple

import msgspec
import numpy as np

from avalist.domain.errors import BadInput
from avalist.enrich.operators import network_class
from avalist.enrich.phones import KINDS, Region, beginnings
from avalist.enrich.ranges import Packed, pack
from avalist.enrich.tables import Contents, Package, from_bytes

SHIPPED: Final = "shipped.tables"
Registry = Literal["npm", "pypi"]
_LARGEST_FILE = 1 << 28
_EARTH_KM = 6371.0
_UNREADABLE = (KeyError, ValueError, IndexError, SyntaxError, OSError, tarfile.TarError, zipfile.BadZipFile, zlib.error)


class Archive:
    """A package's archive: wheel or npm tarball. Raises ``KeyError`` for a member that is not there."""

    def __init__(self, data: bytes) -> None:
        self._zip = zipfile.ZipFile(io.BytesIO(data)) if data[:2] == b"PK" else None
        self._tar = None if self._zip else tarfile.TarFile(fileobj=io.BytesIO(gzip.decompress(data)))

    def text(self, member: str) -> str:
        """Return a member as text."""
        if self._zip is not None:
            with self._zip.open(member) as opened:
                return opened.read(_LARGEST_FILE).decode()
        assert self._tar is not None
        found = self._tar.extractfile(f"package/{member}")
        if found is None:
            raise KeyError(member)
        return found.read(_LARGEST_FILE).decode()


class Source(NamedTuple):
    """A package and what it gives. `newest` of it may be asked for; `version` is what this release was tried with.

    `shipped` comes with Avalist; the others are fetched. `attribution` is whom its licence wants named.
    """

    registry: Registry
    name: str
    version: str
    sha256: str
    licence: str
    attribution: str
    gives: str
    shipped: bool
    read: Callable[[Archive], tuple[dict[str, Any], int]]


def shipped() -> Contents:
    """Return the tables that come with Avalist."""
    return from_bytes(files("avalist.enrich").joinpath(SHIPPED).read_bytes())


def add(contents: Contents, source: Source, version: str, archive: bytes) -> Contents:
    """Return the tables with what a source's archive gives in place of what it gave before. Raises ``BadInput``."""
    try:
        fields, rows = source.read(Archive(archive))
    except _UNREADABLE as error:
        raise BadInput(
            f"the package {source.name} {version} does not read as it should: {error!r}; its tables stay as they were",
            field=source.name,
            expected=f"what version {source.version} holds",
        ) from None
    package = Package(
        registry=source.registry, name=source.name, version=version, licence=source.licence,
        sha256=hashlib.sha256(archive).hexdigest(), rows=rows,
    )  # fmt: skip
    others = [one for one in contents.packages if one.name != source.name]
    packages = tuple(sorted((*others, package), key=lambda one: one.name))
    return msgspec.structs.replace(contents, packages=packages, **fields)


def check_sum(source: Source, version: str, archive: bytes) -> None:
    """Raise ``BadInput`` if an archive of the version that this release knows is not the very one."""
    came = hashlib.sha256(archive).hexdigest()
    if version == source.version and came != source.sha256:
        raise BadInput(
            f"the archive of {source.name} {version} is not the one that it should be: nothing was changed",
            field=source.name, expected=source.sha256, got=came,
        )  # fmt: skip


# --- addresses -----------------------------------------------------------------------------------------------------


def _rows(archive: Archive, member: str) -> Iterator[list[str]]:
    return csv.reader(io.StringIO(archive.text(member)))


def _packed(archive: Archive, stem: str, value: Callable[[list[str]], int]) -> tuple[Packed, Packed, int]:
    """Return IPv4 ranges, IPv6 ranges by their upper 64 bits, and how many there are."""
    four = [(int(row[0]), int(row[1]), value(row)) for row in _rows(archive, f"{stem}-ipv4-num.csv")]
    six = [(int(row[0]) >> 64, int(row[1]) >> 64, value(row)) for row in _rows(archive, f"{stem}-ipv6-num.csv")]
    return pack(four, 4), pack(six, 8), len(four) + len(six)


def _countries(archive: Archive) -> tuple[dict[str, Any], int]:
    names: dict[str, int] = {}
    four, six, rows = _packed(archive, "asn-country", lambda row: names.setdefault(row[2], len(names) + 1))
    return {"countries": tuple(names), "country4": four, "country6": six}, rows


def _networks(archive: Archive) -> tuple[dict[str, Any], int]:
    asns: dict[str, int] = {}
    classes = bytearray()

    def value(row: list[str]) -> int:
        if row[2] not in asns:
            asns[row[2]] = len(asns) + 1
            classes.append(network_class(row[2], row[3]))
        return asns[row[2]]

    four, six, rows = _packed(archive, "asn", value)
    numbers = np.array([int(asn) for asn in asns], dtype="<u4").tobytes()
    return {"asns": numbers, "asn_classes": bytes(classes), "network4": four, "network6": six}, rows


# --- names -----------------------------------------------------------------------------------------------------------


def _literal(source: str, name: str) -> Any:
    """Return the value that a Python module assigns to a name; it is read, never run."""
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign) and [getattr(t, "id", "") for t in statement.targets] == [name]:
            return ast.literal_eval(statement.value)
    raise KeyError(name)


def _disposable(archive: Archive) -> tuple[dict[str, Any], int]:
    domains = _literal(archive.text("disposable_email_domains/__init__.py"), "blocklist")
    return {"disposable": tuple(sorted(domains))}, len(domains)


def _phones(archive: Archive) -> tuple[dict[str, Any], int]:
    """Read the numbering plans of all countries: those that share a calling code stand together, the main one first."""
    regions = _literal(archive.text("phonenumbers/data/__init__.py"), "_COUNTRY_CODE_TO_REGION_CODE")
    told: dict[str, str] = {}
    for code, names in regions.items():
        told |= beginnings(str(code), [_region(archive, str(code), name) for name in names])
    return {"calling_codes": told}, len(told)


def _region(archive: Archive, code: str, name: str) -> Region:
    """Read one country's plan; what belongs to no country, such as ``800``, has a file named by its code."""
    shared = not name.isalpha()
    source = archive.text(f"phonenumbers/data/region_{code if shared else name}.py")
    said = _keywords(next(s.value for s in ast.parse(source).body if isinstance(s, ast.Assign)))
    kinds = {kind: _keywords(said[kind]).get("national_number_pattern") for kind in KINDS if kind in said}
    patterns = {kind: ast.literal_eval(pattern) for kind, pattern in kinds.items() if pattern is not None}
    leading = ast.literal_eval(said["leading_digits"]) if "leading_digits" in said else ""
    return Region("" if shared else name, patterns, leading)


def _keywords(call: ast.expr) -> dict[str, ast.expr]:
    """Return what a call in a Python module names; nothing of another expression."""
    return {k.arg: k.value for k in call.keywords if k.arg} if isinstance(call, ast.Call) else {}


def _zones(archive: Archive) -> tuple[dict[str, Any], int]:
    """Read the zones of each country with their main cities, and the other names of zones."""
    zones: dict[str, str] = {}
    cities: dict[str, list[tuple[float, float]]] = {}
    for line in archive.text("tzdata/zoneinfo/zone.tab").splitlines():
        if not line.startswith("#"):
            country, place, zone = line.split("\t")[:3]
            zones[zone] = country
            cities.setdefault(country, []).append(_degrees(place))
    for line in archive.text("tzdata/zoneinfo/tzdata.zi").splitlines():
        if line.startswith("L "):
            _, zone, other = line.split()
            if zone in zones:
                zones.setdefault(other, zones[zone])
    placed = tuple(sorted(cities))
    return {"zones": zones, "placed": placed, "distances_km": _distances_km([cities[one] for one in placed])}, len(
        zones
    )


def _degrees(place: str) -> tuple[float, float]:
    """Return latitude and longitude of a place as ISO 6709 writes it.

    >>> _degrees("-2330+04710")
    (-23.5, 47.166666666666664)
    """
    found = re.fullmatch(r"([+-])(\d\d)(\d\d)(\d\d)?([+-])(\d{3})(\d\d)(\d\d)?", place)
    if found is None:
        raise ValueError(place)
    south, *latitude = found.groups("0")[:4]
    west, *longitude = found.groups("0")[4:]
    north, east = (float(d) + float(m) / 60 + float(s) / 3600 for d, m, s in (latitude, longitude))
    return (-north if south == "-" else north), (-east if west == "-" else east)


def _distances_km(cities: list[list[tuple[float, float]]]) -> bytes:
    """Return the least great-circle distance between the cities of any two countries, [n, n] of two bytes."""
    owners = np.repeat(np.arange(len(cities)), [len(one) for one in cities])
    latitude, longitude = np.radians(np.array([place for one in cities for place in one])).T
    half = np.sin((latitude[:, None] - latitude) / 2) ** 2
    half += np.cos(latitude)[:, None] * np.cos(latitude) * np.sin((longitude[:, None] - longitude) / 2) ** 2
    km = 2 * _EARTH_KM * np.arcsin(np.sqrt(np.clip(half, 0, 1)))
    least = np.full((len(cities), len(cities)), math.inf)
    np.minimum.at(least, (owners[:, None], owners), km)
    return least.round().astype("<u2").tobytes()


SOURCES: Final = (
    Source(
        "npm", "@ip-location-db/asn-country", "2.3.2026061719",
        "f1ba738e7a4c3f5b5fd1ccef47576ad797625a9d8efd5f2fb06a3abef3db3b91", "CC-BY-4.0",
        "Number Resource Organization (nro.net)", "country of an address", False, _countries,
    ),
    Source(
        "npm", "@ip-location-db/asn", "2.3.2026061719",
        "b9425daf2f011c28f8586685d4f89166e77627e2c15fd93c6262c3e2dead6153", "CC-BY-4.0",
        "RouteViews (routeviews.org), DB-IP (db-ip.com), Number Resource Organization (nro.net)",
        "autonomous system of an address, and whether it hosts", False, _networks,
    ),
    Source(
        "pypi", "disposable-email-domains", "0.0.293",
        "b03e29f3a810a012c200b944ce9ef52ce975da2ea63bcf50d08767bf9e225f8e", "MIT",
        "Dustin Ingram and the disposable-email-domains project", "disposable e-mail domains", True, _disposable,
    ),
    Source(
        "pypi", "phonenumbers", "9.0.43",
        "349bc799f15e010e35bd2c7d28149950ae74479cb1e11fb054ed9a95ecb4b437", "Apache-2.0",
        "The Libphonenumber Authors, David Drysdale", "country and kind of line of a phone number", True, _phones,
    ),
    Source(
        "pypi", "tzdata", "2026.6",
        "0a10eec6e13ef16b627fabed9a5f2ba61a62b1c67f327305f4e7e412a70b4aec", "Apache-2.0",
        "IANA Time Zone Database (public domain), Python Software Foundation",
        "country of a time zone; distances", True, _zones,
    ),
)  # fmt: skip
"""What tables are made of."""

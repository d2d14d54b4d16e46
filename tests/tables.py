"""Reference tables that tests make: archives as npm and pip bring them, of a world of a few networks."""

from __future__ import annotations

import io
import ipaddress
import tarfile
from collections.abc import Sequence
from functools import cache

from avalist.enrich.packages import SOURCES, add, shipped
from avalist.enrich.tables import Contents

COUNTRIES, NETWORKS = SOURCES[0], SOURCES[1]
WORLD = (
    ("1.0.0.0/24", "AU", "13335", "Cloudflare, Inc."),
    ("9.0.0.0/16", "DE", "3320", "Deutsche Telekom AG"),
    ("9.1.0.0/16", "US", "64500", "Iron Hosting Centre LTD"),
    ("9.2.0.0/16", "SE", "39351", "31173 Services AB"),
    ("2a01:4f8::/32", "DE", "24940", "Hetzner Online GmbH"),
)


def archive(stem: str, rows: Sequence[tuple[str, ...]]) -> bytes:
    """Return a package of ranges as npm packs it; each row is a network and what follows."""
    texts = {4: "", 6: ""}
    for network, *rest in rows:
        held = ipaddress.ip_network(network)
        texts[held.version] += f"{int(held[0])},{int(held[-1])}," + ",".join(f'"{one}"' for one in rest) + "\n"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for version, text in texts.items():
            member = tarfile.TarInfo(f"package/{stem}-ipv{version}-num.csv")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return packed.getvalue()


@cache
def contents(*more: tuple[str, str, str, str]) -> Contents:
    """Return the shipped tables with a few networks, and `more`."""
    rows = (*WORLD, *more)
    made = add(shipped(), COUNTRIES, "0", archive("asn-country", [row[:2] for row in rows]))
    return add(made, NETWORKS, "0", archive("asn", [(row[0], *row[2:]) for row in rows]))

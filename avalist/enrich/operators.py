"""What an operator of a network does: known ones by number, others by their name. By our own hand."""

from __future__ import annotations

import re
from typing import Final

NETWORK_CLASSES: Final = ("other", "hosting", "anonymiser")
_HOSTING = """
7203 8075 8100 8560 8972 9009 9370 12876 13335 14061 14618 15169 16265 16276 16509 19318 20454 20473 20940 24940
25820 26347 26496 28753 29802 30633 31898 32097 32613 33387 35908 36351 36352 37963 39572 40021 40676 42831 43350
45090 45102 46562 46606 46844 47583 49981 50673 51167 51852 53667 54113 54290 55286 55293 60068 60781 62240 62904
63023 63949 132203 136907 197540 200651 202425 210644 212238 396356 396982 398101
"""
_ANONYMISER = "39351 62371 136787 141039 147049 199218 203619 207137 208172 209103 216025"
_HOSTING_ASNS = frozenset(_HOSTING.split())
_ANONYMISER_ASNS = frozenset(_ANONYMISER.split())
_HOSTING_NAME = re.compile(
    r"host(ing|ed)\b|\bservers?\b|data ?cent(er|re)s?\b|\bcloud|\bvps|\bcolo(cation)?\b|\bdedicated\b", re.IGNORECASE
)
_ANONYMISER_NAME = re.compile(r"\bvpn\b|\bprox(y|ies)\b|\banonymizer\b|\bmullvad\b|\bpackethub\b", re.IGNORECASE)


def network_class(asn: str, operator: str) -> int:
    """Return the place in ``NETWORK_CLASSES`` of an autonomous system.

    >>> [network_class(*one) for one in (("16509", "Amazon.com, Inc."), ("1", "Iron Hosting"), ("2", "A Telco"))]
    [1, 1, 0]
    """
    if asn in _ANONYMISER_ASNS or _ANONYMISER_NAME.search(operator):
        return NETWORK_CLASSES.index("anonymiser")
    return int(asn in _HOSTING_ASNS or _HOSTING_NAME.search(operator) is not None)

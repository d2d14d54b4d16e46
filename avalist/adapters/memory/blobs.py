"""Blobs in memory, and the names every blob store accepts."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from avalist.domain.errors import BadInput, NotFound

PART = "[A-Za-z0-9_][A-Za-z0-9_.=-]*"
MERCHANT = re.compile(f"{PART}(~[0-9]+)?")
NAME = re.compile(f"{PART}(/{PART})*")
MAX_NAME = 200


def check_merchant(merchant: str) -> str:
    """Return `merchant` if it may name a folder; a twin does.

    Raises
    ------
    BadInput
        Unless it is 1 to 200 letters, digits, ``_ . = -`` and begins with neither a dot, ``=`` nor a dash; a twin's
        number may follow.
    """
    if len(merchant) > MAX_NAME or not MERCHANT.fullmatch(merchant):
        raise BadInput(
            "not a merchant's name", field="merchant", expected=f"{PART}, to 200 characters", got=merchant[:40]
        )
    return merchant


def check_name(name: str) -> str:
    """Return `name` if it may name a blob: parts like a merchant's name, joined by ``/``, 200 characters in all.

    Raises
    ------
    BadInput
        For anything else, so no name leads out of its merchant's folder.

    Examples
    --------
    >>> check_name("models/2026-11.bin")
    'models/2026-11.bin'
    >>> check_name("../other/key")
    Traceback (most recent call last):
    avalist.domain.errors.BadInput: not a blob's name
    """
    if len(name) > MAX_NAME or not NAME.fullmatch(name):
        raise BadInput("not a blob's name", field="name", expected=f"{NAME.pattern}, to 200 characters", got=name[:40])
    return name


class MemoryBlobs:
    """Keep blobs in one dict per merchant.

    >>> blobs = MemoryBlobs()
    >>> blobs.put("m", "models/a", b"1")
    >>> blobs.get("m", "models/a"), list(blobs.names("m", "models/")), list(blobs.names("other"))
    (b'1', ['models/a'], [])
    """

    def __init__(self) -> None:
        self._blobs: defaultdict[str, dict[str, bytes]] = defaultdict(dict)

    def put(self, merchant: str, name: str, data: bytes) -> None:
        """Store `data` under `name`. Raises ``BadInput`` for a name that :func:`check_name` refuses."""
        self._blobs[check_merchant(merchant)][check_name(name)] = bytes(data)

    def get(self, merchant: str, name: str) -> bytes:
        """Return the blob. Raises ``NotFound``."""
        try:
            return self._blobs[check_merchant(merchant)][check_name(name)]
        except KeyError:
            raise NotFound(f"no blob {name!r} of merchant {merchant!r}") from None

    def delete(self, merchant: str, name: str) -> None:
        """Delete the blob, if there is one."""
        self._blobs[check_merchant(merchant)].pop(check_name(name), None)

    def names(self, merchant: str, prefix: str = "") -> Iterator[str]:
        """Yield the names that start with `prefix`, sorted."""
        return iter(sorted(name for name in self._blobs[check_merchant(merchant)] if name.startswith(prefix)))

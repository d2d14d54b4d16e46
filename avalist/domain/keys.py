"""API keys: what a caller may do. Only a hash of a key is ever kept."""

from __future__ import annotations

import hashlib
from typing import Final, Literal

import msgspec

KeyKind = Literal["live", "import", "sandbox", "simulation"]
KeyScope = Literal["decisions:write", "decisions:read", "events:write", "outcomes:write"]

ALL_SCOPES: Final[tuple[KeyScope, ...]] = ("decisions:write", "decisions:read", "events:write", "outcomes:write")
SCOPES: Final[dict[KeyKind, tuple[KeyScope, ...]]] = {
    "live": ALL_SCOPES,
    "import": ("decisions:read", "events:write", "outcomes:write"),
    "sandbox": ALL_SCOPES,
    "simulation": ALL_SCOPES,
}
"""What a key may do unless it was issued for less."""

HOUSE: Final = "_"
"""Holds the blobs and documents of no merchant; no merchant's id begins so."""

_TWIN = "~"
_SHOWN_CHARACTERS = 4


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key at rest. Keys but ``live`` ones may supply ``received_at``; a ``sandbox`` key has a twin for a merchant.

    `prefix` is what may be shown of the key; `expires_at_ms` is when it ends, by rotation, revocation or its
    lifetime; `rate_per_s` bounds its requests in place of the settings' limit. No `scopes`: those of its kind.
    """

    merchant: str
    kind: KeyKind
    hash: str
    issued_at_ms: int
    prefix: str = ""
    scopes: tuple[KeyScope, ...] = ()
    expires_at_ms: int | None = None
    rate_per_s: int | None = None
    rotated: bool = False

    @property
    def id(self) -> str:
        """Return the name by which operators call the key; it tells nothing of its text."""
        return self.hash[:12]

    @property
    def supplies_time(self) -> bool:
        """Tell whether the key's events may carry ``received_at``."""
        return self.kind != "live"

    @property
    def granted(self) -> tuple[KeyScope, ...]:
        """Return the scopes that the key has."""
        return self.scopes or SCOPES[self.kind]

    def expired(self, at_ms: int) -> bool:
        """Tell whether the key has ended."""
        return self.expires_at_ms is not None and at_ms >= self.expires_at_ms


def key_text(merchant: str, kind: KeyKind, secret: str) -> str:
    """Return a key as its holder sees it.

    >>> key_text("shop", "live", "s3cret")
    'av_live_shop_s3cret'
    """
    return f"av_{kind}_{merchant}_{secret}"


def key_prefix(text: str, secret: str) -> str:
    """Return what may be shown of a key: all but its secret, and the secret's first characters.

    >>> key_prefix("av_live_shop_s3cret-and-long", "s3cret-and-long")
    'av_live_shop_s3cr'
    """
    return text[: len(text) - len(secret) + _SHOWN_CHARACTERS]


def key_hash(text: str | bytes) -> str:
    """Return the hash kept of a key. Keys carry 256 random bits, so a plain hash cannot be guessed back."""
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()


def twin(owner: str, number: int) -> str:
    """Return the id of a merchant's sandbox twin. No merchant can be created with such an id.

    >>> twin("shop", 2), owner_of("shop~2"), owner_of("shop"), is_twin("shop~2")
    ('shop~2', 'shop', 'shop', True)
    """
    return f"{owner}{_TWIN}{number}"


def owner_of(merchant: str) -> str:
    """Return the merchant that a twin belongs to, or the merchant itself."""
    return merchant.partition(_TWIN)[0]


def is_twin(merchant: str) -> bool:
    """Tell whether an id is a sandbox twin's."""
    return _TWIN in merchant

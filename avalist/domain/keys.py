"""API keys: what a caller may do. Only a hash of a key is ever kept."""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

KeyKind = Literal["live", "import", "sandbox", "simulation"]


class ApiKey(msgspec.Struct, frozen=True):
    """A key at rest. Keys other than ``live`` may supply ``received_at``."""

    merchant: str
    kind: KeyKind
    hash: str
    issued_at_ms: int

    @property
    def supplies_time(self) -> bool:
        """Tell whether the key's events may carry ``received_at``."""
        return self.kind != "live"


def key_text(merchant: str, kind: KeyKind, secret: str) -> str:
    """Return a key as its holder sees it.

    >>> key_text("shop", "live", "s3cret")
    'av_live_shop_s3cret'
    """
    return f"av_{kind}_{merchant}_{secret}"


def key_hash(text: str | bytes) -> str:
    """Return the hash kept of a key. Keys carry 256 random bits, so a plain hash cannot be guessed back."""
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()

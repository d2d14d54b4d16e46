"""Files that only their owner may read: they hold rows, or figures, of somebody's payments."""

from __future__ import annotations

import os
from pathlib import Path

_OWNER_ONLY = 0o600


def private(path: str, flags: int) -> int:
    """Open a file for its owner alone, also one that was there already; an ``opener`` for :func:`open`."""
    descriptor = os.open(path, flags, _OWNER_ONLY)
    os.fchmod(descriptor, _OWNER_ONLY)
    return descriptor


def write_private(file: Path, content: str | bytes) -> None:
    """Write a file that only its owner may read."""
    with open(file, "wb", opener=private) as stream:
        stream.write(content.encode() if isinstance(content, str) else content)

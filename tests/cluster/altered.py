"""A role as it might run elsewhere: ``python -m tests.cluster.altered run ROLE …``, altered by its environment.

``ALTERED_CLOCK`` names a file that holds by how many milliseconds somebody set the machine's clock wrong.
``ALTERED_VERSION=next`` makes it the next version: whatever it writes has a field more, and its snapshots another
format.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import msgspec

UNKNOWN = "of the next version"


def set_wrong(file: Path) -> None:
    """Let the wall clock be wrong by what stands in a file."""
    from avalist.adapters.clock import SystemClock

    def now_ms(self: SystemClock) -> int:
        with suppress(OSError, ValueError):
            return time.time_ns() // 1_000_000 + int(file.read_text())
        return time.time_ns() // 1_000_000

    SystemClock.now_ms = now_ms  # type: ignore[method-assign]


def with_a_field_more(encode: Callable[[Any], bytes], *kinds: type) -> Callable[[Any], bytes]:
    """Return an encoder of msgpack that adds a field to arrays and objects of some kinds."""

    def encoded(value: object) -> bytes:
        if not isinstance(value, kinds or object):
            return encode(value)
        whole = msgspec.msgpack.decode(encode(value))
        if isinstance(whole, list):
            return msgspec.msgpack.encode([*whole, UNKNOWN])
        return msgspec.msgpack.encode({**whole, "unknown": UNKNOWN})

    return encoded


def be_the_next_version() -> None:
    """Alter the modules from the innermost on: each is altered before another takes a name from it."""
    from avalist.domain import records

    records.encode_record = with_a_field_more(records.encode_record)
    from avalist.app import snapshot

    snapshot.CODE = f"{snapshot.FORMAT + 1}{snapshot.CODE.removeprefix(str(snapshot.FORMAT))}"  # type: ignore[misc]
    from avalist.app import asked, take
    from avalist.domain.core import Control, DecisionCore, EventCore, FallbackCore

    cores = EventCore, DecisionCore, FallbackCore, *get_args(Control)
    take.encode = with_a_field_more(take.encode, *cores)  # not the canonical form of what callers sent
    asked.encode_message = with_a_field_more(asked.encode_message)  # type: ignore[misc]
    from avalist.app import profile

    profile.encode_profile = with_a_field_more(profile.encode_profile)


if __name__ == "__main__":
    if "ALTERED_CLOCK" in os.environ:
        set_wrong(Path(os.environ["ALTERED_CLOCK"]))
    if "ALTERED_VERSION" in os.environ:
        be_the_next_version()
    from avalist.cli import main

    main()

"""Keys of days: what they wrapped can be opened until they are destroyed."""

from __future__ import annotations

from pathlib import Path

import pytest

from avalist.adapters.file.daykeys import DayKeys
from tests.shop import DAY_MS, T0_MS, FakeClock

TODAY = T0_MS // DAY_MS


@pytest.fixture
def keys(tmp_path: Path, clock: FakeClock) -> DayKeys:
    return DayKeys(tmp_path, clock)


def test_another_process_opens_what_was_wrapped(keys: DayKeys, tmp_path: Path, clock: FakeClock) -> None:
    wrapped = keys.wrap(b"ann@example.com")
    assert b"ann" not in wrapped
    assert DayKeys(tmp_path, clock).unwrap(wrapped) == b"ann@example.com"


def test_each_wrapping_is_another(keys: DayKeys) -> None:
    assert keys.wrap(b"ann") != keys.wrap(b"ann")


def test_what_was_never_wrapped_comes_back(keys: DayKeys) -> None:
    assert keys.unwrap(b"sealed before there were keys of days") == b"sealed before there were keys of days"


def test_a_day_ends_with_its_key_and_the_next_does_not(keys: DayKeys, clock: FakeClock) -> None:
    first = keys.wrap(b"first")
    clock.ms += DAY_MS
    second = keys.wrap(b"second")
    assert keys.destroy(TODAY + 1) == 1
    assert (keys.unwrap(first), keys.unwrap(second)) == (None, b"second")
    assert list(keys.days()) == [TODAY + 1]


def test_a_key_that_another_process_destroyed_is_not_used_for_long(
    keys: DayKeys, tmp_path: Path, clock: FakeClock
) -> None:
    keys.wrap(b"first")
    DayKeys(tmp_path, clock).destroy(TODAY + 1)
    clock.ms += 3_600_000
    assert keys.unwrap(keys.wrap(b"second")) == b"second"


@pytest.mark.parametrize("place", [8, 20, -1])
def test_what_was_altered_does_not_open(keys: DayKeys, place: int) -> None:
    wrapped = bytearray(keys.wrap(b"ann"))
    wrapped[place] ^= 1
    assert keys.unwrap(bytes(wrapped)) is None

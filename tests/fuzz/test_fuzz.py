"""The fuzzers in little, with fixed seeds: that they run, and that nothing shows up quickly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.fuzz.api import fuzz
from tests.fuzz.decoders import TARGETS, check, corpus

TOKENS = (
    b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"null", b"1e400", b"NaN", b"-", b"9" * 25, b"\\ud800", b"\xff",
    b"\xef\xbb\xbf", b"\x00", b"4111111111111111", b"4111 1111-1111 1111", b"\\u0034111111111111111", b"4.2e15",
    b"9999-12-31T23:59:59-14:00", b"0001-01-01T00:00:00Z", b'"custom":', b'"event_id":"e",', b"[[[[[[[[", b"true",
    "\u0664".encode(), "\u00a0".encode(), b"e", b"E5",
)  # fmt: skip


def mutated(data: bytes, rng: np.random.Generator, other: bytes) -> bytes:
    """Return `data` with a few bytes replaced, put in, taken out, or joined with another input."""
    for _ in range(int(rng.integers(1, 5))):
        a, b = sorted(int(x) for x in rng.integers(1, len(data) + 1, 2))
        match int(rng.integers(0, 5)):
            case 0:
                data = data[:a] + TOKENS[int(rng.integers(len(TOKENS)))] + data[a:]
            case 1:
                data = data[:a] + TOKENS[int(rng.integers(len(TOKENS)))] + data[b:]
            case 2:
                data = data[:a] + data[min(b, a + 12) :]
            case 3:
                data = data[:b] + data[a : a + 40] + data[b:]
            case _:
                data = data[:a] + other[a:]
    return data


def test_the_corpus_reaches_every_decoder() -> None:
    assert {data[0] for data in corpus()} == set(range(len(TARGETS)))
    for data in corpus():
        check(data)


@pytest.mark.parametrize("seed", range(4))
def test_mutated_bodies_are_decoded_or_refused(seed: int) -> None:
    rng = np.random.default_rng(seed)
    seeds = corpus()
    for _ in range(1500):
        first, other = (seeds[int(n)] for n in rng.integers(0, len(seeds), 2))
        check(mutated(first, rng, other))


@pytest.mark.sockets
@pytest.mark.slow
def test_the_service_keeps_its_contract_under_fire(tmp_path: Path) -> None:
    done = fuzz(tmp_path / "data", minutes=0, examples=8)
    assert done["requests"] > 100
    assert {"200", "401", "422"} <= set(done["statuses"])

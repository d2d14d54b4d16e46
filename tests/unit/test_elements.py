"""JSON arrays in pieces: the same elements wherever a block ends, and nothing beyond a limit is held."""

from __future__ import annotations

import gzip
import io
import json
import tempfile
from pathlib import Path

import polars as pl
import pytest

from avalist.domain.errors import BadInput
from avalist.history import elements as module
from avalist.history.elements import elements
from avalist.history.table import Table

ROWS = [
    {"id": n, "note": '},{"id": \\' * (n % 3), "cart": [{"id": k} for k in range(n % 7)], "at": {"x": [1, {}]}}
    for n in range(400)
]


def read(content: bytes, block_bytes: int = 1 << 20) -> list[bytes]:
    return [one for some in elements(io.BytesIO(content), "f.json", block_bytes) for one in some]


@pytest.mark.parametrize("block_bytes", [997, 5_000, 1 << 20])
@pytest.mark.parametrize("indent", [None, 2])
def test_elements_are_those_of_the_whole_array(block_bytes: int, indent: int | None) -> None:
    content = b"\xef\xbb\xbf\n " + json.dumps(ROWS, indent=indent).encode()
    parts = [*elements(io.BytesIO(content), "f.json", block_bytes)]
    assert [json.loads(one) for some in parts for one in some] == ROWS
    assert (len(parts) > 5) is (block_bytes < 1 << 20)


@pytest.mark.parametrize("content", [b"[]", b"[ ]", b'["a", {"b": 1}, 3]'])
def test_small_arrays(content: bytes) -> None:
    assert [json.loads(one) for one in read(content)] == json.loads(content)


@pytest.mark.parametrize("end", [-1, -2, -2_000])
def test_an_array_that_does_not_end_is_damaged(end: int) -> None:
    with pytest.raises(BadInput, match="damaged") as refused:
        read(json.dumps(ROWS).encode()[:end], 5_000)
    assert "truncated" in refused.value.got


def test_what_follows_an_array_is_told() -> None:
    with pytest.raises(BadInput, match="damaged"):
        read(json.dumps(ROWS).encode() + b" 1", 5_000)


def test_what_ends_nowhere_is_refused_before_it_fills_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_HELD_BYTES", 50_000)
    stream = io.BytesIO(b'[{"a": "' + b"x" * 1_000_000)
    with pytest.raises(BadInput, match="no object of the JSON array ends"):
        [*elements(stream, "f.json", 10_000)]
    assert stream.tell() < 100_000


@pytest.mark.parametrize("packed", [False, True])
def test_a_table_numbers_the_elements_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool) -> None:
    monkeypatch.setattr(module, "_HEAD_BYTES", 1_000)
    content = json.dumps([{"id": n, "pad": "x" * 200_000} for n in range(50)]).encode()
    (tmp_path / "f").write_bytes(gzip.compress(content, 0) if packed else content)
    lines = [*Table(tmp_path / "f").lines()]
    assert len(lines) > 1
    assert [n for some in lines for n in some.numbers] == [*range(1, 51)]
    frames = [batch.frame["id"] for batch in Table(tmp_path / "f").batches(["id"])]
    assert pl.concat(frames).to_list() == [str(n) for n in range(50)]


def test_packed_parquet_is_read_as_plain_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "t"))
    (tmp_path / "t").mkdir()
    pl.DataFrame({"id": range(1000), "at": [{"x": n} for n in range(1000)]}).write_parquet(tmp_path / "plain")
    (tmp_path / "packed").write_bytes(gzip.compress((tmp_path / "plain").read_bytes()))
    plain, packed = (Table(tmp_path / name) for name in ("plain", "packed"))
    both = [pl.concat([batch.frame for batch in one.batches(rows=300)]) for one in (plain, packed)]
    assert both[0].equals(both[1])
    assert plain.names == packed.names == ["id", "at.x"]
    assert [*(tmp_path / "t").iterdir()] == []

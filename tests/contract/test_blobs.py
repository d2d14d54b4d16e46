"""Every blob store keeps the contract of ports/blobs.py."""

from __future__ import annotations

import errno
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path

import pytest

from avalist.adapters.file.blobs import FolderBlobs
from avalist.adapters.memory.blobs import MemoryBlobs
from avalist.adapters.s3.blobs import S3Blobs
from avalist.domain.errors import BadInput, NotFound, Unavailable
from avalist.ports.blobs import Blobs
from tests.services.s3 import url_of
from tests.services.server import Server

BAD_NAMES = [
    "",
    ".",
    "..",
    "../rival/key",
    "/etc/passwd",
    "a//b",
    "a/",
    "a/../b",
    ".hidden",
    "a\0",
    "a~b",
    "a\n",
    "a" * 201,
]


class BlobsContract:
    @pytest.fixture
    def blobs(self, tmp_path: Path) -> Blobs:
        return self.open(tmp_path)

    def open(self, folder: Path) -> Blobs:
        raise NotImplementedError

    def test_what_is_put_is_got(self, blobs: Blobs) -> None:
        blobs.put("shop", "models/a", b"\0" * 100_000)
        assert blobs.get("shop", "models/a") == b"\0" * 100_000

    def test_the_same_name_is_replaced(self, blobs: Blobs) -> None:
        blobs.put("shop", "a", b"a longer first one")
        blobs.put("shop", "a", b"")
        assert blobs.get("shop", "a") == b""

    def test_a_missing_blob_is_not_found(self, blobs: Blobs) -> None:
        blobs.put("shop", "a", b"")
        for merchant, name in (("shop", "b"), ("rival", "a")):
            with pytest.raises(NotFound):
                blobs.get(merchant, name)

    def test_names_are_sorted_and_chosen_by_prefix(self, blobs: Blobs) -> None:
        for name in ("models/b", "models.d", "models/a", "models", "archive/x", "a-b", "a/b"):
            blobs.put("shop", name, b"")
        assert list(blobs.names("shop", "models/")) == ["models/a", "models/b"]
        assert list(blobs.names("shop")) == ["a-b", "a/b", "archive/x", "models", "models.d", "models/a", "models/b"]

    def test_a_name_may_begin_another(self, blobs: Blobs) -> None:
        blobs.put("shop", "a", b"1")
        blobs.put("shop", "a/b", b"2")
        assert (blobs.get("shop", "a"), blobs.get("shop", "a/b")) == (b"1", b"2")

    def test_a_twin_has_blobs_of_its_own(self, blobs: Blobs) -> None:
        blobs.put("shop", "a", b"ours")
        blobs.put("shop~1", "a", b"rehearsed")
        assert (blobs.get("shop", "a"), blobs.get("shop~1", "a")) == (b"ours", b"rehearsed")

    def test_a_merchant_sees_its_own_alone(self, blobs: Blobs) -> None:
        blobs.put("shop", "a", b"ours")
        blobs.put("rival", "a", b"theirs")
        assert blobs.get("shop", "a") == b"ours"
        assert list(blobs.names("nobody")) == []

    def test_what_is_deleted_is_gone_and_nothing_else(self, blobs: Blobs) -> None:
        for merchant, name in (("shop", "a"), ("shop", "a/b"), ("rival", "a")):
            blobs.put(merchant, name, b"1")
        for _ in range(2):
            blobs.delete("shop", "a")
        assert (list(blobs.names("shop")), list(blobs.names("rival"))) == (["a/b"], ["a"])

    @pytest.mark.parametrize("name", BAD_NAMES)
    def test_a_name_that_leads_elsewhere_is_refused(self, blobs: Blobs, name: str) -> None:
        with pytest.raises(BadInput):
            blobs.put("shop", name, b"")
        with pytest.raises(BadInput):
            blobs.get("shop", name)
        with pytest.raises(BadInput):
            blobs.delete("shop", name)

    @pytest.mark.parametrize("merchant", [*BAD_NAMES, "shop/models"])
    def test_a_merchant_that_leads_elsewhere_is_refused(self, blobs: Blobs, merchant: str) -> None:
        with pytest.raises(BadInput):
            blobs.put(merchant, "a", b"")
        with pytest.raises(BadInput):
            blobs.names(merchant)


class TestMemoryBlobs(BlobsContract):
    def open(self, folder: Path) -> Blobs:
        return MemoryBlobs()


class TestFolderBlobs(BlobsContract):
    def open(self, folder: Path) -> Blobs:
        return FolderBlobs(folder / "blobs")

    def test_blobs_survive_a_reopening(self, blobs: Blobs, tmp_path: Path) -> None:
        blobs.put("shop", "a", b"1")
        assert self.open(tmp_path).get("shop", "a") == b"1"

    @pytest.mark.parametrize("call", ["fsync", "replace"])
    def test_a_failed_put_leaves_the_old_blob_and_no_litter(
        self, blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
    ) -> None:
        blobs.put("shop", "a", b"old")
        monkeypatch.setattr(os, call, failing)
        with pytest.raises(Unavailable, match="No space left"):
            blobs.put("shop", "a", b"new")
        assert blobs.get("shop", "a") == b"old"
        assert os.listdir(tmp_path / "blobs" / "shop") == ["a"]

    def test_the_file_and_its_folder_are_synced(self, blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
        synced: list[int] = []
        monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.fstat(fd).st_mode))
        blobs.put("shop", "a", b"1")
        assert [stat.S_ISDIR(mode) for mode in synced] == [
            True,
            False,
            True,
        ]  # the new folder's name, the file, its name

    def test_what_a_crash_left_is_not_listed(self, blobs: Blobs, tmp_path: Path) -> None:
        blobs.put("shop", "a", b"1")
        (tmp_path / "blobs" / "shop" / ".tmpx").write_bytes(b"half")
        assert list(blobs.names("shop")) == ["a"]

    def test_a_file_in_the_way_is_unavailable(self, tmp_path: Path) -> None:
        (tmp_path / "blobs").write_bytes(b"")
        with pytest.raises(Unavailable):
            self.open(tmp_path)


@pytest.mark.sockets
class TestS3Blobs(BlobsContract):
    @pytest.fixture
    def blobs(self, tmp_path: Path, s3: Server) -> Blobs:
        return S3Blobs(url_of(s3, blake2b(str(tmp_path).encode(), digest_size=8).hexdigest()))

    def test_blobs_survive_a_reopening(self, blobs: Blobs, tmp_path: Path, s3: Server) -> None:
        blobs.put("shop", "a", b"1")
        again = S3Blobs(url_of(s3, blake2b(str(tmp_path).encode(), digest_size=8).hexdigest()))
        assert again.get("shop", "a") == b"1"

    def test_a_large_blob_goes_in_parts(self, blobs: Blobs) -> None:
        data = bytes(range(256)) * 50_000
        blobs.put("shop", "a", data)
        assert blobs.get("shop", "a") == data

    def test_more_names_than_a_page_holds_are_listed(self, blobs: Blobs) -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: blobs.put("shop", f"a/{n:04d}", b""), range(1_050)))
        assert list(blobs.names("shop", "a/")) == [f"a/{n:04d}" for n in range(1_050)]

    @pytest.mark.parametrize("missing", ["no-such-bucket", "avalist"])
    def test_a_bucket_that_cannot_be_listed_is_unavailable(
        self, s3: Server, monkeypatch: pytest.MonkeyPatch, missing: str
    ) -> None:
        url = url_of(s3, "x").replace("avalist", missing)
        if missing == "avalist":
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
        with pytest.raises(Unavailable, match="check the endpoint"):
            S3Blobs(url)


@pytest.mark.parametrize("url", ["s3:", "s3://", "s3://bucket?key=AKIA", "s3://bucket?endpoint=nonsense"])
def test_a_url_that_is_none_of_s3_is_told(url: str) -> None:
    with pytest.raises(BadInput, match=r"(?i)s3"):
        S3Blobs(url)


def failing(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

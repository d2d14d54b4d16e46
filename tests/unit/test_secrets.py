"""Secrets in a folder: made once, whoever comes first."""

from __future__ import annotations

import errno
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from avalist.adapters.file.secrets import FolderSecrets
from avalist.domain.errors import Unavailable


def test_processes_that_start_together_have_one_secret(tmp_path: Path) -> None:
    for n in range(20):
        folder = tmp_path / str(n)
        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(lambda folder: FolderSecrets(folder).admin_token(), [folder] * 8))
        assert len(set(made)) == 1
        assert [path.name for path in folder.iterdir()] == ["admin.token"]


def test_only_the_owner_reads_them(tmp_path: Path) -> None:
    FolderSecrets(tmp_path).merchant("shop")
    assert (tmp_path / "shop.key").stat().st_mode & 0o777 == 0o600


def test_a_full_disk_is_told_and_leaves_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("avalist.adapters.file.secrets.os.fsync", full)
    with pytest.raises(Unavailable, match="No space left on device; check the disk"):
        FolderSecrets(tmp_path).merchant("shop")
    assert list(tmp_path.iterdir()) == []

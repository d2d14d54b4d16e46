"""A small disk of its own, to be filled."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


class Disk:
    """A file system in memory at `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Take every byte that is left."""
        size = 0
        with self._ballast.open("ab") as ballast:
            while free := shutil.disk_usage(self.folder).free:
                with suppress(OSError):  # somebody else took some of it meanwhile
                    os.posix_fallocate(ballast.fileno(), size, free)
                    size += free

    def free(self) -> None:
        """Give it back."""
        self._ballast.unlink()


@contextmanager
def small_disk(folder: Path, mb: int) -> Iterator[Disk]:
    """Mount a disk of so many MiB; where that is not allowed the test skips."""
    folder.mkdir()
    mount = ("mount", "-t", "tmpfs", "-o", f"size={mb}m", "avalist-tests", str(folder))
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a full disk needs one of its own, and only root may mount it")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(("umount", "--lazy", str(folder)), check=True)

"""Blobs in a folder."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from avalist.adapters.memory.blobs import check_merchant, check_name
from avalist.domain.errors import NotFound, Unavailable


class FolderBlobs:
    """Keep each blob in a file of its merchant's folder.

    The files of a merchant lie flat, ``/`` written as ``~`` (no name holds one): ``a`` and ``a/b`` may both exist.
    A blob is written under a temporary name, synced, renamed, and its folder synced. What a crash leaves of it begins
    with a dot and is never listed.

    Raises
    ------
    Unavailable
        From every method, for an error of the file system.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with _mapped(folder):
            folder.mkdir(parents=True, exist_ok=True)

    def put(self, merchant: str, name: str, data: bytes) -> None:
        """Store `data` under `name`. Raises ``BadInput`` for a name that leads elsewhere."""
        path = self._path(merchant, name)
        with _mapped(path):
            if not path.parent.is_dir():
                path.parent.mkdir(exist_ok=True)
                sync_folder(self._folder)
            fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=".")
            try:
                with os.fdopen(fd, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(temporary, path)
            except BaseException:
                Path(temporary).unlink()
                raise
            sync_folder(path.parent)

    def get(self, merchant: str, name: str) -> bytes:
        """Return the blob. Raises ``NotFound``."""
        path = self._path(merchant, name)
        with _mapped(path):
            try:
                return path.read_bytes()
            except FileNotFoundError:
                raise NotFound(f"no blob {name!r} of merchant {merchant!r}") from None

    def delete(self, merchant: str, name: str) -> None:
        """Delete the blob, if there is one. After a power loss it may be there again."""
        path = self._path(merchant, name)
        with _mapped(path):
            path.unlink(missing_ok=True)

    def names(self, merchant: str, prefix: str = "") -> Iterator[str]:
        """Yield the names that start with `prefix`, sorted."""
        folder = self._folder / check_merchant(merchant)
        with _mapped(folder):
            files = os.listdir(folder) if folder.is_dir() else []
        names = (file.replace("~", "/") for file in files if not file.startswith("."))
        return iter(sorted(name for name in names if name.startswith(prefix)))

    def _path(self, merchant: str, name: str) -> Path:
        return self._folder / check_merchant(merchant) / check_name(name).replace("/", "~")


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def _mapped(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(
            f"blob storage at {path}: {error.strerror or error}; check the disk and its permissions"
        ) from error

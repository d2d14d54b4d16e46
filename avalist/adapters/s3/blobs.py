"""Blobs in an object storage that speaks S3."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from obstore.exceptions import BaseError, NotFoundError, UnknownConfigurationKeyError
from obstore.store import S3Store

from avalist.adapters.memory.blobs import check_merchant, check_name
from avalist.domain.errors import BadInput, NotFound, Unavailable

_FORM: Final = "s3://bucket/prefix?endpoint=https://host:port&region=name"
_KNOWN: Final = ("endpoint", "region")
_SCHEMES: Final = ("http", "https")
_TIMEOUT_S: Final = 60
_RETRIED_S: Final = 20


class S3Blobs:
    """Keep each blob in an object of a bucket, below the URL's prefix and its merchant's name.

    Credentials are found as AWS tools find them: in ``AWS_ACCESS_KEY_ID`` and its kin, or from the machine's role. In
    an object's name ``/`` and ``~`` of ours are written ``!``, which no name holds: ``a`` and ``a/b`` may both exist
    where objects are files. Failures that pass are tried again, for 20 seconds in all.

    Raises
    ------
    BadInput
        For a URL that is none of this kind.
    Unavailable
        From every method, for an error of the storage; at the start, if the bucket cannot be listed.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query))
        endpoint = urlsplit(options.get("endpoint", "https://aws"))
        if not parts.netloc or set(options) - set(_KNOWN) or endpoint.scheme not in _SCHEMES or not endpoint.netloc:
            raise BadInput("not a URL of S3", field="blobs", expected=_FORM, got=parts._replace(netloc="…").geturl())
        self._at = f"s3://{parts.netloc}{parts.path}"
        with _mapped(self._at):
            self._store = S3Store(
                parts.netloc,
                prefix=parts.path.strip("/") or None,
                client_options={
                    "allow_http": endpoint.scheme == "http",
                    "timeout": timedelta(seconds=_TIMEOUT_S),
                },
                retry_config={"max_retries": 5, "retry_timeout": timedelta(seconds=_RETRIED_S)},
                config={"endpoint": options["endpoint"]} if "endpoint" in options else None,
                region=options.get("region", "us-east-1"),
            )
            self._store.list_with_delimiter("_/")

    def put(self, merchant: str, name: str, data: bytes) -> None:
        """Store `data` under `name`. Raises ``BadInput`` for a name that leads elsewhere."""
        path = _path(merchant, name)
        with _mapped(self._at):
            self._store.put(path, data)

    def get(self, merchant: str, name: str) -> bytes:
        """Return the blob. Raises ``NotFound``."""
        path = _path(merchant, name)
        with _mapped(self._at):
            try:
                return bytes(self._store.get(path).bytes())
            except (NotFoundError, FileNotFoundError):
                raise NotFound(f"no blob {name!r} of merchant {merchant!r}") from None

    def delete(self, merchant: str, name: str) -> None:
        """Delete the blob, if there is one."""
        path = _path(merchant, name)
        with _mapped(self._at):
            try:
                self._store.delete(path)
            except (NotFoundError, FileNotFoundError):
                return

    def names(self, merchant: str, prefix: str = "") -> Iterator[str]:
        """Yield the names that start with `prefix`, sorted."""
        folder = _folder(merchant)
        with _mapped(self._at):
            found = [one["path"] for page in self._store.list(folder) for one in page]
        names = (path.removeprefix(f"{folder}/").replace("!", "/") for path in found)
        return iter(sorted(name for name in names if name.startswith(prefix)))


def _folder(merchant: str) -> str:
    return check_merchant(merchant).replace("~", "!")


def _path(merchant: str, name: str) -> str:
    return f"{_folder(merchant)}/{check_name(name).replace('/', '!')}"


@contextmanager
def _mapped(at: str) -> Iterator[None]:
    try:
        yield
    except (UnknownConfigurationKeyError, ValueError) as error:
        raise BadInput(f"blobs at {at}: {error}", field="blobs", expected=_FORM) from error
    except (BaseError, OSError) as error:
        said = str(error).partition("\n")[0]  # what follows is for whoever mends the library
        raise Unavailable(f"blobs at {at}: {said}; check the endpoint, the credentials and the bucket") from error

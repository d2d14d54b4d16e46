"""One running service for the tests of the clients."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from avalist.models.artefact import Artefact
from tests.live import Connection, Service
from tests.shop import opened


class Running(NamedTuple):
    """A service, and keys for it."""

    service: Service
    live_key: str
    admin: str

    def sandbox_key(self) -> str:
        """Return a key to a fresh sandbox."""
        with Connection(self.service.port, self.admin) as office:
            issued = office.json("POST", "/v1/admin", {"do": "issue_key", "merchant": "shop", "kind": "sandbox"})
        return str(issued["key"])


def prepared(folder: Path, artefact: Artefact) -> tuple[str, str]:
    """Make a shop in a data folder; return a live key and the admin token."""
    with opened(folder) as shop:
        shop.create()
        shop.activate(artefact)
        return shop.key(), shop.installation.secrets.admin_token()


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory, artefact: Artefact) -> Iterator[Running]:
    """Return a running service that the tests of a session share; each uses payments of its own."""
    folder = tmp_path_factory.mktemp("running") / "data"
    keys = prepared(folder, artefact)
    service = Service(folder)
    yield Running(service, *keys)
    service.stop()

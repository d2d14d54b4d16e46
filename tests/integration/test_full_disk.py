"""A full disk below ``avalist up``: what was acknowledged is there, nothing is half written, and space mends it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from avalist.adapters.file.secrets import FolderSecrets
from avalist.models.artefact import Artefact
from tests.cluster.disk import Disk, small_disk
from tests.cluster.running import PATIENCE_S, until
from tests.integration.test_kill9 import Load, finish, followed
from tests.live import Connection, Service, avalist
from tests.shop import SCHEMA, opened

pytestmark = [pytest.mark.sockets, pytest.mark.slow]

LOG_FITS_MB = 320  # the log's segment, allocated ahead, and room for the documents of all that is decided


@pytest.fixture
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Disk]:
    with small_disk(tmp_path / "disk", request.param) as disk:
        yield disk


def made(folder: Path, artefact: Artefact) -> Load:
    """Make a shop in a folder; return its callers."""
    with opened(folder) as shop:
        shop.create()
        shop.activate(artefact)
        return Load(shop.key())


def create(service: Service, merchant: str) -> int:
    """Create a merchant, which needs a file for its secret; return the status."""
    token = FolderSecrets(service.folder / "secrets").admin_token()
    create = {"do": "create_merchant", "merchant": merchant, "schema": msgspec.to_builtins(SCHEMA), "prior": False}
    with Connection(service.port, token) as office:
        return office.send("POST", "/v1/admin", create)[0]


_TRIED = itertools.count()


def refused_without_space(service: Service, disk: Disk) -> bool:
    """Tell whether a full disk refuses a merchant: what the follower writes in vain, and takes away again, is room."""
    disk.fill()
    status = create(service, f"none{next(_TRIED)}")
    assert status in (200, 503)
    return status == 503


@pytest.mark.parametrize("disk", [48], indirect=True)  # too small for a segment, and enough for a few documents
def test_a_log_that_is_full_stops_the_service_and_what_was_acknowledged_is_there(
    disk: Disk, artefact: Artefact
) -> None:
    load, service = made(disk.folder, artefact), Service(disk.folder)  # what it says goes beside the disk
    load.start(service.port)
    disk.fill()
    assert service.process.wait(PATIENCE_S) == 1
    service.kill()  # nothing of it is left but an open file
    load.join()
    assert load.answers
    assert all(b"log-failed" in refused for refused in load.refused)
    assert "Mend the disk, then start again" in " ".join(Path(f"{disk.folder}.said").read_text().split())
    disk.free()
    finish(disk.folder, load)


@pytest.mark.parametrize("disk", [LOG_FITS_MB], indirect=True)
def test_a_follower_without_space_costs_no_decision_and_catches_up(disk: Disk, artefact: Artefact) -> None:
    folder = disk.folder / "data"
    load, service = made(folder, artefact), Service(folder)  # what it says goes to the disk, too
    load.start(service.port)
    disk.fill()
    time.sleep(1.0)  # in which the follower comes to write
    before = len(load.answers)
    time.sleep(2.0)
    assert until(lambda: len(load.answers) > before)
    assert until(lambda: refused_without_space(service, disk))
    disk.free()
    assert create(service, "new") == 200
    load.join()
    assert load.refused == []
    ids = list(load.answers)
    assert followed(folder, ids) == ids
    assert service.stop() == 0
    assert "0 differ" in avalist("replay", "--verify", "--data", folder).stdout

"""Documents on a server: they move there, and its absence is made up for; blobs in object storage serve a shop."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

import pytest

from avalist.adapters.file.secrets import FolderSecrets
from avalist.adapters.kafka.topics import Topics
from avalist.adapters.memory.documents import MemoryDocuments
from avalist.app.lookup import Archive, Lookup
from avalist.app.stored import DECISIONS
from avalist.bootstrap import build, open_blobs, open_follower
from avalist.cli.documents import rebuild
from avalist.cluster import Cluster
from avalist.config import Settings
from avalist.domain.errors import BadInput, DataFolderLocked, NotFound, Unavailable
from avalist.models.artefact import Artefact
from avalist.ports.documents import Documents
from tests.absent import skip
from tests.services import mongodb as service
from tests.services.s3 import url_of
from tests.services.server import Server, Unobtainable
from tests.shop import FakeClock, Shop, opened

pytestmark = pytest.mark.sockets


def url_for(server: Server, folder: Path, timeout_ms: int = 20_000) -> str:
    name = blake2b(str(folder).encode(), digest_size=8).hexdigest()
    return f"mongodb://{server.address}/{name}?timeoutMS={timeout_ms}"


def follow(shop: Shop, documents: Documents) -> None:
    """Let a follower that just started catch up."""
    here = shop.installation
    here.log.sync()
    follower = open_follower(here.settings, here.log, documents, here.blobs)
    while follower.behind_bytes:
        follower.advance()


def decisions(documents: Documents) -> list[tuple[str, bytes]]:
    return list(documents.find("shop", DECISIONS))


@pytest.fixture
def own_mongodb(tmp_path: Path) -> Server:
    """Return a server of this test's, to be killed."""
    try:
        return service.start(tmp_path / "mongodb")
    except Unobtainable as error:
        skip("go", f"no MongoDB server: {error}")


def test_while_the_server_is_away_decisions_go_on_and_documents_catch_up(tmp_path: Path, own_mongodb: Server) -> None:
    settings = Settings(data=tmp_path / "data", documents=url_for(own_mongodb, tmp_path, 3000))
    with build(settings, clock=FakeClock()) as installation:
        shop, documents = Shop(installation, FakeClock()), installation.documents
        shop.create()
        shop.decide(1)
        follow(shop, documents)
        own_mongodb.kill()
        shop.decide(2)
        with pytest.raises(Unavailable, match="check that the server runs"):
            follow(shop, documents)
        archive: Archive = installation.service().archive
        assert archive.recent("shop", "p2", "pre_auth").decision.payment_id == "p2"
        own_mongodb.start()
        follow(shop, documents)
        expected = MemoryDocuments()
        follow(shop, expected)
        assert decisions(documents) == decisions(expected)
        wanted = Lookup(by="customer_id", value="ann")
        found = archive.find("shop", archive.key("shop", wanted), wanted)
        assert [one.decision.payment_id for one in found.decisions] == ["p2", "p1"]
    own_mongodb.kill()


def test_projections_are_made_again_in_another_store_and_primaries_stay(
    tmp_path: Path, mongodb: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path) as shop:
        shop.create()
        key = shop.key()
        for n in range(3):
            shop.decide(n)
        follow(shop, shop.installation.documents)
        before = decisions(shop.installation.documents)
        shop.installation.documents.clear("shop", DECISIONS)
        with pytest.raises(DataFolderLocked):
            rebuild(data=tmp_path)
    for store in ("sqlite:", url_for(mongodb, tmp_path)):
        monkeypatch.setenv("AVALIST_DOCUMENTS", store)
        rebuild(moved_from="sqlite:" if store != "sqlite:" else None, data=tmp_path)
        with build(Settings(data=tmp_path, documents=store)) as installation:
            assert decisions(installation.documents) == before
            assert bool(installation.administration.keys) is (store == "sqlite:")
    assert key.startswith("av_live_shop")


def test_a_shop_decides_by_a_model_from_object_storage(tmp_path: Path, s3: Server, artefact: Artefact) -> None:
    settings = Settings(data=tmp_path, blobs=url_of(s3, tmp_path.name))
    with build(settings, clock=FakeClock()) as installation:
        shop = Shop(installation, FakeClock())
        shop.create()
        shop.activate(artefact)
        follow(shop, installation.documents)
    with build(settings, clock=FakeClock()) as installation:
        shop = Shop(installation, FakeClock())
        assert shop.decide(1).decision.model_version == artefact.version
        assert list(installation.blobs.names("_", "snapshot/"))
    with (
        pytest.raises(NotFound),
        build(Settings(data=tmp_path, blobs=url_of(s3, "elsewhere")), clock=FakeClock()) as other,
    ):
        Shop(other, FakeClock()).decide(2)


def test_a_backend_that_is_none_is_told_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as refused:
        build(Settings(data=tmp_path, documents="mysql://root:hunter2@db/x"))
    assert "hunter2" not in f"{refused.value} {refused.value.got}"
    assert "mongodb:" in refused.value.expected


def test_a_partitions_snapshots_and_archive_lie_in_object_storage_beside_the_models(tmp_path: Path, s3: Server) -> None:
    settings = Settings(data=tmp_path, blobs=url_of(s3, tmp_path.name))
    blobs, secrets = open_blobs(settings), FolderSecrets(tmp_path)
    cluster = Cluster(settings, {}, Topics("a", 2, 1), MemoryDocuments(), blobs, secrets)
    blobs.put("shop", "snapshot/1", b"models")
    for n in range(2):
        cluster.blobs_of(n).put("shop", "snapshot/1", b"%d" % n)
    assert [cluster.blobs_of(n).get("shop", "snapshot/1") for n in range(2)] == [b"0", b"1"]
    assert (blobs.get("shop", "snapshot/1"), [*blobs.names("shop")]) == (b"models", ["snapshot/1"])
    assert not (tmp_path / "partitions").exists()

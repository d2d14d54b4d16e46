"""What a training process asks for while the service owns the data folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from avalist.app.administer import SetLearning
from avalist.app.followed import told
from avalist.bootstrap import open_documents
from avalist.cli.learn import by_service
from avalist.config import Settings
from avalist.domain.core import LearningSet
from tests.cluster.running import until
from tests.live import Service, avalist
from tests.shop import opened

pytestmark = pytest.mark.sockets


def test_the_service_logs_it_and_the_follower_follows(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with opened(folder) as shop:
        shop.create()
    service = Service(folder)
    try:
        settings = Settings(data=folder, port=service.port)
        assert by_service(settings, SetLearning("shop", LearningSet(every_d=3.0)))["merchant"] == "shop"
        ran = avalist("models", "list", "shop", "--data", folder)
        documents = open_documents(settings)
        assert until(lambda: told(documents) is not None), "the follower runs with the options of this version"
        documents.close()
    finally:
        service.kill()
    assert "every 3 days" in ran.stdout, ran.stderr

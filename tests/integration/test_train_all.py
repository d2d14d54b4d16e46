"""``avalist train --all``: each merchant in a process, one's trouble is not another's."""

from __future__ import annotations

from pathlib import Path

import pytest

from avalist.bootstrap import open_batch
from avalist.cli.models import train
from avalist.config import Settings
from avalist.domain.errors import BadInput
from tests.shop import opened


def test_merchants_that_cannot_be_trained_are_named_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with opened(tmp_path) as shop:
        for merchant in ("shop", "rival"):
            shop.create(merchant)
            shop.decide(1, merchant)
        shop.key(kind="sandbox")
    monkeypatch.setenv("AVALIST_BATCH", "processes:1")
    train(every=True, prior=False, data=tmp_path)
    said = capsys.readouterr().out
    assert "trained 0 of 2 merchants" in said
    assert said.index("rival: ") < said.index("shop: ")


@pytest.mark.parametrize(("merchant", "every"), [(None, False), ("shop", True)])
def test_one_merchant_or_all_are_trained(tmp_path: Path, merchant: str | None, every: bool) -> None:
    with pytest.raises(BadInput, match="name a merchant, or all"):
        train(merchant, every=every, data=tmp_path)


@pytest.mark.parametrize("batch", ["processes:", "processes:0", "processes:x", "threads:2"])
def test_a_place_for_batch_work_that_is_none_is_told(batch: str) -> None:
    with pytest.raises(BadInput, match=r"number of processes|no such backend"):
        open_batch(Settings(batch=batch))

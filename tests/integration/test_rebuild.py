"""``import --rebuild``: more history of a merchant that has some, as if it had been there all along."""

from __future__ import annotations

import csv
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avalist.app.dataset import Dataset, collect
from avalist.app.merchant import decode_control
from avalist.app.replay import Replayed, replay
from avalist.bootstrap import load_model
from avalist.cli.bring_in import bring_in
from avalist.cli.rebuild import Rebuilt, rebuild
from avalist.domain.core import GenerationStarted
from avalist.domain.records import RecordKind
from avalist.models.artefact import Artefact
from tests.histories import lived, parted, written
from tests.shop import SCHEMA, T0_MS, FakeClock, Shop, event, iso, opened, payment


def bring(data: Path, file: Path, merchant: str = "shop") -> None:
    with opened(data) as shop:
        if merchant not in shop.writer.merchants:
            shop.create(merchant)
        bring_in(shop.installation, merchant, file, None)


def merge(data: Path, file: Path, **options: Any) -> Rebuilt:
    with opened(data) as shop:
        return rebuild(shop.installation, "shop", file, None, **options)


def state(data: Path) -> tuple[str, Dataset]:
    with opened(data) as shop:
        return shop.writer.merchant("shop").features.digest(), collect(shop.installation.log.read(), "shop")


def replayed(shop: Shop) -> Replayed:
    return replay(shop.installation.log, partial(load_model, shop.installation.blobs))


def same(one: Dataset, other: Dataset) -> None:
    for name in ("x", "t_ms", "amount_minor", "changes"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)
    np.testing.assert_array_equal(one.background.keys, other.background.keys)
    np.testing.assert_array_equal(one.background.issuer, other.background.issuer)
    assert (one.cut_ms, one.background.payment_ids) == (other.cut_ms, other.background.payment_ids)
    assert one.background.outcomes == other.background.outcomes


@pytest.mark.parametrize("seed", range(6))
def test_history_merged_later_is_as_if_it_had_been_there_all_along(seed: int, tmp_path: Path) -> None:
    whole = lived(seed)
    first, second = parted(whole, seed)
    bring(tmp_path / "later", written(tmp_path / "a", first))
    shutil.copytree(tmp_path / "later" / "secrets", tmp_path / "once" / "secrets")
    bring(tmp_path / "once", written(tmp_path / "all", whole))
    done = merge(tmp_path / "later", written(tmp_path / "b", second))
    assert (done.merged.carried, done.merged.added, done.merged.refused) == (len(first), len(second), 0)
    (digest, data), (expected, wanted) = state(tmp_path / "later"), state(tmp_path / "once")
    assert digest == expected
    same(data, wanted)

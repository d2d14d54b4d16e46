"""Warming up: compile or load the kernels and touch the path once, so that no payment waits for it."""

from __future__ import annotations

from typing import Final

import numpy as np

from avalist.app.index import Generations, hash_id
from avalist.app.merchant import Merchant, creation
from avalist.domain.errors import Unavailable
from avalist.domain.schema import DIGITAL_GOODS
from avalist.features.own import OwnFeature
from avalist.models.score import Model

_WIDENED: Final = (OwnFeature(aggregate="ring", entity="card", links=("account", "card")),)
"""Some merchants' rows are widened before the kernel sees them."""


def warm_up(merchants: list[Merchant]) -> None:
    """Run a decision's compiled parts on a merchant that does not exist, and every active model once."""
    scratch = Merchant("warm-up", creation(DIGITAL_GOODS, _WIDENED), _no_model)
    row = np.frombuffer(
        bytes(8 * scratch.plan.width), dtype="<i8"
    )  # read-only, as decide() has it: another type to numba
    scratch.features.run(row.reshape(1, -1))
    index = Generations(1)
    ids = [hash_id(str(n)) for n in range(5000)]
    index.put(ids, range(5000), [0] * 5000)
    index.get(ids)
    for merchant in merchants:
        if merchant.model is not None:
            merchant.model.score(np.full((1, len(merchant.model.columns)), np.nan, dtype=np.float32))


def _no_model(merchant: str, version: str) -> Model:
    raise Unavailable(f"{merchant} has no model {version}")

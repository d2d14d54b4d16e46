"""Warming up: compile or load the kernels and touch the path once, so that no payment waits for it."""

from __future__ import annotations

from typing import Final

import numpy as np

from avalist.app.index import Generations, hash_ids
from avalist.app.merchant import Merchant, creation
from avalist.domain.core import EventCore
from avalist.domain.errors import Unavailable
from avalist.domain.schema import DIGITAL_GOODS
from avalist.features.own import OwnFeature
from avalist.features.state import SHORT
from avalist.models.score import Model

_WIDENED: Final = (OwnFeature(aggregate="ring", entity="card", links=("account", "card")),)
"""Some merchants' rows are widened before the kernel sees them."""


def warm_up(merchants: list[Merchant]) -> None:
    """Run a decision's compiled parts on a merchant that does not exist, and every active model once."""
    scratch = Merchant("warm-up", creation(DIGITAL_GOODS, _WIDENED), _no_model)
    row = bytes(8 * scratch.plan.width)
    # Read-only, as decide() has it: another type to numba.
    scratch.features.run(np.frombuffer(row, dtype="<i8").reshape(1, -1))
    many = SHORT + 1  # they go key by key
    scratch.features.run(np.frombuffer(many * row, dtype="<i8").reshape(many, -1), np.zeros(many, dtype=np.bool_))
    scratch.note([EventCore("payment", "e", b"", "p", "pre_auth", row)], [0])
    scratch.find(["e"], ["p"])
    index = Generations(1)  # that grows
    index.put(hash_ids(map(str, range(5000))), range(5000), [0] * 5000)
    for merchant in merchants:
        if merchant.model is not None:
            merchant.model.score(np.full((1, len(merchant.model.columns)), np.nan, dtype=np.float32))


def _no_model(merchant: str, version: str) -> Model:
    raise Unavailable(f"{merchant} has no model {version}")

"""Warming up: compile or load the kernels and touch the path once, so that no payment waits for it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable
from typing import Final

import numpy as np
import numpy.typing as npt

from avalist.app.index import Generations, hash_ids
from avalist.app.merchant import Merchant, creation, named_by
from avalist.domain.core import EventCore
from avalist.domain.errors import Unavailable
from avalist.domain.schema import DIGITAL_GOODS
from avalist.features.own import OwnFeature
from avalist.features.state import SHORT
from avalist.models.score import Model

_WIDENED: Final = (OwnFeature(aggregate="ring", entity="card", links=("account", "card")),)
"""Some merchants' rows are widened before the kernel sees them."""


def warm_up(merchants: Iterable[Merchant]) -> None:
    """Run all compiled parts on a merchant that does not exist, and every active model once."""
    warm_live()
    warm_long()
    for merchant in merchants:
        if merchant.model is not None:
            merchant.model.score(np.full((1, len(merchant.model.columns)), np.nan, dtype=np.float32))


def warm_live() -> None:
    """Run what a decision needs. In a fresh checkout this compiles for most of a minute."""
    scratch = _scratch()
    row = _rows(scratch, 1)
    scratch.features.run(row)
    core = EventCore("payment", "e", b"", "p", "pre_auth", row.tobytes())
    scratch.note([core], [0], named_by([core]))
    scratch.find(["e"], ["p"])
    index = Generations(1)  # that grows
    index.put(hash_ids(map(str, range(5000))), range(5000), [0] * 5000)


def warm_long() -> None:
    """Run what long runs of events need, which go key by key."""
    scratch = _scratch()
    scratch.features.run(_rows(scratch, SHORT + 1), np.zeros(SHORT + 1, dtype=np.bool_))


def beside(warm: Callable[[], None]) -> subprocess.Popen[bytes]:
    """Run one of these in a process of its own, while this one does other things: what it compiled is kept on disk."""
    return subprocess.Popen([sys.executable, "-P", "-c", f"from {__name__} import {warm.__name__} as w; w()"])


def _scratch() -> Merchant:
    return Merchant("warm-up", creation(DIGITAL_GOODS, _WIDENED), _no_model)


def _rows(merchant: Merchant, count: int) -> npt.NDArray[np.int64]:
    """Return events of nothing. Read-only, as decide() has them: another type to numba."""
    return np.frombuffer(bytes(8 * count * merchant.plan.width), dtype="<i8").reshape(count, -1)


def _no_model(merchant: str, version: str) -> Model:
    raise Unavailable(f"{merchant} has no model {version}")

"""States under a plan that is not in force yet: folded beside the decider, which takes them over at one event.

Like a snapshot, what is staged is a copy of a fold: what does not check out is passed over, and the log folded instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from avalist.app.backfill import Folding, proof_without_seal
from avalist.app.merchant import Merchant
from avalist.app.parts import UNSOUND, arrays_of, ends_of, get_arrays, put_arrays, restore, sealed, unsealed
from avalist.app.snapshot import CODE
from avalist.features.plan import Plan
from avalist.ports.blobs import Blobs
from avalist.ports.log import Log

_PREFIX: Final = "staged/"


class _Head(msgspec.Struct, frozen=True):
    """A staged state without its arrays, as in a snapshot."""

    code: str
    position: int
    seq: int
    last: tuple[int, bytes]
    arrays: tuple[tuple[int, int], ...]
    parts: tuple[bytes, ...]


class Stages:
    """Keeps the staged states of one log's merchants, by their plans."""

    def __init__(self, blobs: Blobs, log: Log) -> None:
        self._blobs, self._log = blobs, log

    def save(self, folding: Folding) -> None:
        """Stage a state, in place of what else was staged of its merchant. It counts once its head is there."""
        self._clear(folding.merchant)
        prefix = f"{_PREFIX}{folding.plan.hash}/"
        state = folding.state
        kept = put_arrays(self._blobs, folding.merchant, prefix, arrays_of(state), ends_of(state))
        head = _Head(CODE, folding.position, folding.seq, folding.last, kept.lengths, kept.hashes)
        self._blobs.put(folding.merchant, f"{prefix}head", sealed(msgspec.msgpack.encode(head)))

    def load(self, merchant: Merchant, plan: Plan) -> Folding | None:
        """Return what was staged of a merchant under a plan, if it checks out and knows nothing that is yet to come."""
        try:
            return self._load(merchant, plan)
        except UNSOUND:
            return None

    def _load(self, merchant: Merchant, plan: Plan) -> Folding | None:
        prefix = f"{_PREFIX}{plan.hash}/"
        head = msgspec.msgpack.decode(unsealed(self._blobs.get(merchant.id, f"{prefix}head")), type=_Head)
        at, proof = head.last
        if head.code != CODE or head.seq > merchant.seq or proof_without_seal(self._log.get(at)) != proof:
            return None
        folding = Folding(merchant.id, merchant.schema, plan)
        restore(folding.state, get_arrays(self._blobs, merchant.id, prefix, head.arrays, head.parts))
        folding.position, folding.seq, folding.last = head.position, head.seq, head.last
        return folding

    def forget(self, merchants: Mapping[str, Merchant]) -> None:
        """Delete what merchants have taken over: a snapshot holds it now."""
        for id, merchant in merchants.items():
            for hash in merchant.plans if merchant.added else ():
                self._clear(id, hash)

    def _clear(self, merchant: str, hash: str = "") -> None:
        for name in list(self._blobs.names(merchant, f"{_PREFIX}{hash}")):
            self._blobs.delete(merchant, name)

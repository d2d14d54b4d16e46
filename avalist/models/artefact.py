"""A model as one buffer: a self-describing header, then raw little-endian arrays. No pickle, nothing to parse.

::

    8 bytes   magic, with the format's number
    32 bytes  SHA-256 of all that follows
    8 bytes   length of the header
    …         header (msgpack), zero padding to 64 bytes
    …         arrays, each padded to 64 bytes
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from avalist import ENGINE
from avalist.domain.errors import ArtefactInvalid
from avalist.models.calibrate import Calibration
from avalist.models.delay import ReportDelay
from avalist.models.judge import Level
from avalist.models.metrics import Report
from avalist.models.trees import F32, F64, NODE, Trees

MAGIC: Final = b"AVALMDL\x01"
_ALIGN: Final = 64
_HASH: Final = slice(8, 40)
_LENGTH: Final = slice(40, 48)
_HEADER_AT: Final = 48
_F8: Final = np.dtype("<f8")
_ARRAYS: Final[dict[str, np.dtype[Any]]] = {
    "nodes": NODE,
    "roots": np.dtype("<u4"),
    "knots": _F8,
    "log_odds": _F8,
    "percentiles": _F8,
}
_VERSION_DIGITS: Final = 12


class DataRange(msgspec.Struct, frozen=True):
    """What the trees and the calibration were fitted on: first and last `t_ms`, rows, frauds."""

    first_ms: int
    last_ms: int
    rows: int
    frauds: int


class _Header(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    engine: int
    plan_hash: str
    schema: bytes
    columns: tuple[str, ...]
    base: float
    slope: float
    data: DataRange
    report: Report | None
    params: bytes
    lengths: dict[str, int]
    delay: ReportDelay | None = None  # absent, and so are its bytes, in artefacts of before
    by_age: tuple[Level, ...] = ()


@dataclass(frozen=True, eq=False)
class Artefact:
    """A trained model and where it comes from.

    Attributes
    ----------
    plan_hash, columns
        Of the feature plan whose rows it scores.
    percentiles
        float64 [99]: margins at the 1st to 99th percentile of the calibration payments.
    data
        Range and size of the rows it learnt from.
    report
        Its metrics on the last slice, None if none was held out.
    schema, params
        JSON of the merchant's schema and of the training's parameters.
    engine
        ENGINE of the code that trained it.
    delay
        How long reports take, as estimated for its training; None in artefacts of before.
    by_age
        Frauds reported against expected by the age of payments in days, over what it learnt from.
    """

    trees: Trees
    calibration: Calibration
    percentiles: F64
    plan_hash: str
    columns: tuple[str, ...]
    data: DataRange
    report: Report | None = None
    schema: bytes = b"{}"
    params: bytes = b"{}"
    engine: int = ENGINE
    delay: ReportDelay | None = None
    by_age: tuple[Level, ...] = ()

    @property
    def off(self) -> tuple[Level, ...]:
        """Return the ages at which the level is off: the delay law is wrong, or fraud itself has changed."""
        return tuple(level for level in self.by_age if level.off)

    @property
    def version(self) -> str:
        """Return the first 12 hex digits of the content's SHA-256."""
        return version_of(self.to_bytes())

    def known_of(self, x: F32) -> F32:
        """Return the columns of float32 [n, columns] that it was trained on: features added later stand behind them."""
        return np.ascontiguousarray(x[:, : len(self.columns)])

    def to_bytes(self) -> bytes:
        """Return the buffer; equal models give equal bytes."""
        arrays = {
            "nodes": self.trees.nodes,
            "roots": self.trees.roots,
            "knots": self.calibration.knots,
            "log_odds": self.calibration.log_odds,
            "percentiles": self.percentiles,
        }
        header = _Header(
            engine=self.engine,
            plan_hash=self.plan_hash,
            schema=self.schema,
            columns=self.columns,
            base=self.trees.base,
            slope=self.calibration.slope,
            data=self.data,
            report=self.report,
            params=self.params,
            lengths={name: len(array) for name, array in arrays.items()},
            delay=self.delay,
            by_age=self.by_age,
        )
        encoded = msgspec.msgpack.encode(header)
        parts = [_padded(array.astype(_ARRAYS[name], copy=False).tobytes()) for name, array in arrays.items()]
        body = _padded(bytes(_HEADER_AT) + encoded)[_LENGTH.stop :] + b"".join(parts)
        hashed = len(encoded).to_bytes(8, "little") + body
        return MAGIC + hashlib.sha256(hashed).digest() + hashed

    @classmethod
    def from_bytes(cls, data: bytes, plan_hash: str | None = None) -> Artefact:
        """Return the artefact whose arrays are read-only views of `data`.

        Raises
        ------
        ArtefactInvalid
            If it is damaged, of another format, or made for another plan than `plan_hash` (if given).
        """
        if data[:8] != MAGIC:
            raise ArtefactInvalid(f"not a model of this format (it starts with {data[:8]!r}): train again")
        if hashlib.sha256(memoryview(data)[_LENGTH.start :]).digest() != data[_HASH]:
            raise ArtefactInvalid("the model's content does not match its hash: fetch it again or train again")
        header_end = _HEADER_AT + int.from_bytes(data[_LENGTH], "little")
        try:
            header = msgspec.msgpack.decode(memoryview(data)[_HEADER_AT:header_end], type=_Header)
            arrays = _views(data, header.lengths, header_end)
        except (msgspec.DecodeError, KeyError, ValueError) as error:
            raise ArtefactInvalid(f"the model cannot be read ({error}): train again") from None
        if plan_hash is not None and header.plan_hash != plan_hash:
            raise ArtefactInvalid(f"trained on plan {header.plan_hash}, this is plan {plan_hash}: train again")
        return cls(
            Trees(arrays["nodes"], arrays["roots"], header.base, len(header.columns)),
            Calibration(arrays["knots"], arrays["log_odds"], header.slope),
            arrays["percentiles"],
            header.plan_hash,
            header.columns,
            header.data,
            header.report,
            header.schema,
            header.params,
            header.engine,
            header.delay,
            header.by_age,
        )


def version_of(data: bytes) -> str:
    """Return an artefact's version without decoding it.

    >>> version_of(MAGIC + bytes(32))
    '000000000000'
    """
    return data[_HASH].hex()[:_VERSION_DIGITS]


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _ALIGN)


def _views(data: bytes, lengths: dict[str, int], at: int) -> dict[str, npt.NDArray[Any]]:
    arrays = {}
    for name, dtype in _ARRAYS.items():
        at += -at % _ALIGN
        arrays[name] = np.frombuffer(data, dtype=dtype, count=lengths[name], offset=at)
        at += arrays[name].nbytes
    return arrays

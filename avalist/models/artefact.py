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
from typing import Any, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from avalist import ENGINE
from avalist.domain.errors import ArtefactInvalid
from avalist.models.calibrate import Calibration
from avalist.models.delay import ReportDelay
from avalist.models.judge import Level
from avalist.models.metrics import Report
from avalist.models.trees import F32, F64, I64, NODE, Trees

MODEL_BLOB: Final = "model-{version}"
"""The name of an artefact among a merchant's blobs."""
PRIOR_COLUMN: Final = "prior"
"""The column after the plan's, where a model has one: the prior's margin."""
MAGIC: Final = b"AVALMDL\x01"
_ALIGN: Final = 64
_HASH: Final = slice(8, 40)
_LENGTH: Final = slice(40, 48)
_HEADER_AT: Final = 48
_F8: Final = np.dtype("<f8")
_F4: Final = np.dtype("<f4")
_ARRAYS: Final[dict[str, np.dtype[Any]]] = {
    "nodes": NODE,
    "roots": np.dtype("<u4"),
    "knots": _F8,
    "log_odds": _F8,
    "percentiles": _F8,
    "cover": _F4,
    "typical": _F4,
    "prior_nodes": NODE,
    "prior_roots": np.dtype("<u4"),
}
_ALWAYS: Final = frozenset(("nodes", "roots", "knots", "log_odds", "percentiles"))
_VERSION_DIGITS: Final = 12
_GOLDEN: Final = (5.0**0.5 - 1.0) / 2.0


class Held(msgspec.Struct, frozen=True):
    """Which times grew no tree: blocks of `block_ms` from `from_ms` on, a `share` of them.

    They are spread evenly, whatever the weekday, by the golden ratio (Kronecker's sequence). They depend on the
    calendar alone, so models of other days hold the same ones.
    """

    from_ms: int
    block_ms: int
    share: float

    def __call__(self, t_ms: I64) -> npt.NDArray[np.bool_]:
        """Tell which of these times it holds."""
        return np.asarray((t_ms >= self.from_ms) & ((t_ms // self.block_ms * _GOLDEN) % 1.0 < self.share))


class DataRange(msgspec.Struct, frozen=True):
    """What the trees and the calibration were fitted on: first and last `t_ms`, rows, frauds."""

    first_ms: int
    last_ms: int
    rows: int
    frauds: int


class FromPrior(msgspec.Struct, frozen=True, kw_only=True):
    """What a model has of a network prior: its `version`, and in words what that was trained on.

    `theta` is what its odds are multiplied by: (κ + `observed`)/(κ + `expected`), of the merchant's frauds reported so
    far and those that the prior expected to be (models.prior).
    """

    version: str
    trained_on: str
    theta: float = 1.0
    observed: float = 0.0
    expected: float = 0.0


Trained = Literal["own", "prior", "brought"]
"""Who trained the trees: the merchant's history, the network's prior, or somebody else altogether."""


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
    held: Held | None = None
    trained: Trained = "own"
    prior: FromPrior | None = None
    prior_base: float = 0.0


@dataclass(frozen=True, eq=False)
class Artefact:
    """A trained model and where it comes from.

    Attributes
    ----------
    plan_hash, columns
        Of the feature plan whose rows it scores.
    percentiles
        float64 [99]: margins at the 1st to 99th percentile of recent payments, or of those that calibrated it.
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
    held
        Which of the times it learnt from calibrated it and grew no tree; None in artefacts of before.
    typical
        float32 [columns]: each column's median among honest payments, NaN where mostly unknown; None in artefacts of
        before.
    trained
        Who trained `trees`.
    prior
        What it has of a network prior; None if nothing.
    prior_trees
        The prior's trees, whose margin is one more column for `trees`; None if they ask for none.
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
    held: Held | None = None
    typical: F32 | None = None
    trained: Trained = "own"
    prior: FromPrior | None = None
    prior_trees: Trees | None = None

    def rows(self, x: F32) -> F32:
        """Return a plan's rows, float32 [n, columns], as `trees` take them: with the prior's margin, if they ask.

        Features that were added to the plan later stand behind those that it was trained on, and are left out.
        """
        known = x if x.shape[1] == len(self.columns) else np.ascontiguousarray(x[:, : len(self.columns)])
        return known if self.prior_trees is None else with_prior(known, self.prior_trees)

    def uses(self, column: int) -> bool:
        """Tell whether any of its trees asks for a column."""
        return self.trees.uses(column) or (self.prior_trees is not None and self.prior_trees.uses(column))

    def p_fraud(self, x: F32) -> F64:
        """Return the calibrated probability of each of a plan's rows, float32 [n, columns]."""
        return self.calibration.apply(self.trees.score_many(self.rows(x)))

    @property
    def off(self) -> tuple[Level, ...]:
        """Return the ages at which the level is off: the delay law is wrong, or fraud itself has changed."""
        return tuple(level for level in self.by_age if level.off)

    @property
    def version(self) -> str:
        """Return the first 12 hex digits of the content's SHA-256."""
        return version_of(self.to_bytes())

    def to_bytes(self) -> bytes:
        """Return the buffer; equal models give equal bytes."""
        prior = self.prior_trees
        arrays: dict[str, npt.NDArray[Any] | None] = {
            "nodes": self.trees.nodes,
            "roots": self.trees.roots,
            "knots": self.calibration.knots,
            "log_odds": self.calibration.log_odds,
            "percentiles": self.percentiles,
            "cover": self.trees.cover,
            "typical": self.typical,
            "prior_nodes": None if prior is None else prior.nodes,
            "prior_roots": None if prior is None else prior.roots,
        }
        given = {name: array for name, array in arrays.items() if array is not None}
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
            lengths={name: len(array) for name, array in given.items()},
            delay=self.delay,
            by_age=self.by_age,
            held=self.held,
            trained=self.trained,
            prior=self.prior,
            prior_base=0.0 if prior is None else prior.base,
        )
        encoded = msgspec.msgpack.encode(header)
        parts = [_padded(array.astype(_ARRAYS[name], copy=False).tobytes()) for name, array in given.items()]
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
        width, prior_trees = len(header.columns), None
        if "prior_roots" in arrays:
            prior_trees = Trees(arrays["prior_nodes"], arrays["prior_roots"], header.prior_base, width)
            width += 1
        return cls(
            Trees(arrays["nodes"], arrays["roots"], header.base, width, arrays.get("cover")),
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
            header.held,
            arrays.get("typical"),
            header.trained,
            header.prior,
            prior_trees,
        )


def with_prior(x: F32, prior: Trees) -> F32:
    """Return rows with a prior's margin as one more column, float32 [n, columns + 1]."""
    return np.column_stack((x, prior.score_many(x).astype(np.float32)))


def version_of(data: bytes) -> str:
    """Return an artefact's version without decoding it.

    >>> version_of(MAGIC + bytes(32))
    '000000000000'
    """
    return data[_HASH].hex()[:_VERSION_DIGITS]


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _ALIGN)


def _views(data: bytes, lengths: dict[str, int], at: int) -> dict[str, npt.NDArray[Any]]:
    if not lengths.keys() >= _ALWAYS or ("prior_nodes" in lengths) != ("prior_roots" in lengths):
        raise ValueError(f"it has no more than {', '.join(lengths)}")
    arrays = {}
    for name, dtype in _ARRAYS.items():
        if name not in lengths:
            continue
        at += -at % _ALIGN
        arrays[name] = np.frombuffer(data, dtype=dtype, count=lengths[name], offset=at)
        at += arrays[name].nbytes
    return arrays

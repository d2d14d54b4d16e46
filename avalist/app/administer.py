"""Operators' requests. The CLI runs it in place when it owns the data folder, else the service runs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import msgspec

from avalist.app.writer import Writer
from avalist.domain.core import ModelActivated, ModelStaged, ModeSet, PolicySet
from avalist.domain.decisions import Mode
from avalist.domain.errors import BadInput
from avalist.domain.events import UNDECODABLE, bad_body
from avalist.domain.keys import ApiKey, KeyKind, key_hash, key_text
from avalist.domain.schema import Schema
from avalist.ports.documents import Documents

MerchantId = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
KEYS = "keys"


class _Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="do"):
    merchant: MerchantId


class CreateMerchant(_Request, frozen=True, tag="create_merchant"):
    """Create a merchant with a declared schema."""

    schema: Schema


class IssueKey(_Request, frozen=True, tag="issue_key"):
    """Issue an API key; its text is shown once."""

    kind: KeyKind = "live"


class SetMode(_Request, frozen=True, tag="set_mode"):
    """Set off, observe or live."""

    mode: Mode


class SetPolicy(_Request, frozen=True, tag="set_policy"):
    """Replace the policy."""

    policy: msgspec.Raw


class ActivateModel(_Request, frozen=True, tag="activate_model"):
    """Stage and activate a model whose artefact stands in the blobs."""

    version: str
    plan_hash: str


class Show(_Request, frozen=True, tag="show"):
    """Say how a merchant stands."""


AdminRequest = CreateMerchant | IssueKey | SetMode | SetPolicy | ActivateModel | Show
_REQUEST: msgspec.json.Decoder[AdminRequest] = msgspec.json.Decoder(AdminRequest)


class Administration:
    """Carries out operators' requests. `new_secret` draws the random part of a key."""

    def __init__(self, writer: Writer, documents: Documents, new_secret: Callable[[], str]) -> None:
        self._writer = writer
        self._documents = documents
        self._new_secret = new_secret
        self.keys: dict[str, ApiKey] = {}
        for merchant in writer.merchants:
            for _, body in documents.find(merchant, KEYS, limit=10_000):
                key = msgspec.json.decode(body, type=ApiKey)
                self.keys[key.hash] = key

    def prepare(self, request: AdminRequest) -> None:
        """Do what takes long before a request is carried out; not on the deciding thread. Raises as the model store."""
        if isinstance(request, ActivateModel):
            self._writer.load_model(request.merchant, request.version)

    def carry_out(self, request: AdminRequest, at_ms: int) -> dict[str, object]:
        """Carry out one request. What it logs is durable after the next sync. Raises as the writer does."""
        merchant = request.merchant
        match request:
            case CreateMerchant(schema=schema):
                _check_id(merchant)
                self._writer.create(merchant, schema, at_ms)
            case IssueKey(kind=kind):
                return {"merchant": merchant, "key": self._issue(merchant, kind, at_ms)}
            case SetMode(mode=mode):
                self._writer.control(merchant, ModeSet(mode), at_ms)
            case SetPolicy(policy=policy):
                self._writer.control(merchant, PolicySet(bytes(policy)), at_ms)
            case ActivateModel(version=version, plan_hash=plan_hash):
                self._writer.control(merchant, ModelStaged(version, plan_hash), at_ms)
                self._writer.control(merchant, ModelActivated(version), at_ms)
            case Show():
                pass
        return self._show(merchant)

    def _issue(self, merchant: str, kind: KeyKind, at_ms: int) -> str:
        self._writer.merchant(merchant)
        text = key_text(merchant, kind, self._new_secret())
        key = ApiKey(merchant, kind, key_hash(text), at_ms)
        self._documents.put_many([(merchant, KEYS, key.hash, msgspec.json.encode(key))])
        self.keys[key.hash] = key
        return text

    def _show(self, id: str) -> dict[str, object]:
        merchant = self._writer.merchant(id)
        model, policy = merchant.versions
        return {
            "merchant": id,
            "mode": merchant.mode,
            "inputs": merchant.seq,
            "entities": merchant.features.live_keys,
            "features": len(merchant.plan.columns),
            "plan": merchant.plan.hash,
            "model": model,
            "policy": policy,
        }


def _check_id(merchant: str) -> None:
    """Raise ``BadInput`` for a name that could not stand in a path: the command line makes requests unchecked."""
    try:
        msgspec.convert(merchant, MerchantId)
    except msgspec.ValidationError:
        expected = "small letters, digits and dashes, to 63"
        raise BadInput("not a merchant's id", field="$.merchant", expected=expected, got=merchant[:64]) from None


def decode_request(body: bytes) -> AdminRequest:
    """Decode an operator's request from JSON. Raises ``BadInput``."""
    try:
        return _REQUEST.decode(body)
    except UNDECODABLE as error:
        raise bad_body(error) from None

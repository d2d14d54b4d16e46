"""Operators' requests. The CLI runs it in place when it owns the data folder, else the service runs it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import msgspec

from avalist.app.network import network_prior
from avalist.app.prior import first_model
from avalist.app.webhook_office import WebhookOffice
from avalist.app.webhooks import Webhooks
from avalist.app.writer import Writer
from avalist.domain.alerts import Alert
from avalist.domain.core import (
    AlertsSet,
    By,
    Cause,
    Evidence,
    LearningSet,
    ModelActivated,
    ModelRefused,
    ModelStaged,
    ModeSet,
    PolicySet,
    PriorConsent,
    Solved,
)
from avalist.domain.decisions import Mode
from avalist.domain.errors import BadInput, Conflict, NotFound
from avalist.domain.events import UNDECODABLE, Id, ReviewResult, ShortText, Verdict, bad_body, from_ms
from avalist.domain.facts import NO_TABLES
from avalist.domain.keys import (
    ALL_SCOPES,
    ApiKey,
    KeyKind,
    KeyScope,
    is_twin,
    key_hash,
    key_prefix,
    key_text,
    owner_of,
    twin,
)
from avalist.domain.schema import Schema
from avalist.features.own import OwnFeature
from avalist.models.artefact import MODEL_BLOB, Artefact
from avalist.ports.blobs import Blobs
from avalist.ports.documents import Documents

_ID = "[a-z0-9][a-z0-9-]{0,62}"
MerchantId = Annotated[str, msgspec.Meta(pattern=f"^{_ID}$")]
MerchantOrTwin = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,62}(~[0-9]{1,6})?$")]
KeyId = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{12}$")]
Rate = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
KEYS, KEY_USE = "keys", "key_use"
_MOST_KEYS = 10_000
DAY_S = 86_400
_YEAR_S = 366 * DAY_S


class _Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="do"):
    merchant: MerchantOrTwin


class CreateMerchant(_Request, frozen=True, tag="create_merchant"):
    """Create a merchant with a declared schema, and with features of its own beside those that the schema gives.

    With `prior` it decides by the shipped network prior from its first payment on, where the schema has enough in
    common with it; else nothing is scored before a model is trained.
    """

    schema: Schema
    features: tuple[OwnFeature, ...] = ()
    prior: bool = True


class IssueKey(_Request, frozen=True, tag="issue_key"):
    """Issue an API key; its text is shown once. A sandbox key gets a twin of the merchant to itself.

    `scopes` narrow what its kind may do; `rate_per_s` replaces the settings' limit; `lifetime_s` ends it.
    """

    kind: KeyKind = "live"
    scopes: tuple[KeyScope, ...] = ()
    rate_per_s: Rate | None = None
    lifetime_s: Annotated[int, msgspec.Meta(ge=1, le=10 * _YEAR_S)] | None = None


class ListKeys(_Request, frozen=True, tag="list_keys"):
    """List a merchant's keys: what may be shown of them, and their last use. Never their text."""


class RotateKey(_Request, frozen=True, tag="rotate_key"):
    """Issue a successor of a key, the same in all but its text; the old one ends after `overlap_s` seconds."""

    key: KeyId
    overlap_s: Annotated[int, msgspec.Meta(ge=0, le=_YEAR_S)] = DAY_S


class RevokeKey(_Request, frozen=True, tag="revoke_key"):
    """End a key now."""

    key: KeyId


class AddFeatures(_Request, frozen=True, tag="add_features"):
    """Add features for decisions from now on. 'avalist features add' folds their past first, beside the service; asked
    for without that, they are refused.
    """

    features: Annotated[tuple[OwnFeature, ...], msgspec.Meta(min_length=1)]


class SetMode(_Request, frozen=True, tag="set_mode"):
    """Set off, observe or live."""

    mode: Mode


class SetPolicy(_Request, frozen=True, tag="set_policy"):
    """Replace the policy."""

    policy: msgspec.Raw


class SetSolved(_Request, frozen=True, tag="set_solved"):
    """Decide by these prices of the policy's budgets; they were solved for one version of it."""

    solved: Solved


class StageModel(_Request, frozen=True, tag="stage_model"):
    """Stage a model whose artefact stands in the blobs, with what its training was for and the gate's evidence."""

    version: str
    plan_hash: str
    cause: Cause = "operator"
    evidence: Evidence | None = None


class RefuseModel(StageModel, frozen=True, tag="refuse_model"):
    """Log that a model is not let in, and why."""


class ActivateModel(StageModel, frozen=True, tag="activate_model"):
    """Stage and activate a model whose artefact stands in the blobs; a rollback activates without staging."""

    by: By = "operator"


class SetLearning(_Request, frozen=True, tag="set_learning"):
    """Say how the merchant's models follow each other."""

    learning: LearningSet


class SettleReview(_Request, frozen=True, tag="settle_review"):
    """Say what a person did with a payment that was to be reviewed; logged as an event, once."""

    payment: Id
    verdict: Verdict
    by: ShortText = ""


class SetPriorConsent(_Request, frozen=True, tag="set_prior_consent"):
    """Say whether the merchant's payments may teach a network prior that other merchants begin with."""

    given: bool


class SetAlerts(_Request, frozen=True, tag="set_alerts"):
    """Log what a health check found wrong, all of it; nothing is decided by it."""

    alerts: tuple[Alert, ...]
    checked_ms: int


class Show(_Request, frozen=True, tag="show"):
    """Say how a merchant stands."""


AdminRequest = (
    CreateMerchant
    | IssueKey
    | ListKeys
    | RotateKey
    | RevokeKey
    | AddFeatures
    | SetMode
    | SetPolicy
    | SetSolved
    | StageModel
    | RefuseModel
    | ActivateModel
    | SettleReview
    | SetLearning
    | SetPriorConsent
    | SetAlerts
    | Show
)
_REQUEST: msgspec.json.Decoder[AdminRequest] = msgspec.json.Decoder(AdminRequest)


R = TypeVar("R")


class MerchantShown(msgspec.Struct, frozen=True, kw_only=True):
    """How a merchant stands: its mode, what it knows, and the versions it decides by."""

    merchant: str
    mode: Mode
    inputs: int
    entities: int
    features: int
    plan: str
    model: str
    policy: str


class KeyIssued(msgspec.Struct, frozen=True, kw_only=True):
    """A key that was issued. `key` is its text, shown once; `id` is what operators call it by."""

    merchant: str
    key: str
    id: str


class KeyShown(msgspec.Struct, frozen=True, kw_only=True):
    """What may be shown of a key. `merchant` is the twin's id for a sandbox key; times are ms since 1970.

    `last_used_at_ms` is kept by the minute; None where the key was never used.
    """

    id: str
    prefix: str
    merchant: str
    kind: KeyKind
    scopes: tuple[KeyScope, ...]
    issued_at_ms: int
    expires_at_ms: int | None
    last_used_at_ms: int | None
    rate_per_s: int | None


class KeysShown(msgspec.Struct, frozen=True, kw_only=True):
    """A merchant's keys, the newest first."""

    merchant: str
    keys: tuple[KeyShown, ...]


AdminAnswer = MerchantShown | KeyIssued | KeysShown


class SetTables(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Put reference tables that stand in the blobs in force, for every merchant; 1 is none."""

    version: Annotated[int, msgspec.Meta(ge=NO_TABLES, le=2**33)]


class TablesInForce(msgspec.Struct, frozen=True, kw_only=True):
    """The reference tables that are in force, and for how many merchants, sandbox twins too, that was news."""

    tables_version: int
    changed: int


_TABLES = msgspec.json.Decoder(SetTables)


class Administration:
    """Carries out operators' requests. `new_secret` draws the random part of a key.

    `keys` holds every key by its hash, and `used` when each was last used (ms): what authenticates writes there, and
    :meth:`save_use` makes it last. Requests about `webhooks` are carried out by an office of their own.
    """

    def __init__(
        self, writer: Writer, documents: Documents, blobs: Blobs, new_secret: Callable[[], str], webhooks: Webhooks
    ) -> None:
        self._writer = writer
        self._documents = documents
        self._blobs = blobs
        self._new_secret = new_secret
        self.webhooks = WebhookOffice(writer.merchant, webhooks)
        self.keys: dict[str, ApiKey] = {}
        self.used: dict[str, int] = {}
        self._saved: dict[str, int] = {}
        for merchant in writer.merchants:
            for _, body in documents.find(merchant, KEYS, limit=_MOST_KEYS):
                key = msgspec.json.decode(body, type=ApiKey)
                if key.kind != "sandbox" or is_twin(merchant):  # none of the days before twins may reach a live log
                    self.keys[key.hash] = key
            for hash, body in documents.find(merchant, KEY_USE, limit=_MOST_KEYS):
                self.used[hash] = self._saved[hash] = msgspec.json.decode(body, type=int)

    def prepare(self, request: AdminRequest | SetTables) -> None:
        """Do what takes long before a request is carried out; not on the deciding thread. Raises as the model store."""
        if isinstance(request, ActivateModel):
            self._writer.load_model(request.merchant, request.version)
        elif isinstance(request, CreateMerchant):
            self._first_model(request)
        elif isinstance(request, AddFeatures):
            self._writer.begin_features(request.merchant, request.features)
        elif isinstance(request, SetTables):
            self._writer.load_tables(request.version)

    def carry_out(self, request: AdminRequest, at_ms: int) -> dict[str, Any]:
        """Carry out one request and return an ``AdminAnswer`` as a dict. Raises as the writer does.

        What it logs is durable after the next sync.
        """
        answer: dict[str, Any] = msgspec.to_builtins(self._answer(request, at_ms))
        return answer

    def set_tables(self, request: SetTables, at_ms: int) -> TablesInForce:
        """Put reference tables in force for every merchant. Raises ``NotFound``.

        What it logs is durable after the next sync.
        """
        tables = self._writer.load_tables(request.version)
        if tables is None and request.version != NO_TABLES:
            raise NotFound(f"no sound tables {request.version} are stored: run 'avalist intel update'")
        packages = {one.name: one.version for one in tables.packages} if tables else {}
        changed = self._writer.set_tables(request.version, packages, at_ms)
        return TablesInForce(tables_version=request.version, changed=changed)

    def _answer(self, request: AdminRequest, at_ms: int) -> AdminAnswer:
        merchant = request.merchant
        match request:
            case CreateMerchant(schema=schema, features=own):
                first = self._first_model(request)
                self._writer.create(merchant, schema, at_ms, own)
                if first is not None:
                    self._activate(ActivateModel(merchant, first.version, first.plan_hash, by="prior"), at_ms)
            case IssueKey():
                return self._issue(request, at_ms)
            case ListKeys():
                return self._list(merchant)
            case RotateKey(key=id, overlap_s=overlap_s):
                return self._rotate(merchant, id, at_ms, at_ms + overlap_s * 1000)
            case RevokeKey(key=id):
                self._end(self._key(merchant, id), at_ms)
                return self._list(merchant)
            case AddFeatures(features=own):
                self._writer.add_features(merchant, own, at_ms)
            case SetMode(mode=mode):
                self._writer.control(merchant, ModeSet(mode), at_ms)
            case SetPolicy(policy=policy):
                self._writer.control(merchant, PolicySet(bytes(policy)), at_ms)
            case SetSolved(solved=solved):
                self._writer.control(merchant, solved, at_ms)
            case ActivateModel():
                self._activate(request, at_ms)
            case RefuseModel(version=version, plan_hash=plan, cause=cause, evidence=evidence):
                self._writer.control(merchant, ModelRefused(version, plan, cause, evidence), at_ms)
            case StageModel(version=version, plan_hash=plan, cause=cause, evidence=evidence):
                self._writer.control(merchant, ModelStaged(version, plan, cause, evidence), at_ms)
            case SetLearning(learning=learning):
                self._writer.control(merchant, learning, at_ms)
            case SetPriorConsent(given=given):
                self._writer.control(merchant, PriorConsent(given), at_ms)
            case SettleReview(payment=payment, verdict=verdict, by=by):
                self._settle(merchant, payment, verdict, by, at_ms)
            case SetAlerts(alerts=alerts, checked_ms=checked_ms):
                self._writer.control(merchant, AlertsSet(alerts, checked_ms), at_ms)
            case Show():
                pass
        return self._show(merchant)

    def _settle(self, merchant: str, payment: str, verdict: Verdict, by: str, at_ms: int) -> None:
        id = "review/" + hashlib.blake2b(payment.encode(), digest_size=16).hexdigest()
        if self._writer.knows(merchant, id):
            raise Conflict(
                f"the review of payment {payment[:64]!r} is settled already: 'avalist reviews list' shows it"
            )
        at = from_ms(at_ms)
        event = ReviewResult(event_id=id, occurred_at=at, payment_id=payment, verdict=verdict, by=by)
        self._writer.record(merchant, event, at_ms)

    def _activate(self, request: ActivateModel, at_ms: int) -> None:
        merchant, version, evidence = request.merchant, request.version, request.evidence
        if request.by != "rollback":
            self._writer.control(merchant, ModelStaged(version, request.plan_hash, request.cause, evidence), at_ms)
        self._writer.control(merchant, ModelActivated(version, request.by, evidence), at_ms)

    def _first_model(self, request: CreateMerchant) -> Artefact | None:
        """Return the prior that a new merchant begins with, stored and loaded; None if it is to have none.

        Raises ``BadInput`` where the request makes no sense.
        """
        merchant = request.merchant
        _check_id(merchant)
        if not request.prior or merchant in self._writer.merchants:
            return None
        first = first_model(request.schema, request.features, network_prior(self._blobs))
        if first is not None:
            name = MODEL_BLOB.format(version=first.version)
            if not any(self._blobs.names(merchant, name)):
                self._blobs.put(merchant, name, first.to_bytes())
            self._writer.load_model(merchant, first.version)
        return first

    # --- keys --------------------------------------------------------------------------------------------------------

    def _issue(self, request: IssueKey, at_ms: int) -> KeyIssued:
        self._writer.merchant(request.merchant)
        if is_twin(request.merchant):
            raise Conflict("a twin has the one key it was made with: issue another sandbox key to its owner")
        owner = request.merchant
        merchant = self._new_twin(owner, at_ms) if request.kind == "sandbox" else owner
        scopes = tuple(scope for scope in ALL_SCOPES if scope in request.scopes)
        ends = None if request.lifetime_s is None else at_ms + request.lifetime_s * 1000
        blank = ApiKey(
            merchant=merchant, kind=request.kind, hash="", issued_at_ms=at_ms, scopes=scopes, expires_at_ms=ends,
            rate_per_s=request.rate_per_s,
        )  # fmt: skip
        return self._give_text(blank)

    def _give_text(self, blank: ApiKey) -> KeyIssued:
        owner, secret = owner_of(blank.merchant), self._new_secret()
        text = key_text(owner, blank.kind, secret)
        key = msgspec.structs.replace(blank, hash=key_hash(text), prefix=key_prefix(text, secret))
        self._keep(key)
        return KeyIssued(merchant=owner, key=text, id=key.id)

    def _new_twin(self, owner: str, at_ms: int) -> str:
        number = 1
        while twin(owner, number) in self._writer.merchants:
            number += 1
        self._writer.create_twin(owner, twin(owner, number), at_ms)
        return twin(owner, number)

    def _rotate(self, merchant: str, id: str, at_ms: int, ends_at_ms: int) -> KeyIssued:
        old = self._key(merchant, id)
        if old.expired(at_ms):
            raise Conflict(f"key {id} has ended: issue a new one")
        if old.rotated:
            raise Conflict(f"key {id} was rotated before: rotate its successor ('avalist merchant keys {merchant}')")
        issued = self._give_text(msgspec.structs.replace(old, issued_at_ms=at_ms))
        old = msgspec.structs.replace(old, rotated=True)
        self._end(old, ends_at_ms)
        return issued

    def _end(self, key: ApiKey, at_ms: int) -> None:
        ends = at_ms if key.expires_at_ms is None else min(at_ms, key.expires_at_ms)
        self._keep(msgspec.structs.replace(key, expires_at_ms=ends))

    def _key(self, merchant: str, id: str) -> ApiKey:
        found = next((key for key in self.keys_of(merchant) if key.id == id), None)
        if found is None:
            raise NotFound(f"merchant {merchant!r} has no key {id!r}: 'avalist merchant keys {merchant}' lists them")
        return found

    def keys_of(self, merchant: str) -> list[ApiKey]:
        """Return the keys of a merchant and its twins. Raises ``NotFound``."""
        self._writer.merchant(merchant)
        return [key for key in self.keys.values() if merchant in (key.merchant, owner_of(key.merchant))]

    def _list(self, merchant: str) -> KeysShown:
        newest = sorted(self.keys_of(merchant), key=lambda key: (-key.issued_at_ms, key.id))
        shown = tuple(
            KeyShown(
                id=key.id, prefix=key.prefix, merchant=key.merchant, kind=key.kind, scopes=key.granted,
                issued_at_ms=key.issued_at_ms, expires_at_ms=key.expires_at_ms,
                last_used_at_ms=self.used.get(key.hash), rate_per_s=key.rate_per_s,
            )
            for key in newest
        )  # fmt: skip
        return KeysShown(merchant=merchant, keys=shown)

    def _keep(self, key: ApiKey) -> None:
        self._documents.put_many([(key.merchant, KEYS, key.hash, msgspec.json.encode(key))])
        self.keys[key.hash] = key

    def save_use(self) -> None:
        """Store when keys were last used, where it changed. Any thread but the deciding one."""
        used = dict(self.used)
        fresh = [hash for hash, at_ms in used.items() if self._saved.get(hash) != at_ms]
        if fresh:
            rows = [(self.keys[hash].merchant, KEY_USE, hash, msgspec.json.encode(used[hash])) for hash in fresh]
            self._documents.put_many(rows)
            self._saved = used

    def _show(self, id: str) -> MerchantShown:
        merchant = self._writer.merchant(id)
        return MerchantShown(
            merchant=id, mode=merchant.mode, inputs=merchant.seq, entities=merchant.features.live_keys,
            features=len(merchant.plan.columns), plan=merchant.plan.hash, model=merchant.model_version,
            policy=merchant.desk.version,
        )  # fmt: skip


def _check_id(merchant: str) -> None:
    """Raise ``BadInput`` for a name that could not stand in a path: the command line makes requests unchecked."""
    if not re.fullmatch(_ID, merchant):
        expected = "small letters, digits and dashes, to 63"
        raise BadInput("not a merchant's id", field="$.merchant", expected=expected, got=merchant[:64])


def decode_request(body: bytes) -> AdminRequest:
    """Decode an operator's request from JSON. Raises ``BadInput``."""
    return _decoded(_REQUEST, body)


def decode_tables(body: bytes) -> SetTables:
    """Decode which tables to put in force from JSON. Raises ``BadInput``."""
    return _decoded(_TABLES, body)


def _decoded(decoder: msgspec.json.Decoder[R], body: bytes) -> R:
    try:
        return decoder.decode(body)
    except UNDECODABLE as error:
        raise bad_body(error, kind=AdminRequest) from None

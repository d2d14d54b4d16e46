"""What the service answers, operation by operation: routes, scopes and the OpenAPI document come from this table."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

from avalist.api import examples
from avalist.api.wire import AlertLimit, Alerts, Alive, Ready, Recorded
from avalist.app.administer import AdminRequest, KeyIssued, KeysShown, MerchantShown, SetTables, TablesInForce
from avalist.app.lookup import Found, Lookup
from avalist.app.reviews import Queue
from avalist.app.stored import StoredDecision
from avalist.app.webhook_office import WebhookRequest
from avalist.app.webhooks import DeadLetters, WebhookIssued, WebhooksShown
from avalist.domain import errors as e
from avalist.domain.decisions import Decision
from avalist.domain.events import Checkpoint, Id, OutcomeEvent, Payment, SessionClosed, WireEvent
from avalist.domain.keys import KeyScope

Access = KeyScope | Literal["admin", "metrics", "public"]
Text = Literal["text/plain; version=0.0.4", "text/html; charset=utf-8", "application/json"]


MOST_EVENTS: Final = 10_000
"""Events that one request may carry."""


class Parameter(NamedTuple):
    """A parameter of a request, in its path, query or headers; one of a path is required."""

    name: str
    place: Literal["path", "query", "header"]
    type: Any
    description: str
    example: object


class Operation(NamedTuple):
    """One operation. `answer` is the type of its 200, a tuple of several, or a media type; `problems` may befall it.

    `named` names a request that is a union of types; `batch` says that a list of it is taken too.
    """

    id: str
    method: Literal["GET", "POST"]
    path: str
    access: Access
    summary: str
    answer: Any
    answers: Mapping[str, object]
    problems: tuple[type[e.AvalistError], ...] = ()
    request: Any = None
    requests: Mapping[str, object] = MappingProxyType({})
    parameters: tuple[Parameter, ...] = ()
    named: str = ""
    batch: bool = False

    @property
    def scope(self) -> KeyScope | None:
        """Return the scope that a key needs, if it is a key that is needed."""
        return None if self.access in ("admin", "metrics", "public") else self.access  # type: ignore[return-value]


_DEADLINE_MS = Parameter(
    "Avalist-Deadline-Ms", "header", int, "How long the answer may wait for the log, 1 to 10000 ms.", 50
)
_ANY = (e.UnknownVersion, e.BadInput, e.CardNumberRefused)
_ALWAYS = (*_ANY, e.Unavailable, e.LogFailed)
_KEYED = (*_ALWAYS, e.NotAuthenticated, e.NotAllowed, e.RateLimited)
_BODY = (e.BodyTooLarge, e.UnsupportedMedia)
_EVENT = (*_KEYED, *_BODY, e.UnknownCurrency, e.ClockWentBack, e.NotFound, e.Conflict)

DECIDE: Final = Operation(
    "decide", "POST", "/v1/decisions", "decisions:write", "Decide one payment",
    Decision, {"approved": examples.DECISION}, _EVENT, Payment, {"card": examples.PAYMENT}, (_DEADLINE_MS,),
)  # fmt: skip

OPERATIONS: Final = (
    DECIDE,
    Operation(
        "get_decision", "GET", "/v1/decisions/{payment_id}", "decisions:read", "Show a decision and its grounds",
        StoredDecision, {"approved": examples.STORED}, (*_KEYED, e.NotFound), parameters=(
            Parameter("payment_id", "path", Id, "The payment's id, percent-encoded.", "order-1"),
            Parameter("checkpoint", "query", Checkpoint, "Which of its decisions; `pre_auth` by default.", "pre_auth"),
        ),
    ),
    Operation(
        "look_up", "POST", "/v1/lookup", "decisions:read", "Find decisions by what they share",
        Found, {"one": examples.FOUND}, (*_KEYED, *_BODY, e.Overloaded), Lookup,
        {"email": examples.LOOKUP, "payment": examples.LOOKUP_PAYMENT},
    ),
    Operation(
        "alerts", "GET", "/v1/alerts", "decisions:read", "List alerts of waves, the newest first",
        Alerts, {"wave": {"alerts": [examples.ALERT]}}, (*_KEYED, e.NotFound), parameters=(
            Parameter("limit", "query", AlertLimit, "How many at most; 20 by default.", 20),
        ),
    ),
    Operation(
        "reviews", "GET", "/v1/reviews", "decisions:read", "List the open reviews, the most telling first",
        Queue, {"one": examples.QUEUE}, (*_KEYED, e.NotFound),
    ),
    Operation(
        "record_events", "POST", "/v1/events", "events:write", "Record events without asking for a decision",
        Recorded, {"all": examples.RECORDED, "some": examples.RECORDED_SOME}, (*_EVENT, e.Overloaded),
        WireEvent, {"one": examples.LOGIN, **examples.EVENTS, "batch": examples.BATCH}, named="AnyEvent", batch=True,
    ),
    Operation(
        "record_sessions", "POST", "/v1/sessions", "events:write", "Record summaries of sessions for payments to name",
        Recorded, {"all": examples.RECORDED_SESSION}, (*_EVENT, e.Overloaded),
        SessionClosed, {"detailed": examples.SESSION, "batch": [examples.SESSION_LATER]}, batch=True,
    ),
    Operation(
        "record_outcomes", "POST", "/v1/outcomes", "outcomes:write", "Record what became of payments",
        Recorded, {"all": examples.RECORDED}, (*_EVENT, e.Overloaded),
        OutcomeEvent, {**examples.OUTCOMES, "batch": [*examples.OUTCOMES.values()]}, named="AnyOutcome", batch=True,
    ),
    Operation(
        "administer", "POST", "/v1/admin", "admin", "Carry out an operator's request",
        (MerchantShown, KeyIssued, KeysShown), examples.ADMIN_ANSWERS,
        (*_ALWAYS, *_BODY, e.NotAuthenticated, e.NotFound, e.Conflict, e.ArtefactInvalid),
        AdminRequest, examples.ADMIN, named="AdminRequest",
    ),
    Operation(
        "set_tables", "POST", "/v1/admin/tables", "admin", "Put reference tables in force", TablesInForce,
        {"none": {"tables_version": 1, "changed": 0}}, (*_ALWAYS, *_BODY, e.NotAuthenticated, e.NotFound),
        SetTables, {"none": {"version": 1}},
    ),
    Operation(
        "administer_webhooks", "POST", "/v1/admin/webhooks", "admin", "Carry out an operator's request about webhooks",
        (WebhookIssued, WebhooksShown, DeadLetters), examples.WEBHOOK_ANSWERS,
        (*_ALWAYS, *_BODY, e.NotAuthenticated, e.NotFound, e.Conflict), WebhookRequest, examples.WEBHOOKS,
        named="WebhookRequest",
    ),
    Operation(
        "healthz", "GET", "/healthz", "public", "Tell whether the process answers", Alive,
        {"alive": {"status": "alive"}}, _ANY,
    ),
    Operation(
        "readyz", "GET", "/readyz", "public", "Tell whether the service can decide", Ready,
        {"ready": {"status": "ready"}}, _ALWAYS,
    ),
    Operation(
        "metrics", "GET", "/metrics", "metrics", "Metrics in Prometheus text format",
        "text/plain; version=0.0.4", {}, (*_ANY, e.NotAuthenticated),
    ),
    Operation(
        "openapi", "GET", "/openapi.json", "public", "This document", "application/json", {}, _ANY,
    ),
    Operation(
        "problems", "GET", "/problems", "public", "What each type of problem means, for people",
        "text/html; charset=utf-8", {}, _ANY,
    ),
)  # fmt: skip

"""The cores of log records: all that ``decide()`` can read, msgpack."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from avalist.domain.alerts import Alert
from avalist.domain.decisions import Decision, Mode
from avalist.domain.events import SessionSummary
from avalist.domain.facts import NO_TABLES, Facts
from avalist.domain.schema import Schema

NotNegative = Annotated[float, msgspec.Meta(ge=0.0)]
Told = dict[str, str | int | bool | tuple[str, ...]]
Why = Literal["deadline", "overloaded", "log"]
Cause = Literal["first", "schedule", "labels", "drift", "operator"]
"""What made a training due."""
By = Literal["operator", "gate", "rollback", "prior"]
"""Who activated a model: a person, the gate that it passed, the watch that found its successor bad, or nobody: it is
the network prior that a merchant begins with.
"""


class EventHead(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How an :class:`EventCore` begins: it decodes from the same bytes, in a fraction of the time."""

    type: str
    event_id: str
    digest: bytes
    payment_id: str
    checkpoint: str
    row: bytes


class EventCore(EventHead, frozen=True, array_like=True, gc=False):
    """A merchant's event: its ids, its fold row (little-endian int64) and its facts.

    `digest` is of the decoded content less ``sent_at``: it tells a retry from a conflict. `label` is None where the
    event says nothing of fraud; `captured` is True from the event that captures on. `imputed` tells of a label whether
    its time was drawn instead of known; None for other events, and for labels logged before this was noted. `session`
    is the summary that a session event gives under an id, where payments that name it find it; `verdict` what a review
    decided, and who did. `told` are the fields of an outcome as they were sent, and those that only a step of identity
    verification or a change of a profile has; empty in other events, and in those logged before this was kept.
    """

    facts: Facts | None = None
    label: bool | None = None
    captured: bool | None = None
    asked: bool = False
    imputed: bool | None = None
    session: SessionSummary | None = None
    verdict: str = ""
    told: Told = {}


class MerchantCreated(msgspec.Struct, frozen=True, tag="merchant_created"):
    """A merchant exists from here on, with its declared schema and the plan it runs, as JSON of ``Feature``s.

    The plan stands in the log, not in the code: a later release derives another default, for new merchants alone.
    Decisions of another `generation` that follow are first answers, given under another history: kept, never compared.
    `tables_version` are the reference tables in force from here on.
    """

    schema: Schema
    features: bytes
    generation: int = 1
    tables_version: int = NO_TABLES


class ModeSet(msgspec.Struct, frozen=True, tag="mode_set"):
    """Shadow mode and kill switch in one."""

    mode: Mode


class PolicySet(msgspec.Struct, frozen=True, tag="policy_set"):
    """A policy, as JSON of ``policy.Policy``."""

    policy: bytes


class Solved(msgspec.Struct, frozen=True, kw_only=True, tag="solved"):
    """What the world said of a policy's budgets: the prices that hold them, from this ``seq`` on.

    `policy` is the version of the policy that was solved for. A fraud chargeback costs `count_minor` more, and `value`
    times its amount; a review costs `review_minor` more. A would-be decline is released with a chance of
    `explore_scale` times its worth, then thinned by `explore_share`. The last fields say what it was solved on:
    payments of [`from_ms`, `to_ms`), and the fraud chargebacks to expect of what is approved (basis points).
    """

    policy: str
    count_minor: NotNegative = 0.0
    value: NotNegative = 0.0
    review_minor: NotNegative = 0.0
    explore_scale: NotNegative = 0.0
    explore_share: NotNegative = 0.0
    from_ms: int = 0
    to_ms: int = 0
    expected_count_bps: float = 0.0
    expected_value_bps: float = 0.0


class Check(msgspec.Struct, frozen=True):
    """One thing that was looked at before or after a model decided: whether it held, and what was found, in words."""

    name: str
    passed: bool
    words: str


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Why a model was let in, refused or taken back.

    It was compared with the model `against` (empty: with what was done) on `payments` of [`from_ms`, `to_ms`). On
    `judged` of them, of days that grew no tree, it earns `gain_minor` more, `gain_low_minor` to `gain_high_minor` with
    90 %. Of the last three days' payments (of all that a watch looked at) it declines a share of `declined`, the other
    one `declined_before`.
    """

    against: str = ""
    from_ms: int = 0
    to_ms: int = 0
    payments: int = 0
    judged: int = 0
    gain_minor: float = 0.0
    gain_low_minor: float = 0.0
    gain_high_minor: float = 0.0
    declined: float = 0.0
    declined_before: float = 0.0
    checks: tuple[Check, ...] = ()

    @property
    def passed(self) -> bool:
        """Return whether every check held."""
        return all(check.passed for check in self.checks)


class ModelStaged(msgspec.Struct, frozen=True, tag="model_staged"):
    """An artefact of this content hash stands in the blobs, checked and loadable.

    One that was trained by itself has the cause and passed the gate with this evidence.
    """

    version: str
    plan_hash: str
    cause: Cause = "operator"
    evidence: Evidence | None = None


class ModelRefused(msgspec.Struct, frozen=True, tag="model_refused"):
    """A challenger was trained and is not let in: the gate's evidence, or an operator's word, says why."""

    version: str
    plan_hash: str
    cause: Cause = "operator"
    evidence: Evidence | None = None


class ModelActivated(msgspec.Struct, frozen=True, tag="model_activated"):
    """Decisions of later ``seq`` are scored by this model. A rollback has the evidence of the watch."""

    version: str
    by: By = "operator"
    evidence: Evidence | None = None


class LearningSet(msgspec.Struct, frozen=True, kw_only=True, tag="learning_set"):
    """How a merchant's models follow each other from here on.

    A training is due `every_d` days after the last (0: never), or once `labels` new fraud reports are logged. With
    `approval` ``manual`` a model that passed the gate waits for a person. One that the gate activated is watched for
    `watch_h` hours; after a rollback none is activated by itself for `rest_d` days. `trust` is the chance that a wave's
    alarm is fraud, before the merchant's own alarms say otherwise; 0: models begin without a word on alarms.
    """

    approval: Literal["automatic", "manual"] = "automatic"
    every_d: Annotated[float, msgspec.Meta(ge=0, le=365)] = 1.0
    labels: Annotated[int, msgspec.Meta(ge=1)] = 200
    watch_h: Annotated[float, msgspec.Meta(ge=0, le=720)] = 72.0
    rest_d: Annotated[float, msgspec.Meta(ge=0, le=365)] = 7.0
    trust: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.5


class PriorConsent(msgspec.Struct, frozen=True, tag="prior_consent"):
    """From here on the merchant's payments may, or may not, teach a network prior that other merchants begin with.

    A prior knows no keys: it is trees over columns that mean the same at any shop. Priors that were trained while the
    consent stood keep what they learnt.
    """

    given: bool


class TablesSet(msgspec.Struct, frozen=True, tag="tables_set"):
    """Facts of later ``seq`` are made with these reference tables. `packages` say what they hold: name -> version."""

    version: int
    packages: dict[str, str] = {}


class FeaturesAdded(msgspec.Struct, frozen=True, tag="features_added"):
    """Decisions of later ``seq`` see these columns too, JSON of ``Feature``s, behind those that were there.

    They are back-filled: their values are those that they would have had if the merchant had been created with them.
    One that is retired takes the place of the column of its name, and is unknown from here on.
    """

    features: bytes


class AlertsSet(msgspec.Struct, frozen=True, tag="alerts_set"):
    """What is wrong from here on, all of it: a health check found other `alerts` than the one before. `checked_ms` is
    the arrival up to which it had read.
    """

    alerts: tuple[Alert, ...]
    checked_ms: int


class GenerationStarted(msgspec.Struct, frozen=True, tag="generation_started"):
    """All before this is the generation `before` merged with a file, known by its name and the hash of its bytes.

    `carried` inputs and `decisions` are of that generation, `added` events of the file. `there` of the file's events
    were there already, and `refused` contradicted what was there.
    """

    generation: int
    before: int
    file: str
    sha256: str
    carried: int
    decisions: int
    added: int
    there: int
    refused: int


Control = (
    MerchantCreated
    | ModeSet
    | PolicySet
    | Solved
    | ModelStaged
    | ModelRefused
    | ModelActivated
    | LearningSet
    | PriorConsent
    | TablesSet
    | FeaturesAdded
    | AlertsSet
    | GenerationStarted
)


class DecisionCore(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A decision and the columns it saw (little-endian float32)."""

    decision: Decision
    features: bytes


class FallbackCore(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The first answer to an event was its merchant's fallback; the decision computed is advice."""

    event_id: str
    why: Why
    answer: Decision

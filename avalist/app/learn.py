"""The daily work on a merchant's models: see whether a training is due, train, judge, let in or refuse, watch, solve.

It reads the log and asks the writer to log events; it never runs in the deciding process. What a killed run has done is
not done again: a trained model is kept with a note until its verdict stands in the log.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from avalist.app.administer import ActivateModel, AdminRequest, RefuseModel, SetSolved, StageModel
from avalist.app.dataset import Dataset, collect
from avalist.app.followed import check_parity
from avalist.app.gate import Clock, Read, judge, last_days, relevelled, row_us, shadow
from avalist.app.level import LevelCheck, level_checks, off
from avalist.app.lineage import Records, Standing, due, lineage
from avalist.app.solve import solve_budgets
from avalist.app.train import FEWEST_FRAUDS, Training, train_on
from avalist.app.watch import Watched, look
from avalist.domain.core import Cause, Evidence
from avalist.domain.errors import BadInput, Conflict, ReplayMismatch
from avalist.domain.records import Record
from avalist.domain.schema import DAY_MS
from avalist.models.artefact import Artefact
from avalist.models.delay import ReportDelay
from avalist.models.score import Model
from avalist.models.train import TrainParams
from avalist.models.trees import F64
from avalist.ports.documents import Documents

PARAMS: Final = TrainParams(test_share=0.0, num_threads=1)
_COLLECTION, _JOB, _LAST = "learning", "job", "last"
_RESUMED_MS: Final = DAY_MS
_SAME_LEVEL: Final = math.log(1.1)
"""A network prior whose odds moved by less stays as it is."""


class Tools(NamedTuple):
    """What the work is done with: the merchant's records, models by version, and somebody who logs events.

    `keep` stores a model; `now_ns` measures, from any beginning; a training ends after `budget_s`. `prior` and
    `network` are a ``Training``'s; `part` tells the merchant's log from others, as its follower does.
    """

    read: Read
    load: Callable[[str], Model]
    keep: Callable[[Artefact], None]
    carry_out: Callable[[AdminRequest], dict[str, Any]]
    documents: Documents
    now_ns: Clock
    budget_s: float = 3600.0
    params: TrainParams = PARAMS
    prior: bool = True
    part: str = ""
    network: Artefact | None = None


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a run, in words; `version` was trained for `cause`, and `verdict` is what became of it."""

    at_ms: int
    cause: Cause | None = None
    version: str = ""
    verdict: str = ""
    words: tuple[str, ...] = ()


class _Job(msgspec.Struct, frozen=True):
    """A model that was trained and has no verdict yet."""

    at_ms: int
    cause: Cause
    version: str


def learn(tools: Tools, merchant: str, now_ms: int, cause: Cause | None = None) -> Done:
    """Do a merchant's daily work: train where it is due, or for a `cause`, and solve the budgets again.

    Raises ``NotFound`` if the merchant is not in the log.
    """
    readings: list[Standing] = []

    def read() -> Records:
        readings.append(Standing())
        return _noted(tools.read(), merchant, readings[-1])

    data, standing = collect(read, merchant), readings[-1]
    active = tools.load(standing.active) if standing.active else None
    said = data.background.decided[:, 0].astype(np.float64)
    alarm = alarm_at(data, said, active.artefact.delay if active else None, data.cut_ms)
    cause = cause or due(standing, now_ms) or ("drift" if alarm and standing.learning.every_d else None)
    done = Done(at_ms=now_ms, words=(alarm.words,) if alarm else ())
    if cause is not None:
        done = _train(tools, merchant, data, standing, done, cause)
    done = _solved(tools, merchant, data, done)
    tools.documents.put_many([(merchant, _COLLECTION, _LAST, msgspec.json.encode(done))])
    return done


def last_done(documents: Documents, merchant: str) -> Done | None:
    """Return what came of the last run, or None."""
    body = documents.get(merchant, _COLLECTION, _LAST)
    return None if body is None else msgspec.json.decode(body, type=Done)


def alarm_at(data: Dataset, said: F64, law: ReportDelay | None, cut_ms: int) -> LevelCheck | None:
    """Return the level that most exceeds what was expected, by what was logged up to a time; None where none does.

    Health asks the same (``level_checks``); fewer reports than expected are its business, for they harm no one tonight.
    """
    above = [one for one in off(level_checks(data, cut_ms, said, law)) if one.z > 0.0]
    return max(above, key=lambda one: one.z, default=None)


def watch(tools: Tools, merchant: str, now_ms: int) -> Evidence | None:
    """Look at the model on trial, and take it back where a check fails; None where there is nothing to look at."""
    standing, _ = lineage(tools.read(), merchant)
    if not standing.watched(now_ms):
        return None
    watched = Watched(tools.load(standing.active).artefact, tools.load(standing.previous).artefact)
    found = look(tools.read, merchant, standing, watched, now_ms)
    if found is not None and not found.passed:
        plan, back = watched.previous.plan_hash, watched.previous.version
        tools.carry_out(ActivateModel(merchant, back, plan, by="rollback", evidence=found))
    return found


def evidence_for(tools: Tools, merchant: str, model: Model, active: Model | None, cut_ms: int) -> Evidence:
    """Judge a model over the merchant's last days against the active one, or against what was done."""
    now = active.artefact if active is not None else None
    seen = shadow(tools.read, merchant, model.artefact, now, last_days(cut_ms))
    parity = ""
    try:
        check_parity(tools.documents, merchant, tools.part)
    except ReplayMismatch as error:
        parity = str(error)
    took = row_us(model, tools.now_ns)
    return judge(seen, model.artefact, now, row_us=took, parity=parity)


def _noted(records: Records, merchant: str, standing: Standing) -> Iterator[tuple[int, Record]]:
    """Yield the records, and let `standing` take those of the merchant as they pass."""
    for position, record in records:
        if record.merchant == merchant:
            standing.take(record)
        yield position, record


def _train(tools: Tools, merchant: str, data: Dataset, standing: Standing, done: Done, cause: Cause) -> Done:
    try:
        check_parity(tools.documents, merchant, tools.part)  # an hour's training would only be refused by the gate
        model = _trained(tools, merchant, data, done.at_ms, cause, standing.learning.trust)
        active = tools.load(standing.active) if standing.active else None
        _check_news(model.artefact, active.artefact if active is not None else None)
        evidence = evidence_for(tools, merchant, model, active, data.cut_ms)
    except (BadInput, ReplayMismatch) as error:
        return msgspec.structs.replace(done, cause=cause, verdict="not trained", words=(*done.words, str(error)))
    verdict = _judged(tools, merchant, model.artefact, standing, evidence, done.at_ms, cause)
    tools.documents.put_many([(merchant, _COLLECTION, _JOB, b"null")])
    words = tuple(f"{check.name}: {check.words}" for check in evidence.checks if not check.passed)
    return msgspec.structs.replace(
        done, cause=cause, version=model.version, verdict=verdict, words=(*done.words, *words)
    )


def _check_news(model: Artefact, active: Artefact | None) -> None:
    """Raise ``BadInput`` for a network prior at about the level that decides already, or where none was asked for."""
    if model.trained != "prior" or model.prior is None:
        return
    if active is None or (
        relevelled(model, active)
        and active.prior is not None
        and active.prior.version == model.prior.version
        and abs(math.log(model.prior.theta / active.prior.theta)) < _SAME_LEVEL
    ):
        raise BadInput(
            "too few frauds are reported for trees of its own, and a network prior has nothing new to say",
            field="history", expected=f"at least {FEWEST_FRAUDS} reported frauds", got=f"{model.data.frauds}",
        )  # fmt: skip


def _trained(tools: Tools, merchant: str, data: Dataset, now_ms: int, cause: Cause, trust: float) -> Model:
    """Return the model that a killed run trained, if one did within a day, else train one."""
    body = tools.documents.get(merchant, _COLLECTION, _JOB)
    job = msgspec.json.decode(body, type=_Job | None) if body else None
    if job is not None and 0 <= now_ms - job.at_ms < _RESUMED_MS:
        return tools.load(job.version)
    end_ns = tools.now_ns() + round(tools.budget_s * 1e9)
    params = msgspec.structs.replace(tools.params, trust=trust)
    training = Training(test_share=0.0, params=params, prior=tools.prior, network=tools.network)
    artefact = train_on(data, training, enough=lambda: tools.now_ns() > end_ns)
    tools.keep(artefact)
    note = msgspec.json.encode(_Job(now_ms, cause, artefact.version))
    tools.documents.put_many([(merchant, _COLLECTION, _JOB, note)])
    return tools.load(artefact.version)


def _judged(
    tools: Tools, merchant: str, model: Artefact, standing: Standing, found: Evidence, now_ms: int, cause: Cause
) -> str:
    """Log the verdict; return it."""
    if not found.passed:
        tools.carry_out(RefuseModel(merchant, model.version, model.plan_hash, cause=cause, evidence=found))
        return "refused"
    if not standing.may_activate(now_ms):
        tools.carry_out(StageModel(merchant, model.version, model.plan_hash, cause=cause, evidence=found))
        return "staged"
    tools.carry_out(ActivateModel(merchant, model.version, model.plan_hash, by="gate", cause=cause, evidence=found))
    return "activated"


def _solved(tools: Tools, merchant: str, data: Dataset, done: Done) -> Done:
    """Solve the policy's budgets again by what is known now, where it has any."""
    policy = data.background.policy
    version = done.version if done.verdict == "activated" else data.background.model
    if not policy.to_solve or not version:
        return done
    try:
        tools.carry_out(SetSolved(merchant, solve_budgets(data, tools.load(version), policy)))
        said = "its budgets are solved again"
    except (BadInput, Conflict) as error:  # no payment to go by, or the policy was changed meanwhile
        said = str(error)
    return msgspec.structs.replace(done, words=(*done.words, said))

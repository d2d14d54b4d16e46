"""From slots and fates to typed events: the only place where ids and instants are given."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from avalist.domain.events import (
    AuthorisationResult,
    Capture,
    Chargeback,
    EarlyFraudWarning,
    Login,
    Payment,
    SessionClosed,
    SessionSummary,
    SignUp,
    to_ms,
)
from avalist.simulator.draws import I64, Rng, hex_ids
from avalist.simulator.fate import Attempt, Due, Fates, Kind, Truth, instant
from avalist.simulator.market import Market
from avalist.simulator.people import Person
from avalist.simulator.slots import Process, Slots

_DECLINES = ("51", "05", "61", "54", "91")
_SUSPICIONS = ("05", "59", "43", "41", "62")
_DEFAULT_SESSION_MS = 60_000
_TOLD_BEFORE_MS = 400


class Step(msgspec.Struct, frozen=True, gc=False):
    """An event and when it is received (milliseconds since 1970); a payment's comes with its `attempt`."""

    at_ms: int
    event: SignUp | Login | SessionClosed | Payment
    attempt: Attempt | None = None


def enact(
    rng: Rng, slots: Slots, fates: Fates, market: Market, currency: str, start_ms: int, apart_share: float = 0.0
) -> list[Step]:
    """Return the steps of these payments: what comes before each, and the payment itself. Not in order of time.

    A share of the sessions is told apart: by an event before the payment, which only names it.
    """
    steps: list[Step] = []
    keys = hex_ids(rng, len(slots))
    apart = [session is not None and int(key[:4], 16) < 65_536 * apart_share
             for key, session in zip(keys, slots.sessions, strict=True)]  # fmt: skip
    shown = [SessionSummary(id="s" + key) if told else session
             for key, told, session in zip(keys, apart, slots.sessions, strict=True)]  # fmt: skip
    attempts = _attempts(slots, shown, keys, fates, market, currency)
    before = zip(slots.signed_ms.tolist(), slots.failed_logins.tolist(), slots.logs_in.tolist(), strict=True)
    told_by = zip(slots.sessions, apart, strict=True)
    rows = zip(slots.at_ms.tolist(), slots.people, slots.ips, told_by, before, attempts, strict=True)
    for at_ms, person, ip, (session, told), (signed_ms, failed, logs_in), attempt in rows:
        if told and session is not None:
            steps.append(_session(attempt.payment, person, ip, session, max(at_ms - _TOLD_BEFORE_MS, start_ms)))
        if signed_ms:
            steps.append(_sign_up(person, ip, session, signed_ms))
        if failed or logs_in:
            entry_ms = max(at_ms - (session.duration_ms or 0 if session else _DEFAULT_SESSION_MS), start_ms)
            steps.extend(_logins(attempt.payment.payment_id, person, ip, entry_ms, failed, logs_in, start_ms))
        steps.append(Step(at_ms, attempt.payment, attempt))
    return steps


def _session(payment: Payment, person: Person, ip: str, session: SessionSummary, at_ms: int) -> Step:
    at, id = instant(at_ms), "s" + payment.payment_id[1:]
    summary = msgspec.structs.replace(session, id=id)
    event = SessionClosed(event_id=id, occurred_at=at, received_at=at, device=person.device, ip=ip, session=summary)
    return Step(at_ms, event)


def enact_logins(rng: Rng, at_ms: I64, people: list[Person]) -> list[Step]:
    """Return logins without a payment."""
    return [
        _login("l" + key, person, person.ip, at, True)
        for key, person, at in zip(hex_ids(rng, len(people)), people, at_ms.tolist(), strict=True)
    ]


def _sign_up(person: Person, ip: str, session: SessionSummary | None, at_ms: int) -> Step:
    at = instant(at_ms)
    return Step(
        at_ms,
        SignUp(
            event_id=f"u{person.customer.id}",
            occurred_at=at,
            received_at=at,
            customer=person.customer,
            device=person.device,
            ip=ip,
        ),
    )


def _login(event_id: str, person: Person, ip: str, at_ms: int, ok: bool) -> Step:
    at, created_at = instant(at_ms), person.customer.created_at
    if created_at and at < created_at:  # a session longer than the account is old
        at, at_ms = created_at, to_ms(created_at)
    event = Login(
        event_id=event_id,
        occurred_at=at,
        received_at=at,
        customer=person.customer,
        device=person.device,
        ip=ip,
        ok=ok,
    )
    return Step(at_ms, event)


def _logins(
    payment_id: str, person: Person, ip: str, entry_ms: int, failed: int, logs_in: bool, start_ms: int
) -> Iterator[Step]:
    for i in range(failed):
        at_ms = max(entry_ms - 4000 * (failed - i), start_ms)
        yield _login(f"x{i}{payment_id}", person, ip, at_ms, False)
    if logs_in:
        yield _login("l" + payment_id, person, ip, entry_ms, True)


def _attempts(
    slots: Slots, sessions: list[SessionSummary | None], keys: list[str], fates: Fates, market: Market, currency: str
) -> Iterator[Attempt]:
    truths, ends = _truths(slots, fates), _endings(slots, keys, fates)
    goods = zip(slots.product.tolist(), slots.amount.tolist(), slots.gift.tolist(), strict=True)
    rows = zip(keys, slots.at_ms.tolist(), slots.people, slots.ips, sessions, goods, truths, ends, strict=True)
    for key, at_ms, person, ip, session, (product, amount, gift), truth, follow_ups in rows:
        at, id = instant(at_ms), "p" + key
        payment = Payment(
            event_id=id,
            occurred_at=at,
            received_at=at,
            payment_id=id,
            amount_minor=amount,
            currency=currency,
            cart=market.cart(person, product, amount, gift),
            method=person.card,
            customer=person.customer,
            device=person.device,
            session=session,
            ip=ip,
            billing=person.billing,
            payee=person.payee if gift else None,
        )
        yield Attempt(payment=payment, truth=truth, follow_ups=follow_ups)


def _truths(slots: Slots, fates: Fates) -> Iterator[Truth]:
    rows = zip(
        slots.p.tolist(), fates.fraud.tolist(), fates.friendly.tolist(), fates.approved.tolist(),
        (slots.at_ms + fates.first_report_ms).tolist(), strict=True,
    )  # fmt: skip
    for p, fraud, friendly, approved, reported_ms in rows:
        yield Truth(
            p_fraud=p,
            fraud=fraud,
            process=slots.process,
            kind=_kind(slots.process, fraud, friendly),
            wave_id=slots.wave_id,
            issuer_approves=approved,
            reported_at_ms=reported_ms if fraud and approved else None,
        )


def _kind(process: Process, fraud: bool, friendly: bool) -> Kind:
    if not fraud:
        return "honest"
    if process == "honest":
        return "friendly" if friendly else "takeover"
    return process


def _endings(slots: Slots, keys: list[str], fates: Fates) -> Iterator[tuple[Due, ...]]:
    issuer = zip(fates.approved.tolist(), fates.code.tolist(), fates.address_matches.tolist(),
                 fates.secured.tolist(), strict=True)  # fmt: skip
    reports = zip(fates.warned_ms.tolist(), fates.disputed_ms.tolist(), strict=True)
    times = zip(slots.at_ms.tolist(), fates.answer_ms.tolist(), strict=True)
    for key, (at_ms, wait_ms), (approved, code, match, secured), fraud, (warned_ms, disputed_ms) in zip(
        keys, times, issuer, fates.fraud.tolist(), reports, strict=True
    ):
        answer = _answer(key, at_ms + wait_ms, approved, (_SUSPICIONS if fraud else _DECLINES)[code], match, secured)
        if not approved:
            yield (answer,)
        elif not fraud:
            yield answer, _capture(key, at_ms + wait_ms + 300)
        else:
            yield answer, _capture(key, at_ms + wait_ms + 300), *_reports(key, at_ms, warned_ms, disputed_ms)


def _answer(key: str, at_ms: int, approved: bool, code: str, match: bool, secured: bool) -> Due:
    at = instant(at_ms)
    return at_ms, AuthorisationResult(
        event_id="a" + key,
        occurred_at=at,
        received_at=at,
        payment_id="p" + key,
        approved=approved,
        issuer_code="00" if approved else code,
        avs="Y" if match else "N",
        cvv="M" if approved or match else "N",
        three_d_secure="authenticated" if secured and approved else "none",
    )


def _capture(key: str, at_ms: int) -> Due:
    at = instant(at_ms)
    return at_ms, Capture(event_id="k" + key, occurred_at=at, received_at=at, payment_id="p" + key)


def _reports(key: str, at_ms: int, warned_ms: int, disputed_ms: int) -> Iterator[Due]:
    if warned_ms >= 0:
        at = instant(at_ms + warned_ms)
        yield (
            at_ms + warned_ms,
            EarlyFraudWarning(
                event_id="w" + key, occurred_at=at, received_at=at, payment_id="p" + key, scheme="card", reason_code="6"
            ),
        )
    if disputed_ms >= 0:
        at = instant(at_ms + disputed_ms)
        yield at_ms + disputed_ms, Chargeback(
            event_id="b" + key, occurred_at=at, received_at=at, payment_id="p" + key, stage="opened", fraud=True,
            reason_code="10.4",
        )  # fmt: skip

"""The Python client against a service that is played: retries, deadlines, fallback, errors, outbox. No sockets."""

from __future__ import annotations

import asyncio
import inspect
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

import avalist_client as ac
from avalist.api.errors import problem_of
from avalist.domain import errors as e
from avalist_client.errors import error_of
from avalist_client.outbox import Outbox
from avalist_client.protocol import Lost, Outcome, Pause, Protocol, Reply, Send, Steps
from avalist_client.settings import Settings
from tests.shop import CARD_NUMBER

PAYMENT: dict[str, Any] = {"payment_id": "p1", "amount_minor": 2500, "currency": "EUR"}
POLICY = ac.Fallback(approve_up_to_minor={"EUR": 3000}, beyond="decline")
DECIDED = {
    "payment_id": "p1", "event_id": "pre_auth:p1", "checkpoint": "pre_auth", "action": "challenge", "seq": 7,
    "engine": 2, "mode": "live", "p_fraud": 0.1, "warnings": ["of_tomorrow"], "why": {"of": "tomorrow"},
}  # fmt: skip


def ok(answer: object) -> Reply:
    return Reply(200, {}, msgspec.json.encode(answer))


def refused(error: e.AvalistError, **headers: str) -> Reply:
    problem = problem_of(error)
    return Reply(problem.status, {k.replace("_", "-"): v for k, v in headers.items()}, msgspec.json.encode(problem))


class Played:
    """A protocol whose world answers as told; time passes in it only as steps take it. The last answer is repeated."""

    def __init__(self, *outcomes: Outcome, takes_s: float = 0.01, **settings: Any) -> None:
        self.now, self.takes_s, self.outcomes = 100.0, takes_s, list(outcomes)
        self.steps: list[Send | Pause] = []
        self.outbox = Outbox()
        told = Settings(key="k", **{"fallback": POLICY, **settings})
        self.protocol = Protocol(told, self.outbox, lambda: self.now, lambda: 1.0)

    def run(self, steps: Steps[Any]) -> Any:
        outcome: Outcome | None = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as stop:
                return stop.value
            self.steps.append(step)
            self.now += self.takes_s if isinstance(step, Send) else step.seconds
            outcome = (
                None if isinstance(step, Pause) else self.outcomes.pop(0) if self.outcomes[1:] else self.outcomes[0]
            )

    def decide(self, **changes: Any) -> ac.Decision:
        decision: ac.Decision = self.run(self.protocol.decide({**PAYMENT, **changes}))  # type: ignore[typeddict-item]
        return decision

    @property
    def sent(self) -> list[Send]:
        return [step for step in self.steps if isinstance(step, Send)]

    @property
    def pauses(self) -> list[float]:
        return [step.seconds for step in self.steps if isinstance(step, Pause)]


UNAVAILABLE, LIMITED = refused(e.Unavailable("starting")), refused(e.RateLimited("slow down"))


def test_a_decision_is_answered_also_with_what_this_client_does_not_know() -> None:
    decision = Played(ok(DECIDED)).decide()
    assert (decision.action, decision.seq, decision.warnings) == ("challenge", 7, ("of_tomorrow",))
    assert (decision.local, decision.why) == (False, "")


@pytest.mark.parametrize("trouble", [Lost("reset"), UNAVAILABLE, LIMITED, Reply(502, {}, b"<h1>Bad gateway</h1>")])
def test_a_retry_sends_the_same_bytes_after_a_longer_pause(trouble: Outcome) -> None:
    played = Played(trouble, trouble, ok(DECIDED))
    assert not played.decide().local
    assert len({send.request for send in played.sent}) == 1
    assert played.pauses == [0.025, 0.05]
    assert msgspec.json.decode(played.sent[0].request.body)["event_id"] == "pre_auth:p1"


def test_no_attempt_waits_past_the_deadline() -> None:
    played = Played(Lost("reset"), takes_s=0.05, timeout_ms=250)
    assert played.decide().local
    assert [round(send.timeout_s, 3) for send in played.sent] == [0.25, 0.175, 0.075]
    assert played.now <= 100.25


def test_the_deadline_ends_retries_and_the_fallback_answers() -> None:
    played = Played(Lost("no answer"), takes_s=0.24, attempts=9)
    decision = played.decide()
    assert len(played.sent) == 1
    assert (decision.action, decision.degraded, decision.durable, decision.local) == ("approve", True, False, True)
    assert (decision.why, decision.event_id) == ("no answer", "pre_auth:p1")


@pytest.mark.parametrize(("headers", "pause_s"), [
    ({"retry_after": "1"}, 1.0), ({"ratelimit": '"key";r=0;t=2'}, 2.0), ({"ratelimit": '"key";r=3;t=9'}, 0.025),
    ({"retry_after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.025),
])  # fmt: skip
def test_the_service_says_how_long_to_wait(headers: dict[str, str], pause_s: float) -> None:
    played = Played(refused(e.RateLimited("slow down"), **headers), ok(DECIDED), timeout_ms=5000)
    assert not played.decide().local
    assert played.pauses == [pause_s]


def test_a_wait_longer_than_the_deadline_is_not_waited_for() -> None:
    played = Played(refused(e.RateLimited("slow down"), retry_after="1"))
    assert played.decide().local
    assert (len(played.sent), played.pauses) == (1, [])


@pytest.mark.parametrize(("amount", "currency", "action"), [
    (3000, "EUR", "approve"), (3001, "EUR", "decline"), (1, "JPY", "decline"),
])  # fmt: skip
def test_the_fallback_is_the_merchants_policy(amount: int, currency: str, action: str) -> None:
    assert Played(Lost("down")).decide(amount_minor=amount, currency=currency).action == action


def test_by_default_a_person_looks() -> None:
    assert Played(Lost("down"), fallback=ac.Fallback()).decide(amount_minor=0).action == "review"


def test_in_shadow_mode_the_fallback_decides_nothing() -> None:
    played = Played(ok({**DECIDED, "mode": "observe", "action": "not_reviewed"}), Lost("down"))
    assert [played.decide().action, played.decide().action] == ["not_reviewed", "not_reviewed"]


@pytest.mark.parametrize(("outcome", "kind"), [(Lost("x"), ac.Unreachable), (LIMITED, ac.RateLimited)])
def test_without_a_fallback_the_trouble_is_raised(outcome: Outcome, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        Played(outcome, fallback=None).decide()


def test_nonsense_is_no_decision() -> None:
    decision = Played(Reply(200, {}, b"<html>log in to the network</html>")).decide()
    assert decision.local
    assert "not from Avalist" in decision.why


@pytest.mark.parametrize("error", [
    e.BadInput("x", field="$.ip", expected="text", got="1"), e.NotAuthenticated("x"), e.NotAllowed("x"),
    e.Conflict("x"), e.CardNumberRefused("x"), e.UnknownCurrency("x"), e.ClockWentBack("x"), e.UnknownVersion("x"),
    e.NotFound("x"), e.RateLimited("x"), e.Unavailable("x"),
], ids=lambda error: type(error).__name__)  # fmt: skip
def test_each_problem_has_its_exception(error: e.AvalistError) -> None:
    with pytest.raises(getattr(ac, type(error).__name__)) as raised:
        raise error_of(*refused(error))
    problem = problem_of(error)
    for part in ("type", "title", "status", "detail", "field", "expected", "got"):
        assert getattr(raised.value, part) == getattr(problem, part)


def test_a_refusal_is_raised_at_once_and_is_no_case_for_the_fallback() -> None:
    played = Played(refused(e.BadInput("not an amount", field="$.amount_minor")))
    with pytest.raises(ac.BadInput, match="amount_minor"):
        played.decide()
    assert (len(played.sent), len(played.outbox)) == (1, 0)


def test_a_payment_that_was_answered_locally_and_sent_since_is_answered_so_again() -> None:
    played = Played(refused(e.NotFound("recorded, not decided")))
    assert played.decide().local
    assert len(played.outbox) == 0
    with pytest.raises(ac.NotFound):
        played.decide(checkpoint="rescore")


def test_a_wrong_address_is_no_recorded_payment() -> None:
    with pytest.raises(ac.NotFound):
        Played(Reply(404, {}, b'{"type":"about:blank","title":"Not Found","status":404,"detail":"x"}')).decide()


@pytest.mark.parametrize(("fields", "said"), [
    ({"event_id": "e"}, "occurred_at"), ({"amount_minor": None}, ""), ({"payment_id": "x" * 128}, ""),
])  # fmt: skip
def test_event_ids(fields: dict[str, Any], said: str) -> None:
    played = Played(ok(DECIDED))
    if said:
        with pytest.raises(ValueError, match=said):
            played.decide(**fields)
    else:
        played.decide(**fields), played.decide(**fields)
        first, second = (msgspec.json.decode(send.request.body)["event_id"] for send in played.sent)
        assert first == second
        assert len(first) <= 128


def test_a_rescore_may_be_asked_for_again() -> None:
    played = Played(ok(DECIDED))
    played.decide(checkpoint="rescore"), played.decide(checkpoint="rescore")
    assert len({send.request.body for send in played.sent}) == 2


@pytest.mark.parametrize(("type", "path"), [("capture", "/v1/outcomes"), ("login", "/v1/events")])
def test_events_go_where_their_scope_is_enough(type: str, path: str) -> None:
    played = Played(ok({"recorded": 1}))
    event: Any = {"type": type, "payment_id": "p1"}
    assert played.run(played.protocol.record([event])).recorded == 1
    assert played.sent[0].request.path == path
    assert {"event_id", "occurred_at"} <= set(msgspec.json.decode(played.sent[0].request.body)[0])


# --- the outbox ------------------------------------------------------------------------------------------------------


def waiting(*outcomes: Outcome, payments: int = 1, **settings: Any) -> Played:
    """Return a protocol with payments that were answered locally, before a world that answers as told."""
    played = Played(Lost("down"), attempts=1, **settings)
    for n in range(payments):
        played.decide(payment_id=f"p{n}")
    played.outcomes, played.steps = list(outcomes), []
    return played


def bodies(played: Played) -> list[list[str]]:
    return [[event["payment_id"] for event in msgspec.json.decode(send.request.body)] for send in played.sent]


def test_a_payment_answered_locally_is_sent_as_the_event_that_it_was() -> None:
    played = Played(Lost("down"), ok({"recorded": 1}), attempts=1)
    played.decide(ip="192.0.2.7")
    played.run(played.protocol.deliver())
    asked, told = (msgspec.json.decode(send.request.body) for send in played.sent)
    assert told == [{"type": "payment", **asked}]
    assert len(played.outbox) == 0


def test_delivery_tries_until_the_service_is_back() -> None:
    played = waiting(*[Lost("down")] * 20, ok({"recorded": 1}))
    played.run(played.protocol.deliver())
    assert len(played.outbox) == 0
    assert max(played.pauses) == 5.0


def test_flushing_gives_up_in_time_and_keeps_what_waits() -> None:
    played = waiting(UNAVAILABLE)
    played.run(played.protocol.deliver(1.0))
    assert (len(played.outbox), played.now <= 101.1) == (1, True)


def test_one_bad_event_does_not_keep_the_others(caplog: pytest.LogCaptureFixture) -> None:
    bad = refused(e.BadInput("bad", field="$[1]"))
    good = ok({"recorded": 1})
    played = waiting(bad, good, bad, bad, good, payments=3)
    played.run(played.protocol.deliver())
    assert bodies(played) == [["p0", "p1", "p2"], ["p0"], ["p1", "p2"], ["p1"], ["p2"]]
    assert (len(played.outbox), "dropped" in caplog.text) == (0, True)


def test_a_key_that_may_not_keeps_its_payments() -> None:
    played = waiting(refused(e.NotAllowed("scope")), payments=2)
    played.run(played.protocol.deliver(3.0))
    assert bodies(played)[:4] == [["p0", "p1"], ["p0"], ["p1"], ["p0"]]
    assert len(played.outbox) == 2


def test_a_full_outbox_drops_the_oldest(caplog: pytest.LogCaptureFixture) -> None:
    outbox = Outbox(limit=2)
    for n in range(4):
        outbox.put(str(n), b"%d" % n)
    assert ([w.body for w in outbox.oldest(9)], outbox.dropped) == ([b"2", b"3"], 2)
    assert "full" in caplog.text


def test_a_file_outlives_the_process_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    first = Outbox(path)
    for _ in range(2):
        first.put("a", b"{}")
    assert path.stat().st_mode & 0o077 == 0
    first.close()
    second = Outbox(path)
    assert len(second) == 1
    second.close()


def test_a_broken_outbox_does_not_break_a_decision(caplog: pytest.LogCaptureFixture) -> None:
    played = Played(Lost("down"))
    played.outbox.close()
    assert played.decide().local
    assert "will never be sent" in caplog.text


# --- card numbers ----------------------------------------------------------------------------------------------------


def test_a_card_number_is_not_even_sent() -> None:
    played = Played(ok(DECIDED))
    with pytest.raises(ac.CardNumberRefused) as raised:
        played.decide(custom={"note": "4111 1111 1111 1111"})
    assert raised.value.field == "$.custom.note"
    assert (played.sent, CARD_NUMBER in str(raised.value)) == ([], False)
    assert not Played(ok(DECIDED), check_cards=False).decide(custom={"note": CARD_NUMBER}).local


@pytest.mark.parametrize("ask", [lambda p: p.get(CARD_NUMBER, ""), lambda p: p.lookup({"payment_id": CARD_NUMBER})])
def test_a_card_number_is_not_looked_up(ask: Callable[[Protocol], Any]) -> None:
    played = Played()
    with pytest.raises(ac.CardNumberRefused):
        next(ask(played.protocol))
    assert played.sent == []


# --- both clients, over httpx ----------------------------------------------------------------------------------------


Handler = Callable[[httpx.Request], httpx.Response]


class Both:
    """The sync or the async client, called alike."""

    def __init__(self, kind: str, handler: Handler | None, **options: Any) -> None:
        transport = None if handler is None else httpx.MockTransport(handler)
        self._runner = asyncio.Runner()
        options = {"key": "avk", "fallback": POLICY, "timeout_ms": 240_000, **options}
        self.client: ac.Avalist | ac.AsyncAvalist
        if kind == "sync":
            self.client = ac.Avalist(http=httpx.Client(transport=transport, timeout=None), **options)
        else:
            self.client = ac.AsyncAvalist(http=httpx.AsyncClient(transport=transport, timeout=None), **options)

    def __call__(self, name: str, *args: Any, **fields: Any) -> Any:
        async def call() -> Any:
            answer = getattr(self.client, name)(*args, **fields)
            return await answer if inspect.isawaitable(answer) else answer

        return self._runner.run(call())

    def wait(self) -> None:
        self._runner.run(asyncio.sleep(0.01))

    def close(self) -> None:
        self("close", 0)
        self._runner.close()


@pytest.fixture(params=["sync", "async"])
def both(request: pytest.FixtureRequest) -> Iterator[Callable[..., Both]]:
    made: list[Both] = []

    def make(handler: Handler | None, **options: Any) -> Both:
        made.append(Both(request.param, handler, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_request_says_who_asks_and_which_contract_it_speaks(both: Callable[..., Both]) -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=DECIDED)

    assert both(answer, url="https://avalist.example/", service_deadline_ms=40)("decide", **PAYMENT).seq == 7
    (request,) = seen
    assert str(request.url) == "https://avalist.example/v1/decisions"
    named = ("authorization", "avalist-version", "avalist-deadline-ms", "user-agent")
    version = f"avalist-client-python/{ac.VERSION}"
    assert [request.headers[name] for name in named] == ["Bearer avk", ac.CONTRACT, "40", version]


def errors_of_httpx() -> list[type[httpx.RequestError]]:
    def below(kind: type[Any]) -> Iterator[type[Any]]:
        for sub in kind.__subclasses__():
            yield sub
            yield from below(sub)

    return sorted(below(httpx.RequestError), key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", errors_of_httpx(), ids=lambda kind: kind.__name__)
def test_no_error_of_httpx_gets_out(both: Callable[..., Both], kind: type[httpx.RequestError]) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise kind("trouble", request=request)

    decision = both(fail, outbox=False)("decide", **PAYMENT)
    assert (decision.local, decision.why) == (True, f"{kind.__name__}: trouble")


def test_what_was_answered_locally_is_sent_when_the_service_is_back(both: Callable[..., Both]) -> None:
    down, events = [True], []

    def answer(request: httpx.Request) -> httpx.Response:
        if down[0]:
            raise httpx.ConnectError("refused", request=request)
        events.extend(msgspec.json.decode(request.content))
        return httpx.Response(200, json={"recorded": 1})

    one = both(answer)
    assert one("decide", **PAYMENT).local
    down[0] = False
    while one.client.waiting:
        one.wait()
    assert {event["event_id"] for event in events} == {"pre_auth:p1"}


def test_closing_sends_what_waits(both: Callable[..., Both]) -> None:
    paths = []

    def answer(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.path)
        return httpx.Response(200, json={"recorded": 1}) if paths[-1] == "/v1/events" else httpx.Response(503)

    one = both(answer, attempts=1)
    assert one("decide", **PAYMENT).local
    one("close", 240_000)
    assert set(paths) == {"/v1/decisions", "/v1/events"}


@pytest.mark.sockets
def test_a_service_that_is_silent_costs_no_more_than_the_deadline(both: Callable[..., Both]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        one = both(None, url=f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_ms=150, outbox=False)
        began = time.monotonic()
        assert one("decide", **PAYMENT).local  # it ends: no time of httpx's own would end it
        assert time.monotonic() - began > 0.1


@pytest.mark.parametrize(("option", "said"), [
    ({"key": ""}, "key"), ({"key": "a\nb"}, "key"), ({"url": "avalist.example"}, "url"), ({"timeout_ms": 0}, "timeout"),
    ({"key": None}, "key"), ({"timeout_ms": float("nan")}, "timeout"), ({"timeout_ms": "250"}, "timeout"),
    ({"attempts": 0}, "attempts"), ({"service_deadline_ms": 0}, "service_deadline"),
])  # fmt: skip
def test_options_that_make_no_sense_are_refused(option: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ac.Avalist(**{"key": "k", **option})


@pytest.mark.parametrize("policy", [{"approve_up_to_minor": {"EUR": "5"}}, {"beyond": "reject"}])
def test_a_fallback_that_makes_no_sense_is_refused_before_the_outage(policy: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(policy))):
        ac.Fallback(**policy)


@pytest.mark.parametrize("amount", ["5", 5.5, None, -1])
def test_what_is_no_amount_is_not_approved_locally(amount: Any) -> None:
    assert Played(Lost("down")).decide(amount_minor=amount).action == "decline"


@pytest.mark.parametrize("event", [None, [{"type": "capture", "payment_id": "p1"}], {"payment_id": "p1"}])
def test_what_is_no_event_is_refused(event: Any) -> None:
    played = Played(ok({"recorded": 1}))
    with pytest.raises(ValueError, match="each an argument"):
        played.run(played.protocol.record([event]))


def test_a_closed_client_answers_locally_and_tells_what_waited(
    both: Callable[..., Both], caplog: pytest.LogCaptureFixture
) -> None:
    one = both(lambda request: httpx.Response(503), attempts=1)
    assert one("decide", **PAYMENT).local
    one("close", 0)
    client = one.client._http
    one._runner.run(client.aclose()) if isinstance(client, httpx.AsyncClient) else client.close()
    decision = one("decide", **{**PAYMENT, "payment_id": "p2"})
    assert (decision.local, decision.why) == (True, "the client is closed")
    assert "event pre_auth:p2 will never be sent" in caplog.text
    assert (one.client.waiting, one("flush", 0)) == (1, 1)


def test_an_error_that_is_not_of_a_closed_client_gets_out(both: Callable[..., Both]) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise RuntimeError("a mistake of the transport")

    with pytest.raises(RuntimeError, match="a mistake"):
        both(fail, outbox=False)("decide", **PAYMENT)


def test_a_closing_that_is_cancelled_closes_the_file(tmp_path: Path) -> None:
    async def cancel() -> None:
        client = ac.AsyncAvalist(key="k", outbox=tmp_path / "outbox.db", http=None)
        assert client._outbox is not None
        client._outbox.put("e1", b"{}")
        closing = asyncio.create_task(client.close(240_000))
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert client._http.is_closed
        assert client._outbox.oldest(1) == []

    asyncio.run(cancel())
    assert len(Outbox(tmp_path / "outbox.db")) == 1


def test_a_key_is_not_shown() -> None:
    with ac.Avalist(key="avk_secret") as client:
        assert "secret" not in repr(client)


def test_what_a_client_is_told_shows_all_but_its_key() -> None:
    told = Settings(key="av_live_secret", timeout_ms=77)
    assert "secret" not in f"{told!r} {told}"
    assert "timeout_ms=77" in repr(told)

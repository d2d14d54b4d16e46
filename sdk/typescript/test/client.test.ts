/** The client against a service that is played on loopback. */

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { inspect } from "node:util";

import * as avalist from "../src/index.js";
import { Avalist } from "../src/index.js";
import { type Asked, DECIDED, PAYMENT, Played, problem } from "./service.js";

const [UNAVAILABLE, LIMITED] = [problem(503, "unavailable"), problem(429, "rate-limited")];
let played: Played;
beforeEach(async () => {
  played = new Played();
  await played.start();
});
afterEach(() => played.stop());

test("a request says who asks and which contract it speaks", async () => {
  assert.equal((await played.decide({ serviceDeadlineMs: 40 })).local, false);
  const [{ path, headers }] = played.asked as [Asked];
  assert.equal(path, "/v1/decisions");
  assert.deepEqual(
    [headers.authorization, headers["avalist-version"], headers["avalist-deadline-ms"], headers["user-agent"]],
    ["Bearer k", avalist.CONTRACT, "40", `avalist-client-typescript/${avalist.VERSION}`],
  );
});

for (const trouble of [UNAVAILABLE, LIMITED, { status: 502, body: "<h1>Bad gateway</h1>" }]) {
  test(`a retry after ${trouble.status} sends the same bytes`, async () => {
    played.answers = [trouble, trouble, { body: DECIDED }];
    assert.equal((await played.decide()).action, "challenge");
    assert.equal(played.asked.length, 3);
    assert.equal(new Set(played.bodies).size, 1);
    assert.match(played.bodies[0] ?? "", /"event_id":"pre_auth:p1"/);
  });
}

test("the deadline holds, and the fallback answers", async () => {
  played.answers = [{ body: DECIDED, afterMs: 600_000 }];
  const decision = await played.decide({ timeoutMs: 100 });
  const { action, degraded, durable, local, why } = decision;
  assert.deepEqual({ action, degraded, durable, local }, { action: "approve", degraded: true, durable: false, local: true });
  assert.match(why, /no answer within/);
  assert.match(played.warned[0] ?? "", /p1 is decided locally/);
});

test("a wait longer than the deadline is not waited for", async () => {
  played.answers = [problem(429, "rate-limited", { "retry-after": "600" })];
  assert.equal((await played.decide()).local, true);
  assert.equal(played.bodies.filter((body) => !body.startsWith("[")).length, 1);
});

test("the service says how long to wait", async () => {
  played.answers = [problem(429, "rate-limited", { ratelimit: '"key";r=0;t=1' }), { body: DECIDED }];
  const began = performance.now();
  assert.equal((await played.decide()).local, false);
  assert.ok(performance.now() - began >= 990);
});

test("the fallback is the merchant's policy, and by default a person looks", async () => {
  await played.stop();
  const actions = [{}, { amount_minor: 3001 }, { currency: "JPY" }].map((changes) => played.decide({}, changes));
  assert.deepEqual((await Promise.all(actions)).map(({ action }) => action), ["approve", "decline", "decline"]);
  assert.equal((await played.decide({ fallback: {} })).action, "review");
});

test("in shadow mode the fallback decides nothing", async () => {
  played.answers = [{ body: { ...DECIDED, mode: "observe", action: "not_reviewed" } }];
  const client = played.client();
  await client.decide(PAYMENT);
  await played.stop();
  assert.equal((await client.decide(PAYMENT)).action, "not_reviewed");
});

test("without a fallback the trouble is thrown", async () => {
  await played.stop();
  await assert.rejects(played.decide({ fallback: null }), avalist.Unreachable);
});

for (const body of ["<html>log in to the network</html>", "null", "{}"]) {
  test(`nonsense is no decision: ${body}`, async () => {
    played.answers = [{ body }];
    assert.match((await played.decide()).why, /not from Avalist/);
  });
}

for (const [status, name, kind] of [
  [422, "bad-input", avalist.BadInput],
  [422, "card-number-refused", avalist.CardNumberRefused],
  [422, "unknown-currency", avalist.UnknownCurrency],
  [422, "clock-went-back", avalist.ClockWentBack],
  [400, "unknown-version", avalist.UnknownVersion],
  [401, "not-authenticated", avalist.NotAuthenticated],
  [403, "not-allowed", avalist.NotAllowed],
  [409, "conflict", avalist.Conflict],
] as const) {
  test(`a problem has its exception: ${name}`, async () => {
    played.answers = [problem(status, name)];
    await assert.rejects(played.decide(), (error) => {
      assert.ok(error instanceof kind);
      assert.equal(error.name, kind.name);
      assert.deepEqual([error.status, error.field, error.expected, error.got], [status, "$.x", "a", "b"]);
      return true;
    });
    assert.equal(played.asked.length, 1);
  });
}

test("a payment that was answered locally and sent since is answered so again", async () => {
  played.answers = [problem(404, "not-found")];
  assert.equal((await played.decide()).local, true);
  await assert.rejects(played.decide({}, { checkpoint: "rescore" }), avalist.NotFound);
});

test("event ids are the payment's; a rescore has a fresh one", async () => {
  const client = played.client();
  for (const checkpoint of ["post_auth", "rescore", "rescore"] as const) await client.decide({ ...PAYMENT, checkpoint });
  await client.decide({ ...PAYMENT, payment_id: "x".repeat(128) });
  const ids = played.bodies.map((body) => (JSON.parse(body) as { event_id: string }).event_id);
  assert.equal(ids[0], "post_auth:p1");
  assert.notEqual(ids[1], ids[2]);
  assert.match(ids[3] ?? "", /^pre_auth:[0-9a-f]{64}$/);
  await assert.rejects(client.decide({ ...PAYMENT, event_id: "e" }), /occurred_at/);
});

test("what is undefined is not given", async () => {
  const nothing = { event_id: undefined, occurred_at: undefined } as object;
  const client = played.client();
  played.answers = [{ body: DECIDED }, { body: { recorded: 1, errors: [] } }];
  await client.decide({ ...PAYMENT, ...nothing });
  await client.record({ type: "capture", payment_id: "p1", ...nothing });
  const [payment, events] = played.bodies.map((body) => JSON.parse(body) as Record<string, unknown>);
  assert.equal(payment?.["event_id"], "pre_auth:p1");
  for (const sent of [payment, (events as unknown as Record<string, unknown>[])[0]]) {
    assert.ok(typeof sent?.["event_id"] === "string" && typeof sent["occurred_at"] === "string");
  }
});

test("what is no amount is not approved locally", async () => {
  await played.stop();
  const wrong = [{ amount_minor: "5" }, { amount_minor: NaN }, { amount_minor: -1 }];
  const answers = await Promise.all(wrong.map((changes) => played.decide({}, changes)));
  assert.deepEqual(answers.map(({ action }) => action), ["decline", "decline", "decline"]);
});

test("events go where their scope is enough", async () => {
  played.answers = [{ body: { recorded: 1, errors: [] } }];
  const client = played.client();
  await client.record({ type: "capture", payment_id: "p1" });
  await client.record({ type: "login", customer: { id: "c1" } }, { type: "capture", payment_id: "p1" });
  assert.deepEqual(played.asked.map(({ path }) => path), ["/v1/outcomes", "/v1/events"]);
  assert.equal((await client.record()).recorded, 0);
});

test("what was answered locally is sent when the service is back", async () => {
  const client = played.client();
  await played.stop();
  assert.equal((await client.decide({ ...PAYMENT, ip: "192.0.2.7" })).local, true);
  played.answers = [{ body: { recorded: 1, errors: [] } }];
  await played.start();
  assert.equal(await client.flush(120_000), 0);
  const [sent] = JSON.parse(played.bodies.at(-1) ?? "[]") as Record<string, unknown>[];
  assert.deepEqual([sent?.["type"], sent?.["event_id"], sent?.["ip"]], ["payment", "pre_auth:p1", "192.0.2.7"]);
});

test("one bad event does not keep the others", async () => {
  const client = played.client({ attempts: 1, timeoutMs: 100 });
  await played.stop();
  for (const payment_id of ["a", "b"]) await client.decide({ ...PAYMENT, payment_id });
  await client.close(0);
  played.answers = [problem(422, "bad-input"), problem(422, "bad-input"), { body: { recorded: 1, errors: [] } }];
  await played.start();
  assert.equal(await client.flush(120_000), 0);
  assert.ok(played.warned.some((message) => /is dropped/.test(message)));
});

test("a full outbox drops the oldest", async () => {
  const client = played.client({ outboxLimit: 2, timeoutMs: 50 });
  await played.stop();
  for (const payment_id of ["a", "b", "c"]) await client.decide({ ...PAYMENT, payment_id });
  assert.equal(client.waiting, 2);
  assert.ok(played.warned.some((message) => /pre_auth:a will never be sent/.test(message)));
});

test("options that make no sense are refused", () => {
  assert.throws(() => new Avalist({ key: "" }), /key/);
  assert.throws(() => new Avalist({ key: "k", url: "avalist.example" }), /url/);
  assert.throws(() => new Avalist({ key: undefined as unknown as string }), /key/);
  for (const timeoutMs of [0, -5, NaN, Infinity]) assert.throws(() => new Avalist({ key: "k", timeoutMs }), /timeoutMs/);
  assert.throws(() => new Avalist({ key: "k", attempts: 0 }), /attempts/);
  assert.throws(() => new Avalist({ key: "k", serviceDeadlineMs: 0 }), /serviceDeadlineMs/);
  assert.throws(() => new Avalist({ key: "k", fallback: { approveUpToMinor: { EUR: NaN } } }), /EUR/);
  assert.throws(() => new Avalist({ key: "k", fallback: { beyond: "reject" as "decline" } }), /beyond/);
});

test("a client that is printed does not show its key", () => {
  const client = new Avalist({ key: "av_live_secret", url: "http://127.0.0.1:1" });
  assert.doesNotMatch(inspect(client, { showHidden: true, depth: 9 }) + JSON.stringify(client), /secret/);
});

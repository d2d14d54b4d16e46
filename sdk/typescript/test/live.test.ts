/** The client against the real service: AVALIST_TEST_URL and AVALIST_TEST_KEY, a sandbox key, say where it is. */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";

import { Avalist, NotFound, UnknownCurrency } from "../src/index.js";

const [url, key] = [process.env["AVALIST_TEST_URL"], process.env["AVALIST_TEST_KEY"]];
const skip = url === undefined || key === undefined ? "no service: set AVALIST_TEST_URL and AVALIST_TEST_KEY" : false;
const service = { key: key ?? "none", url: url ?? "http://127.0.0.1", warn: () => undefined };
const client = new Avalist({ ...service, timeoutMs: 120_000, serviceDeadlineMs: 10_000 });
const payment = (word: string) => ({ payment_id: `test_${word}-${randomUUID()}`, amount_minor: 5000, currency: "EUR" });

test("each branch of a caller can be tried", { skip }, async () => {
  for (const action of ["approve", "challenge", "review", "decline"]) {
    const decision = await client.decide(payment(action));
    assert.deepEqual([decision.action, decision.local, decision.durable], [action, false, true]);
  }
  const degraded = await client.decide(payment("degraded"));
  assert.deepEqual([degraded.degraded, degraded.local], [true, false]);
});

test("trouble is answered locally, and the payment is told later", { skip }, async () => {
  const client = new Avalist(service);
  for (const word of ["limited", "unavailable", "slow"]) {
    const asked = payment(word);
    assert.equal((await client.decide(asked)).local, true, word);
    assert.equal(await client.flush(10_000), 0);
    assert.equal((await client.record({ type: "capture", payment_id: asked.payment_id })).recorded, 1);
  }
});

test("an answer is found again, by its payment and by what it shares", { skip }, async () => {
  const asked = { ...payment("review"), customer: { id: `c-${randomUUID()}` } };
  const decision = await client.decide(asked);
  const stored = await client.get(asked.payment_id);
  assert.deepEqual([stored.decision.event_id, stored.decision.action], [decision.event_id, "review"]);
  const found = await client.lookup({ by: "customer_id", value: asked.customer.id });
  assert.deepEqual(found.decisions.map((each) => each.decision.payment_id), [asked.payment_id]);
  await assert.rejects(client.get("nobody"), NotFound);
});

test("a problem of the service names what to mend", { skip }, async () => {
  await assert.rejects(client.decide({ ...payment("x"), currency: "XYZ" }), (error) => {
    assert.ok(error instanceof UnknownCurrency);
    assert.equal(error.field, "$.currency");
    return true;
  });
});

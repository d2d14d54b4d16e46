/** The merchant's own answer when the service gives none in time. */

import type { Action, Decision, Payment } from "./types.js";

/**
 * What to answer without the service: approve up to an amount in the payment's own currency, else `beyond`
 * (`review` unless told otherwise). A currency that is not named has no such amount.
 */
export interface Fallback {
  approveUpToMinor?: Record<string, number>;
  beyond?: "review" | "decline";
}

/** The local answer to a payment. In a mode other than `live` it is `not_reviewed`, as the service's. */
export function fallBack(payment: Payment, fallback: Fallback, mode: Decision["mode"], why: string): Decision {
  return {
    payment_id: payment.payment_id,
    event_id: payment.event_id ?? "",
    checkpoint: payment.checkpoint ?? "pre_auth",
    action: mode === "live" ? action(payment, fallback) : "not_reviewed",
    seq: 0,
    engine: 0,
    mode,
    advised_action: null,
    p_fraud: null,
    risk_score: null,
    reasons: [],
    warnings: [],
    missing: [],
    expected_profit_minor: {},
    cover: "unrequested",
    model_version: "",
    policy_version: "",
    degraded: true,
    durable: false,
    generation: 0,
    propensity: 1,
    factors: [],
    review_deadline_s: null,
    review_default: null,
    local: true,
    why,
  };
}

function action(payment: Payment, { approveUpToMinor = {}, beyond = "review" }: Fallback): Action {
  const { amount_minor: amount, currency } = payment;
  const fits = Number.isSafeInteger(amount) && amount >= 0 && amount <= (approveUpToMinor[currency] ?? -1);
  return fits ? "approve" : beyond;
}

/** Check it when the client is made, for an outage is a bad time to learn of a slip. Throws `TypeError`. */
export function checkFallback(fallback: Fallback): void {
  const { approveUpToMinor = {}, beyond = "review" } = fallback;
  checkNumbers(approveUpToMinor, 0, Number.MAX_SAFE_INTEGER);
  if (!["review", "decline"].includes(beyond)) {
    throw new TypeError(`beyond: expected "review" or "decline", got ${beyond}`);
  }
}

/** Throw a `TypeError` for what is no whole number from `least` to `most`. */
export function checkNumbers(named: Record<string, number>, least: number, most: number): void {
  for (const [name, value] of Object.entries(named)) {
    if (!Number.isSafeInteger(value) || value < least || value > most) {
      throw new TypeError(`${name}: expected a whole number from ${least} to ${most}, got ${value}`);
    }
  }
}

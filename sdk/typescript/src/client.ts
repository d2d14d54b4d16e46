import { type AvalistError, NotFound, TryLater, Unreachable } from "./errors.js";
import { checkFallback, checkNumbers, type Fallback, fallBack } from "./fallback.js";
import { Outbox } from "./outbox.js";
import { call, CONTRACT, type Request, type Transport, VERSION } from "./transport.js";
import type { Checkpoint, Decision, Event, Found, Lookup, Payment, Recorded, StoredDecision } from "./types.js";

const OUTCOMES = new Set("authorisation_result capture void refund early_fraud_warning chargeback label review".split(" "));
const LONGEST_ID = 128;

export interface Options {
  /** What `avalist merchant key` printed. */
  key: string;
  /** Where the service is; `http://127.0.0.1:8321` unless told otherwise. */
  url?: string;
  /** The deadline of a decision as a whole: connecting, retries and all; 250 unless told otherwise. */
  timeoutMs?: number;
  /** The same for every other call; 10,000 unless told otherwise. */
  otherTimeoutMs?: number;
  /** How often a request is sent at most, always the same bytes, so that it counts once; 3 unless told otherwise. */
  attempts?: number;
  /** The answer where the service gives none in time: `review` unless told otherwise; `null`: throw instead. */
  fallback?: Fallback | null;
  /** How many payments that were answered locally wait in memory to be sent later; 10,000 unless told otherwise. */
  outboxLimit?: number;
  /** How long the service itself may take before its own fallback answers; the merchant's policy unless told. */
  serviceDeadlineMs?: number;
  /** Told of each local answer and of what can never be sent; `console.warn` unless told otherwise. */
  warn?: (message: string) => void;
  /** A `fetch` of yours. */
  fetch?: typeof fetch;
}

/** A client of one merchant. Make one for a process. */
export class Avalist {
  readonly #transport: Transport;
  readonly #options: Required<Pick<Options, "timeoutMs" | "otherTimeoutMs" | "fallback" | "warn">>;
  readonly #outbox: Outbox;
  #mode: Decision["mode"] = "live";

  constructor(options: Options) {
    const { timeoutMs = 250, otherTimeoutMs = 10_000, attempts = 3, outboxLimit = 10_000 } = options;
    const { fallback = {}, warn = (message) => console.warn(`avalist: ${message}`) } = options;
    const { serviceDeadlineMs = 1 } = options;
    if (typeof options.key !== "string" || !/^[!-~]+$/.test(options.key)) {
      throw new TypeError("key: expected the text that 'avalist merchant key' printed");
    }
    checkNumbers({ timeoutMs, otherTimeoutMs, attempts }, 1, 2 ** 31 - 1);
    checkNumbers({ outboxLimit }, 0, Number.MAX_SAFE_INTEGER);
    checkNumbers({ serviceDeadlineMs }, 1, 10_000);
    if (fallback !== null) checkFallback(fallback);
    this.#options = { timeoutMs, otherTimeoutMs, fallback, warn };
    this.#transport = {
      url: checkedUrl(options.url ?? "http://127.0.0.1:8321"),
      headers: headersOf(options),
      attempts,
      fetch: options.fetch ?? fetch,
    };
    const send = (body: string, within: number) => this.#call<Recorded>(post("/v1/events", body, "recorded"), within);
    this.#outbox = new Outbox(outboxLimit, send, warn);
  }

  /** How many payments that were answered locally wait to be sent. */
  get waiting(): number {
    return this.#outbox.size;
  }

  /**
   * Decide a payment before it is authorised. `event_id` and `occurred_at` are filled in; give the time, such as that
   * of the order, if you may ask again after a crash: the same payment said the same way gets the first answer.
   *
   * Throws a `Problem` if the service refuses the request. Trouble of the network never throws, unless `fallback` is
   * `null`.
   */
  async decide(fields: Payment): Promise<Decision> {
    const payment = await completePayment(fields);
    try {
      const request = post("/v1/decisions", JSON.stringify(payment), "action");
      const decision = await this.#call<Decision>(request, this.#options.timeoutMs);
      this.#mode = decision.mode;
      return { ...decision, local: false, why: "" };
    } catch (error) {
      const rescore = payment.checkpoint === "rescore";
      if (error instanceof Unreachable || error instanceof TryLater) {
        const decision = this.#fallBack(payment, error);
        if (!rescore) this.#outbox.put(decision.event_id, JSON.stringify({ type: "payment", ...payment }));
        return decision;
      }
      if (error instanceof NotFound && error.type !== "about:blank" && !rescore) {
        return this.#fallBack(payment, error); // it was answered so before, and sent since
      }
      throw error;
    }
  }

  /** A decision as first answered, with all that it was made from. Throws `NotFound`. */
  get(paymentId: string, checkpoint: Checkpoint = "pre_auth"): Promise<StoredDecision> {
    const path = `/v1/decisions/${encodeURIComponent(paymentId)}?checkpoint=${checkpoint}`;
    return this.#call({ method: "GET", path, expects: "decision" });
  }

  /** The decisions on payments that share an e-mail address, a card, an IP: newest first. */
  lookup(query: Lookup): Promise<Found> {
    return this.#call(post("/v1/lookup", JSON.stringify(query), "decisions"));
  }

  /**
   * Record events: outcomes, sign-ups, logins, payments of the past; at most 10,000 a call. What does not fit is named
   * in `errors`. Throws a `Problem` if none is recorded, `Unreachable` or `TryLater` if there is no answer in time.
   * Give each event an `event_id` of its own if you may send it again.
   */
  async record(...events: Event[]): Promise<Recorded> {
    if (!events.length) return { recorded: 0, errors: [] };
    const path = events.every(({ type }) => OUTCOMES.has(type)) ? "/v1/outcomes" : "/v1/events";
    const now = new Date().toISOString();
    const whole = events.map((event) => ({
      ...event,
      event_id: event.event_id ?? crypto.randomUUID(),
      occurred_at: event.occurred_at ?? now,
    }));
    return this.#call(post(path, JSON.stringify(whole), "recorded"));
  }

  /** Send what waits now; how many still do when all is sent or time is over. */
  async flush(timeoutMs = 1000): Promise<number> {
    await this.#outbox.deliver(timeoutMs);
    return this.waiting;
  }

  /** Send what waits, for so long at most, and stop. What still waits is lost: it is kept in memory alone. */
  async close(flushMs = 1000): Promise<number> {
    this.#outbox.close();
    return this.flush(flushMs);
  }

  #call<T>(request: Request, timeoutMs = this.#options.otherTimeoutMs): Promise<T> {
    return call(this.#transport, request, timeoutMs);
  }

  #fallBack(payment: Payment, error: AvalistError): Decision {
    const { fallback, warn } = this.#options;
    if (fallback === null) throw error;
    warn(`payment ${payment.payment_id} is decided locally: ${error.message}`);
    return fallBack(payment, fallback, this.#mode, error.message);
  }
}

/**
 * A payment with its event id and time. The id is made of the payment's, so that whoever asks again names the same
 * event; a `rescore` may be asked for many times and gets a fresh one.
 */
async function completePayment(fields: Payment): Promise<Payment> {
  if (fields.event_id != null && fields.occurred_at == null) {
    throw new TypeError("occurred_at: expected a time along with event_id, for a retry must say the same");
  }
  const checkpoint = fields.checkpoint ?? "pre_auth";
  const of = checkpoint === "rescore" ? crypto.randomUUID() : fields.payment_id;
  let eventId = `${checkpoint}:${of}`;
  if ([...eventId].length > LONGEST_ID) eventId = `${checkpoint}:${await sha256(of)}`;
  return { ...fields, event_id: fields.event_id ?? eventId, occurred_at: fields.occurred_at ?? new Date().toISOString() };
}

async function sha256(text: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function post(path: string, body: string, expects: string): Request {
  return { method: "POST", path, body, expects };
}

function checkedUrl(url: string): string {
  if (!/^https?:\/\/./.test(url) || !URL.canParse(url)) {
    throw new TypeError(`url: expected http://host:port or https://host, got ${url}`);
  }
  return url.replace(/\/+$/, "");
}

function headersOf({ key, serviceDeadlineMs }: Options): Record<string, string> {
  const deadline = serviceDeadlineMs === undefined ? {} : { "Avalist-Deadline-Ms": String(serviceDeadlineMs) };
  return {
    Authorization: `Bearer ${key}`,
    "Avalist-Version": CONTRACT,
    "Content-Type": "application/json",
    "User-Agent": `avalist-client-typescript/${VERSION}`,
    ...deadline,
  };
}

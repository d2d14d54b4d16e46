/** Payments that were answered locally, in memory, until they are sent. */

import { AvalistError, NotAllowed, NotAuthenticated, Problem, TryLater, Unreachable } from "./errors.js";
import { pause, pauseBeforeMs } from "./transport.js";
import type { Recorded } from "./types.js";

const BATCH = 100;

/** Sends a batch of events, as JSON. */
export type Sender = (body: string, timeoutMs: number) => Promise<Recorded>;

/** A bounded queue of events. Beyond the limit the oldest are dropped. */
export class Outbox {
  readonly #events = new Map<string, string>();
  #delivering: Promise<void> | undefined;
  #closed = false;

  constructor(
    private readonly limit: number,
    private readonly send: Sender,
    private readonly warn: (message: string) => void,
  ) {}

  get size(): number {
    return this.#events.size;
  }

  /** Add an event, as JSON; one that waits already keeps its place. */
  put(eventId: string, body: string): void {
    if (!this.#events.has(eventId)) this.#events.set(eventId, body);
    for (const oldest of [...this.#events.keys()].slice(0, Math.max(this.size - this.limit, 0))) {
      this.#events.delete(oldest);
      this.warn(`the outbox is full: event ${oldest} will never be sent`);
    }
    this.#wake();
  }

  /** Send what waits, until nothing does or time is over. */
  async deliver(timeoutMs: number): Promise<void> {
    const until = performance.now() + timeoutMs;
    let [failures, most] = [0, BATCH];
    while (this.size && !(this.#closed && timeoutMs === Infinity)) {
      const batch = [...this.#events].slice(0, most);
      let pauseMs = 0;
      try {
        const body = `[${batch.map(([, event]) => event).join()}]`;
        const { errors = [] } = await this.send(body, Math.min(until - performance.now(), 10_000));
        for (const { event_id, problem } of errors) this.warn(`event ${event_id} is dropped: ${problem.detail}`);
        for (const [id] of batch) this.#events.delete(id);
        [failures, most] = [0, BATCH];
      } catch (error) {
        if (!(error instanceof AvalistError)) throw error;
        most = this.#undelivered(batch, error);
        pauseMs = pauseBeforeMs(++failures, error);
      }
      if (performance.now() + pauseMs >= until) return;
      if (pauseMs) await pause(pauseMs, { background: timeoutMs === Infinity });
    }
  }

  /** End the sending in the background. */
  close(): void {
    this.#closed = true;
  }

  #wake(): void {
    this.#delivering ??= this.deliver(Infinity).finally(() => {
      this.#delivering = undefined;
      if (this.size && !this.#closed) this.#wake();
    });
  }

  /** How many to send next. One bad event spoils a batch: it is found by sending them one by one. */
  #undelivered(batch: [string, string][], error: AvalistError): number {
    if (error instanceof Unreachable || error instanceof TryLater || !(error instanceof Problem)) return BATCH;
    const [only] = batch;
    if (batch.length === 1 && only) {
      this.#events.delete(only[0]);
      const waits = error instanceof NotAllowed || error instanceof NotAuthenticated;
      if (waits) this.#events.set(...only);
      this.warn(`a payment answered locally ${waits ? "waits" : "is dropped"}: ${error.message}`);
    }
    return 1;
  }
}

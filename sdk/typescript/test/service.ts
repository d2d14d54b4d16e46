/** A service that is played: it answers as told, and remembers what it was asked. */

import { createServer, type IncomingHttpHeaders, type Server } from "node:http";
import type { AddressInfo } from "node:net";

import { Avalist, type Decision, type Options } from "../src/index.js";

export interface Answer {
  status?: number;
  headers?: Record<string, string>;
  body?: unknown;
  afterMs?: number;
}

export interface Asked {
  path: string;
  headers: IncomingHttpHeaders;
  body: string;
}

export const DECIDED = {
  payment_id: "p1", event_id: "pre_auth:p1", checkpoint: "pre_auth", action: "challenge", seq: 7, engine: 2,
  mode: "live", p_fraud: 0.1,
}; // prettier-ignore
/** A busy machine is not what is tested. */
const PATIENT = { timeoutMs: 120_000 };
export const PAYMENT = { payment_id: "p1", amount_minor: 2500, currency: "EUR" };

export function problem(status: number, name: string, headers = {}): Answer {
  const body = { type: `/problems#${name}`, title: name, status, detail: "mend it", field: "$.x", expected: "a", got: "b" };
  return { status, headers, body };
}

export class Played {
  readonly asked: Asked[] = [];
  readonly warned: string[] = [];
  answers: Answer[] = [];
  #server: Server | undefined;
  #port = 0;

  async start(): Promise<void> {
    this.#server = createServer((request, response) => {
      let body = "";
      request.on("data", (part: Buffer) => (body += part.toString()));
      request.on("end", () => {
        this.asked.push({ path: request.url ?? "", headers: request.headers, body });
        const { status = 200, headers = {}, body: answer, afterMs = 0 } = this.#next();
        const text = typeof answer === "string" ? answer : JSON.stringify(answer);
        setTimeout(() => response.writeHead(status, headers).end(text), afterMs).unref();
      });
    });
    await new Promise<void>((resolve) => this.#server?.listen(this.#port, "127.0.0.1", resolve));
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    this.#server?.closeAllConnections();
    await new Promise((resolve) => this.#server?.close(resolve));
  }

  client(options: Partial<Options> = {}): Avalist {
    const fallback = { approveUpToMinor: { EUR: 3000 }, beyond: "decline" as const };
    const warn = (message: string) => void this.warned.push(message);
    return new Avalist({ key: "k", url: `http://127.0.0.1:${this.#port}`, fallback, warn, ...PATIENT, ...options });
  }

  async decide(options: Partial<Options> = {}, changes = {}): Promise<Decision> {
    return this.client(options).decide({ ...PAYMENT, ...changes });
  }

  get bodies(): string[] {
    return this.asked.map(({ body }) => body);
  }

  #next(): Answer {
    return (this.answers.length > 1 ? this.answers.shift() : this.answers[0]) ?? { body: DECIDED };
  }
}

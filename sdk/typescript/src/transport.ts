/** One call: a request, sent again where that may help and time is left. */

import { type AvalistError, errorOf, TryLater, Unreachable } from "./errors.js";

export const VERSION = "0.1.0";
export const CONTRACT = "2026-11-25";

const FIRST_PAUSE_MS = 25;
const LONGEST_PAUSE_MS = 5_000;

export interface Request {
  method: "GET" | "POST";
  path: string;
  body?: string;
  /** A field that a good answer has: what lacks it does not come from the service. */
  expects: string;
}

export interface Transport {
  url: string;
  headers: Record<string, string>;
  attempts: number;
  fetch: typeof fetch;
}

/** The good answer's body. Throws what went wrong in the last attempt; nothing takes longer than `timeoutMs`. */
export async function call<T>(transport: Transport, request: Request, timeoutMs: number): Promise<T> {
  const until = performance.now() + timeoutMs;
  for (let attempt = 1; ; attempt++) {
    try {
      return await send<T>(transport, request, Math.max(until - performance.now(), 1));
    } catch (error) {
      if (!(error instanceof Unreachable || error instanceof TryLater)) throw error;
      const pauseMs = pauseBeforeMs(attempt, error);
      if (attempt >= transport.attempts || performance.now() + pauseMs >= until) throw error;
      await pause(pauseMs);
    }
  }
}

/** How long to wait before sending again: what the service says, else longer and longer, with jitter. */
export function pauseBeforeMs(attempt: number, error: AvalistError): number {
  if (error instanceof TryLater && error.retryAfterMs !== undefined) return error.retryAfterMs;
  const most = Math.min(FIRST_PAUSE_MS * 2 ** Math.min(attempt - 1, 20), LONGEST_PAUSE_MS);
  return most * (0.5 + Math.random() / 2);
}

/** Wait. What waits in the background does not keep the process alive. */
export function pause(ms: number, { background = false } = {}): Promise<void> {
  return new Promise((resolve) => {
    const timer: unknown = setTimeout(resolve, ms);
    if (background) (timer as { unref?: () => void }).unref?.();
  });
}

async function send<T>(transport: Transport, request: Request, timeoutMs: number): Promise<T> {
  const [response, body] = await exchange(transport, request, timeoutMs);
  if (response.status !== 200) throw errorOf(response.status, response.headers, body);
  const answer = parsed(body);
  if (typeof answer === "object" && answer !== null && request.expects in answer) return answer as T;
  throw new Unreachable(`the answer is not from Avalist, check the address: ${body.slice(0, 200)}`);
}

function parsed(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}

async function exchange(transport: Transport, request: Request, timeoutMs: number): Promise<[Response, string]> {
  const { method, path, body = null } = request;
  const signal = AbortSignal.timeout(Math.ceil(timeoutMs));
  try {
    const { headers, url } = transport;
    const response = await transport.fetch(url + path, { method, headers, body, signal, redirect: "manual" });
    return [response, await response.text()];
  } catch (error) {
    if (signal.aborted) throw new Unreachable(`no answer within ${Math.round(timeoutMs)} ms`);
    throw new Unreachable(String((error instanceof Error && error.cause) || error));
  }
}

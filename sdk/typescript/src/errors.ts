/**
 * The error tree. Every error that this package throws on purpose is one of these.
 *
 *     AvalistError
 *     ├── Unreachable              nothing came back in time, or no sense
 *     └── Problem                  the service answered with a problem document
 *         ├── TryLater             429 or 5xx: the same request may be sent again
 *         │   ├── RateLimited
 *         │   └── Unavailable
 *         ├── BadInput             `field`, `expected` and `got` say what to mend
 *         │   ├── CardNumberRefused
 *         │   ├── UnknownCurrency
 *         │   ├── ClockWentBack
 *         │   └── UnknownVersion
 *         ├── NotAuthenticated     no key, or not a known one
 *         ├── NotAllowed           the key lacks the scope
 *         ├── NotFound
 *         └── Conflict             an id was used before with other content
 */

import type { ProblemDocument } from "./types.js";

export class AvalistError extends Error {
  override get name(): string {
    return this.constructor.name;
  }
}

/** Nothing came back in time, or something that is no answer of the service. */
export class Unreachable extends AvalistError {}

/** The service answered with a problem document: its parts are fields, empty where they do not apply. */
export class Problem extends AvalistError {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly field: string;
  readonly expected: string;
  readonly got: string;

  constructor(document: ProblemDocument) {
    const { type, title, status, detail, field = "", expected = "", got = "" } = document;
    super(`${status} ${title}: ${detail}${field && ` (field ${field})`}`);
    this.type = type;
    this.title = title;
    this.status = status;
    this.detail = detail;
    this.field = field;
    this.expected = expected;
    this.got = got;
  }
}

/** The service cannot answer now; the same request may be sent again, after `retryAfterMs` where it is known. */
export class TryLater extends Problem {
  retryAfterMs: number | undefined;
}

export class RateLimited extends TryLater {}
export class Unavailable extends TryLater {}
export class BadInput extends Problem {}
export class CardNumberRefused extends BadInput {}
export class UnknownCurrency extends BadInput {}
export class ClockWentBack extends BadInput {}
export class UnknownVersion extends BadInput {}
export class NotAuthenticated extends Problem {}
export class NotAllowed extends Problem {}
export class NotFound extends Problem {}
export class Conflict extends Problem {}

const BY_TYPE: Record<string, typeof Problem> = {
  "card-number-refused": CardNumberRefused,
  "unknown-currency": UnknownCurrency,
  "clock-went-back": ClockWentBack,
  "unknown-version": UnknownVersion,
};
const BY_STATUS: Record<number, typeof Problem> = {
  401: NotAuthenticated,
  403: NotAllowed,
  404: NotFound,
  409: Conflict,
  429: RateLimited,
};

/** The error that an answer other than 200 means. */
export function errorOf(status: number, headers: Headers, body: string): AvalistError {
  let document = problemIn(body);
  if (document === undefined) {
    const shown = body.slice(0, 200);
    if (status !== 429 && status < 500) {
      return new Unreachable(`the answer is not from Avalist, check the address: ${status} ${shown}`);
    }
    document = { type: "about:blank", title: "no problem document", status, detail: shown };
  }
  const slug = document.type.slice(document.type.lastIndexOf("#") + 1);
  const kind = BY_TYPE[slug] ?? BY_STATUS[status] ?? (status >= 500 ? Unavailable : BadInput);
  const error = new kind(document);
  if (error instanceof TryLater) error.retryAfterMs = toldToWaitMs(headers);
  return error;
}

/** The time that `Retry-After` or `RateLimit` tell to wait, if they do. */
export function toldToWaitMs(headers: Headers): number | undefined {
  const after = headers.get("retry-after") ?? "";
  if (/^[0-9]+$/.test(after)) return Number(after) * 1000;
  const again = /r=0\s*;\s*t=([0-9]+)/.exec(headers.get("ratelimit") ?? "");
  return again ? Number(again[1]) * 1000 : undefined;
}

function problemIn(body: string): ProblemDocument | undefined {
  try {
    const document: unknown = JSON.parse(body);
    const is = typeof document === "object" && document !== null && "type" in document && "status" in document;
    return is ? (document as ProblemDocument) : undefined;
  } catch {
    return undefined;
  }
}

/** Client of Avalist: decisions on payments with a deadline, safe retries and a local fallback. */

export { Avalist, type Options } from "./client.js";
export * from "./errors.js";
export type { Fallback } from "./fallback.js";
export { CONTRACT, VERSION } from "./transport.js";
export type * from "./types.js";
export type { components } from "./schema.js";

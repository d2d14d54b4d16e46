/** What is sent and what is answered, from the OpenAPI document's types in schema.ts. */

import type { components } from "./schema.js";

type Schemas = components["schemas"];

/** The client fills in the id and the time of an event where they are left out. */
type FilledIn<T> = T extends unknown
  ? Omit<T, "event_id" | "occurred_at"> & { event_id?: string; occurred_at?: string | Date }
  : never;

export type Payment = FilledIn<Schemas["DecisionRequest"]>;
export type Event = FilledIn<Schemas["AnyEvent"]>;
export type Action = Schemas["Action"];
export type Checkpoint = NonNullable<Payment["checkpoint"]>;
export type Lookup = Schemas["Lookup"];
export type Found = Schemas["Found"];
export type StoredDecision = Schemas["StoredDecision"];
export type Recorded = Required<Schemas["Recorded"]>;
export type ProblemDocument = Schemas["Problem"];

/**
 * A decision, of the service or of the local fallback. `local` is true for the fallback's: it is `degraded`, not
 * `durable`, and `why` says what went wrong.
 */
export type Decision = Required<Schemas["Decision"]> & { local: boolean; why: string };

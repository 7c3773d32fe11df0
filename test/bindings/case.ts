/** What a case finds in `env`: every target gives it bindings of these names, empty at the start. */
export interface CaseEnv {
  KV: KVNamespace;
  R2: R2Bucket;
  DB: D1Database;
  /** Its consumer is the suite's worker itself. */
  QUEUE: Queue;
}

/** Code that runs inside a worker and throws if a binding does not behave. */
export type Case = (env: CaseEnv) => Promise<void>;

/** Where the suite runs: Miniflare's own bindings, or a worker deployed to Mayfly. */
export type Target = "miniflare" | "mayfly";

/**
 * Cases that are known to fail on a target, by name, each with the reason that also stands in
 * docs/compatibility.md. They are run all the same, and must fail, so that no reason outlives itself.
 */
export type Differences = Record<string, { on: Target; why: string }>;

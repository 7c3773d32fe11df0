import type { Env } from "../env.ts";
import type { VersionTarget } from "../catalog/routing.ts";
import type { Isolate } from "../isolates/isolate.ts";
import { createIsolate, poolOf, type VersionPool } from "../isolates/pool.ts";
import { coldStart, countCall, refill, takeSpare } from "../isolates/spares.ts";
import type { Invocation } from "./record.ts";

/** An isolate that is the caller's to use once. */
export interface Acquired {
  isolate: Isolate;
  startKind: Invocation["startKind"];
  /** To be called when the isolate has answered, or failed to: other work may be done then. */
  started: () => void;
}

const nothing = (): void => undefined;

/**
 * An isolate for one invocation, as the version's isolation asks. `outlives` says that the
 * invocation may go on after its response in ways that the dispatcher cannot see; `captured`, of which
 * share of the others the prelude takes down what they write with `console`. Throws NoCapacityError.
 */
export function acquire(
  version: VersionTarget,
  outlives: boolean,
  env: Env,
  ctx: ExecutionContext,
  captured = 0,
): Acquired {
  const pool = poolOf(version);
  countCall(pool);
  return version.isolation === "shared"
    ? outlives
      ? acquireShared(pool, "tracked", 0, env, ctx)
      : acquireShared(pool, "shared", captured, env, ctx)
    : acquireOwn(pool, env, ctx);
}

function acquireShared(
  pool: VersionPool,
  kind: "shared" | "tracked",
  captured: number,
  env: Env,
  ctx: ExecutionContext,
): Acquired {
  const warm = pool[kind];
  if (warm?.captured === captured) return { isolate: warm, startKind: "warm", started: nothing };
  // One that was made for another setting gets no more, and is evicted when it has been idle.
  const isolate = createIsolate(pool.version, kind, env, ctx, captured);
  pool[kind] = isolate;
  return { isolate, startKind: "cold", started: nothing };
}

function acquireOwn(pool: VersionPool, env: Env, ctx: ExecutionContext): Acquired {
  const spare = takeSpare(pool);
  const started = (): void => refill(pool, env, ctx);
  if (spare) return { isolate: spare, startKind: "spare", started };
  const isolate = createIsolate(pool.version, "request", env, ctx);
  const done = coldStart();
  return {
    isolate,
    startKind: "cold",
    started: () => {
      done();
      started();
    },
  };
}

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
 * invocation may go on after its response in ways that the dispatcher cannot see.
 * Throws NoCapacityError.
 */
export function acquire(
  version: VersionTarget,
  outlives: boolean,
  env: Env,
  ctx: ExecutionContext,
): Acquired {
  const pool = poolOf(version);
  countCall(pool);
  return version.isolation === "shared"
    ? acquireShared(pool, outlives ? "tracked" : "shared", env, ctx)
    : acquireOwn(pool, env, ctx);
}

function acquireShared(
  pool: VersionPool,
  kind: "shared" | "tracked",
  env: Env,
  ctx: ExecutionContext,
): Acquired {
  const warm = pool[kind];
  if (warm) return { isolate: warm, startKind: "warm", started: nothing };
  const isolate = createIsolate(pool.version, kind, env, ctx);
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

import type { Env } from "../env.ts";
import type { Isolate } from "../isolates/isolate.ts";
import { workerOf } from "../isolates/pool.ts";
import type { Trace } from "../observe/traces/invocation-trace.ts";
import { nameFor } from "./method-name.ts";
import type { Invocation } from "./record.ts";
import { withWallTime } from "./wall-time.ts";

/** Which of a worker's entrypoints, and the props it is called with; the default one if empty. */
export interface Entrypoint {
  name?: string | undefined;
  props?: unknown;
  /** How many calls of workers led here; none if missing. */
  depth?: number;
  /** Begun already by whoever passes the call on. */
  trace?: Trace | undefined;
}

/** Gives the request to the worker's handler. Rejects with what it throws, or a WallTimeError. */
export function invokeFetch(
  isolate: Isolate,
  invocation: Invocation,
  entrypoint: Entrypoint,
  request: Request,
  env: Env,
  ctx: ExecutionContext,
): Promise<Response> {
  const worker = entrypointOf(isolate, entrypoint, env, ctx);
  return withWallTime(worker.fetch(request), invocation, isolate.version.wallTimeMs);
}

/** Calls a method of the worker's entrypoint. Rejects with what it throws, or a WallTimeError. */
export function invokeRpc(
  isolate: Isolate,
  invocation: Invocation,
  entrypoint: Entrypoint,
  method: string,
  args: unknown[],
  env: Env,
  ctx: ExecutionContext,
): Promise<unknown> {
  const worker = entrypointOf(isolate, entrypoint, env, ctx) as unknown as Record<
    string,
    (...args: unknown[]) => Promise<unknown>
  >;
  const name = isolate.kind === "tracked" ? nameFor(method, invocation.id) : method;
  const call = worker[name]?.(...args);
  return withWallTime(Promise.resolve(call), invocation, isolate.version.wallTimeMs);
}

function entrypointOf(
  isolate: Isolate,
  { name, props }: Entrypoint,
  env: Env,
  ctx: ExecutionContext,
): Fetcher {
  const worker = workerOf(isolate, env, ctx);
  return name || props !== undefined
    ? worker.getEntrypoint(name, { props })
    : worker.getEntrypoint();
}

import type { Env } from "../env.ts";
import type { Isolate } from "../isolates/isolate.ts";
import { workerOf } from "../isolates/pool.ts";

/** The worker has not begun its response within its wall time. */
export class WallTimeError extends Error {
  override readonly name = "WallTimeError";
}

/** Which of a worker's entrypoints, and the props it is called with; the default one if empty. */
export interface Entrypoint {
  name?: string | undefined;
  props?: unknown;
}

/** Gives the request to the worker's handler. Rejects with what it throws, or a WallTimeError. */
export function invokeFetch(
  isolate: Isolate,
  entrypoint: Entrypoint,
  request: Request,
  env: Env,
  ctx: ExecutionContext,
): Promise<Response> {
  const worker = entrypointOf(isolate, entrypoint, env, ctx);
  return withWallTime(worker.fetch(request), isolate.version.wallTimeMs);
}

/** Calls a method of the worker's entrypoint. Rejects with what it throws, or a WallTimeError. */
export function invokeRpc(
  isolate: Isolate,
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
  const call = worker[method]?.(...args);
  return withWallTime(Promise.resolve(call), isolate.version.wallTimeMs);
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

/** `promise`, unless it takes longer than `limitMs`: then a WallTimeError. */
export async function withWallTime<T>(promise: Promise<T>, limitMs: number): Promise<T> {
  let timer = 0;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new WallTimeError(`no response within ${limitMs} ms`)),
      limitMs,
    );
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

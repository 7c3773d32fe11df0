import type { Context } from "hono";
import type { Env } from "../env.ts";
import { log } from "../observe/log.ts";
import { executorsOf, lanesOf, type ExecutorRole } from "../roles/contract.ts";
import type { ControlEnv } from "./app.ts";

// One that stands still hears of it when it goes on; the change need not wait for that.
const WAIT_MS = 1_000;

/**
 * Makes the change of the catalog just committed visible to the next request, whichever executor
 * takes it. Never fails: an executor that cannot be reached is starting, and then remembers nothing.
 * `standing`: how many are known to stand still, for which nobody waits.
 */
export function invalidate(c: Context<ControlEnv>, standing = 0): Promise<void> {
  return tellExecutors(c.env, c.executionCtx as ExecutionContext, standing);
}

/** The same for a change that an object has made. */
export async function tellExecutors(
  env: Env,
  ctx: ExecutionContext | DurableObjectState,
  standing = 0,
): Promise<void> {
  const told = [
    ...executorsOf(env, ctx).map(tell),
    // One that is not there remembers nothing.
    ...lanesOf(env).map((lane) => lane.invalidate().catch(() => undefined)),
  ];
  ctx.waitUntil(Promise.all(told));
  await Promise.race([first(told.length - standing, told), scheduler.wait(WAIT_MS)]);
}

/** Resolves when so many of them have. */
function first(count: number, promises: Promise<unknown>[]): Promise<void> {
  let resolved = 0;
  return new Promise((resolve) => {
    for (const promise of promises) {
      void promise.then(() => {
        if (++resolved >= count) resolve();
      });
    }
  });
}

async function tell(executor: ExecutorRole): Promise<void> {
  try {
    await executor.invalidate();
  } catch (error) {
    log("warn", "invalidate_failed", { message: String(error) });
  }
}

import type { Env } from "../env.ts";
import { allSpansSent, sendSpans } from "../observe/traces/send.ts";
import { forgetRoutes } from "../pipeline/resolve.ts";
import { stopOverdue } from "../pipeline/wall-time.ts";
import { holdsInvocations, returnIdle } from "../usage/budgets/spend.ts";
import { shareCpu } from "../usage/cpu-share.ts";
import { allReported, report } from "../usage/report.ts";
import { forgetCode } from "./code-cache.ts";
import { collectGarbage } from "./collect-garbage.ts";
import { evictIdle, poolIsEmpty } from "./pool.ts";

const SWEEP_EVERY_MS = 500;
// A sweeper silent for so long went away with the request that it came with.
const SWEEPER_GONE_MS = 5_000;

let sweptAt = 0;

/**
 * Makes sure that somebody comes back to stop what takes too long, to evict idle isolates and to
 * report the last of what has been counted. Code may only run on behalf of a request, so it is a request's `waitUntil`.
 * When nothing is left to do it gives back all memory and ends, and nothing runs.
 */
export function keepSweeping(env: Env, ctx: ExecutionContext): void {
  const now = Date.now();
  if (now - sweptAt < SWEEPER_GONE_MS) return;
  sweptAt = now;
  ctx.waitUntil(sweep(env, ctx));
}

async function sweep(env: Env, ctx: ExecutionContext): Promise<void> {
  do {
    await scheduler.wait(SWEEP_EVERY_MS);
    sweptAt = Date.now();
    shareCpu();
    stopOverdue(sweptAt);
    evictIdle(sweptAt, env, ctx);
    returnIdle(sweptAt, env, ctx);
    await Promise.all([report(env, ctx), sendSpans(env, ctx)]);
  } while (!poolIsEmpty() || !allReported() || !allSpansSent() || holdsInvocations());
  forgetCode();
  forgetRoutes();
  collectGarbage();
  sweptAt = 0;
}

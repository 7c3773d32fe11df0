import type { Env } from "../env.ts";
import type { Invocation } from "../pipeline/record.ts";
import { cpuKnownUntil, shareCpu } from "../usage/cpu-share.ts";
import type { Observed } from "./observed.ts";
import { publish } from "./publish.ts";

const LOOK_EVERY_MS = 25;
/** The supervisor looks much more often, unless something is wrong. */
const PATIENCE_MS = 250;
/** Who looks went away with the request that it came with. */
const LOOKER_GONE_MS = 2_000;

interface Finished {
  invocation: Invocation;
  observed: Observed;
  endedAt: number;
}

// In the order in which they ended.
const finished: Finished[] = [];
let lookedAt = 0;

/** Publishes a finished invocation once it is known what CPU time it took, which is some milliseconds later. */
export function publishLater(
  invocation: Invocation,
  observed: Observed,
  env: Env,
  ctx: ExecutionContext,
): void {
  if (cpuKnownUntil() === 0) return publish(invocation, observed, env, ctx);
  const now = Date.now();
  finished.push({ invocation, observed, endedAt: now });
  if (now - lookedAt < LOOKER_GONE_MS) return;
  lookedAt = now;
  ctx.waitUntil(look(env, ctx));
}

async function look(env: Env, ctx: ExecutionContext): Promise<void> {
  while (finished.length > 0) {
    await scheduler.wait(LOOK_EVERY_MS);
    lookedAt = Date.now();
    shareCpu();
    publishUntil(Math.max(cpuKnownUntil(), lookedAt - PATIENCE_MS), env, ctx);
  }
  lookedAt = 0;
}

/** Publishes all that have ended by then, in milliseconds since 1970. */
export function publishUntil(time: number, env: Env, ctx: ExecutionContext): void {
  const later = finished.findIndex(({ endedAt }) => endedAt > time);
  const known = finished.splice(0, later < 0 ? finished.length : later);
  for (const { invocation, observed } of known) {
    // To the microsecond.
    invocation.cpuTimeMs = Math.round(invocation.cpuTimeMs * 1000) / 1000;
    publish(invocation, observed, env, ctx);
  }
}

/** Whether there are none. */
export const allPublished = (): boolean => finished.length === 0;

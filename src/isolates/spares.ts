/**
 * Isolates started ahead, so that an invocation in `request` mode need not wait for one.
 *
 * How many depends on how often the version is called; a version that was called once has none. One
 * is made at a time, with pauses, and none while a request waits for an isolate of its own: under a
 * load that is too much, spares would only take from the requests what they give back later.
 */
import type { Env } from "../env.ts";
import { histogram, timed } from "../observe/metrics/counters.ts";
import { cpuLimitOf } from "../pipeline/cpu-limit.ts";
import { land, takeOff } from "../pipeline/flight-recorder.ts";
import { cpuIsNobodys, shareCpu } from "../usage/cpu-share.ts";
import {
  CAGE_SOFT_LIMIT_BYTES,
  isolateCost,
  MAX_SPARES,
  REFILL_DUTY,
  SPARE_COVER_SECONDS,
} from "./budget.ts";
import { controlOf } from "./control.ts";
import type { Isolate } from "./isolate.ts";
import { cageBytes, createIsolate, evict, workerOf, type VersionPool } from "./pool.ts";

const RATE_WINDOW_MS = 1_000;

// Requests waiting for an isolate of their own to start.
let coldStarts = 0;
// When the refiller last did something: one that is silent for long went with its request.
let refilledAt = 0;
// Starting an isolate stops everything else for milliseconds: first the response must be out.
const REFILL_DELAY_MS = 2;
const REFILLER_GONE_MS = 5_000;
const startTimes = histogram("mayfly_isolate_start_duration_seconds");
// Versions that may lack spares, in the order in which they were called.
const wanting = new Set<VersionPool>();

/** Counts a call of the version, for the number of spares that it deserves. */
export function countCall(pool: VersionPool): void {
  const now = Date.now();
  const elapsed = now - pool.calledAt;
  // Exponential average: a call adds one, and what is older than the window fades.
  pool.rate = pool.rate * Math.exp(-elapsed / RATE_WINDOW_MS) + 1;
  pool.calledAt = now;
}

/** How many spares the version should have now. */
function target(pool: VersionPool): number {
  if (pool.sparesFail || pool.rate < 1.01) return 0;
  // Its turn may come long after its last call.
  if (Date.now() - pool.calledAt > RATE_WINDOW_MS) return 0;
  return Math.min(MAX_SPARES, 1 + Math.ceil(pool.rate * SPARE_COVER_SECONDS));
}

/** A started isolate, if one is in stock. */
export function takeSpare(pool: VersionPool): Isolate | undefined {
  return pool.spares.shift();
}

/** Tells that a request waits for an isolate of its own; the function returned says it has it. */
export function coldStart(): () => void {
  coldStarts++;
  let waiting = true;
  return () => {
    if (waiting) coldStarts--;
    waiting = false;
  };
}

/** Brings the version's stock up to what it should be, soon. */
export function refill(pool: VersionPool, env: Env, ctx: ExecutionContext): void {
  // At the edge an isolate may be somewhere else by the time it is needed, and costs money.
  if (env.MAYFLY_RUNTIME === "edge") return;
  if (pool.spares.length + pool.starting >= target(pool)) return;
  wanting.add(pool);
  if (Date.now() - refilledAt < REFILLER_GONE_MS) return;
  refilledAt = Date.now();
  ctx.waitUntil(refillAll(env, ctx).finally(() => (refilledAt = 0)));
}

async function refillAll(env: Env, ctx: ExecutionContext): Promise<void> {
  await scheduler.wait(REFILL_DELAY_MS);
  for (const pool of wanting) {
    wanting.delete(pool);
    while (pool.spares.length < target(pool)) {
      // One version's spares do not take the room of another's.
      const cost = isolateCost(pool.version.codeBytes);
      if (cageBytes() + cost > CAGE_SOFT_LIMIT_BYTES) return;
      const begun = Date.now();
      refilledAt = begun;
      if (!coldStarts) await startSpare(pool, env, ctx);
      const spent = Math.max(1, Date.now() - begun);
      await scheduler.wait(spent * (1 / REFILL_DUTY - 1));
    }
  }
}

async function startSpare(pool: VersionPool, env: Env, ctx: ExecutionContext): Promise<void> {
  const isolate = createIsolate(pool.version, "request", env, ctx);
  pool.starting++;
  takeOff(isolate, pool.version.scriptId, cpuLimitOf(pool.version, env));
  try {
    shareCpu();
    await timed(startTimes, controlOf(workerOf(isolate, env, ctx)).ready());
    cpuIsNobodys();
    pool.spares.push(isolate);
  } catch {
    // The request that starts one for itself will tell its caller and the log why.
    pool.sparesFail = true;
    evict(isolate, env, ctx);
  } finally {
    land(isolate);
    pool.starting--;
  }
}

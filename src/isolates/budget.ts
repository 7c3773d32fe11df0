/**
 * What isolates may cost. All isolates of a workerd process share one heap cage of 4 GB, and the
 * process aborts when it is full, so they are counted by what they take of the cage, which is more
 * than they take of memory.
 */
import { env } from "cloudflare:workers";
import type { Env } from "../env.ts";

const MiB = 1024 * 1024;

// Measured with isolates of a small worker, of 106 KB, of 1 MB and of 4.7 MB of code.
const BASE_COST_BYTES = 4 * MiB;
const COST_PER_CODE_BYTE = 9;

/** Estimate of an isolate's share of the heap cage, in bytes. */
export function isolateCost(codeBytes: number): number {
  return BASE_COST_BYTES + COST_PER_CODE_BYTE * codeBytes;
}

const { MAYFLY_MEMORY_MB } = env as Env;
/** What the supervisor lets this process have; the engine itself, and the network, need some of it. */
const memoryMb = Number(MAYFLY_MEMORY_MB || Infinity);
// An isolate's memory is some 0.6 of its share of the cage: what may be at work has room before the
// supervisor thinks that something eats memory.
const MOST_OF_MEMORY = 1.5;

/** Above this the least recently used idle isolates are evicted. */
export const CAGE_SOFT_LIMIT_BYTES = Math.min(1024, 0.6 * memoryMb) * MiB;
/** Above this no isolate is started: requests that need one get a 503. */
export const CAGE_HARD_LIMIT_BYTES = Math.min(2560, MOST_OF_MEMORY * memoryMb) * MiB;

/** An isolate without work for so long is evicted. Longer than `waitUntil` may last: 30 s. */
export const IDLE_SHARED_MS = 35_000;
/** Spares of a version that was not called for so long are evicted. */
export const IDLE_SPARE_MS = 10_000;
/** Most spares kept for one version. */
export const MAX_SPARES = 16;
/** Spares are kept for the calls of about so long, at the rate seen. */
export const SPARE_COVER_SECONDS = 0.15;
/** How long making a spare may take as a share of the time: the rest is left to requests. */
export const REFILL_DUTY = 0.75;
/** Calls of hosts and of other workers that an invocation may make, as on Cloudflare. */
export const MAX_SUBREQUESTS = 1_000;
/** Code of versions kept at hand for starting isolates, in bytes. */
export const MAX_CACHED_CODE_BYTES = 64 * MiB;

/**
 * The isolates of this process: which there are, which may be used, which must go.
 *
 * A version has at most one `shared` and one `tracked` isolate that take invocations, and any
 * number of `request` isolates: spares, started ahead, and those at work. Names given to the Worker
 * Loader are never used again, so a retired isolate cannot come back by accident.
 */
import type { VersionTarget } from "../catalog/routing.ts";
import type { Env } from "../env.ts";
import {
  CAGE_HARD_LIMIT_BYTES,
  CAGE_SOFT_LIMIT_BYTES,
  IDLE_SHARED_MS,
  IDLE_SPARE_MS,
  isolateCost,
  MAX_SUBREQUESTS,
} from "./budget.ts";
import { codeOf } from "./code-cache.ts";
import { controlOf, type ContextControl } from "./control.ts";
import { captureGrant, doublesOf, egressOf, toEnvironment } from "./environment.ts";
import { ISOLATE_KINDS, type Isolate, type IsolateKind } from "./isolate.ts";
import { inContext } from "./module-graph.ts";
import { countersBy } from "../observe/metrics/counters.ts";
import { tracing } from "../observe/traces/tracing.ts";
import { left } from "../pipeline/admit.ts";
import { cpuLimitOf } from "../pipeline/cpu-limit.ts";
import { land, linger } from "../pipeline/flight-recorder.ts";
import { record, type Invocation } from "../pipeline/record.ts";
import { cpuBegins, cpuEnds } from "../usage/cpu-share.ts";

/** What the pool knows of a version that was called lately. */
export interface VersionPool {
  readonly version: VersionTarget;
  shared: Isolate | undefined;
  tracked: Isolate | undefined;
  /** Started and unused, oldest first. */
  readonly spares: Isolate[];
  /** Spares being started. */
  starting: number;
  /** Calls per second, and when it was last worked out. */
  rate: number;
  calledAt: number;
  /** Set by the first failure to start one ahead: from then on its requests start their own. */
  sparesFail: boolean;
}

const isolates = new Map<string, Isolate>();
const versions = new Map<string, VersionPool>();
let costBytes = 0;
let nextNumber = 0;

const toKind = (kind: IsolateKind): { kind: string } => ({ kind });
const startedOf = countersBy("mayfly_isolates_started_total", toKind, ISOLATE_KINDS);
const evictedOf = countersBy("mayfly_isolates_evicted_total", toKind, ISOLATE_KINDS);

/** Sizes at this moment, for the metrics. */
export function poolSizes(): {
  isolates: number;
  spares: number;
  inFlight: number;
  costBytes: number;
} {
  let inFlight = 0;
  let spares = 0;
  for (const isolate of isolates.values()) inFlight += isolate.running.size;
  for (const pool of versions.values()) spares += pool.spares.length;
  return { isolates: isolates.size, spares, inFlight, costBytes };
}

/** Estimate of what all isolates take of the heap cage, in bytes. */
export function cageBytes(): number {
  return costBytes;
}

export function poolOf(version: VersionTarget): VersionPool {
  let pool = versions.get(version.versionId);
  if (!pool) {
    pool = {
      version,
      shared: undefined,
      tracked: undefined,
      spares: [],
      starting: 0,
      rate: 0,
      calledAt: 0,
      sparesFail: false,
    };
    versions.set(version.versionId, pool);
  }
  return pool;
}

/** Thrown when no isolate may be started because too many have work in flight. */
export class NoCapacityError extends Error {
  override readonly name = "NoCapacityError";
}

/** Enters a new isolate. It is started by its first use through `workerOf`. */
export function createIsolate(
  version: VersionTarget,
  kind: IsolateKind,
  env: Env,
  ctx: ExecutionContext,
  captured = 0,
): Isolate {
  const cost = isolateCost(version.codeBytes);
  if (costBytes + cost > CAGE_SOFT_LIMIT_BYTES) makeRoom(cost, env, ctx);
  if (costBytes + cost > CAGE_HARD_LIMIT_BYTES) {
    throw new NoCapacityError("Too many isolates are at work");
  }
  const isolate: Isolate = {
    name: `${version.versionId}/${kind}/${nameSuffix(kind, env)}`,
    kind,
    version,
    costBytes: cost,
    captured,
    running: new Set(),
    subrequestsLeft: 0,
    usedAt: Date.now(),
    retired: false,
  };
  isolates.set(isolate.name, isolate);
  if (kind === "shared") linger(isolate, version.scriptId, cpuLimitOf(version, env));
  costBytes += cost;
  startedOf(kind).value++;
  return isolate;
}

// At the edge the same worker under one name is one isolate wherever the platform runs, and is billed
// as one, so a shared isolate has the same name everywhere.
function nameSuffix(kind: IsolateKind, env: Env): string | number {
  if (env.MAYFLY_RUNTIME === "workerd") return nextNumber++;
  return kind === "request" ? crypto.randomUUID() : "edge";
}

/**
 * The isolate's worker. To be fetched anew by every request: a stub belongs to the request that got
 * it. Starts the isolate if it has not been.
 */
export function workerOf(isolate: Isolate, env: Env, ctx: ExecutionContext): WorkerStub {
  return env.LOADER.get(isolate.name, async () => {
    const { source, graph } = await codeOf(isolate.version.versionId, env, ctx);
    // Where there is one invocation, calls need not say which.
    const named = tracing !== undefined && isolate.kind !== "request";
    const code: WorkerLoaderWorkerCode = {
      ...(named || isolate.captured > 0 ? inContext(graph, named) : graph),
      env: {
        ...toEnvironment(source, isolate.name, ctx),
        ...(named && doublesOf(source, isolate.name, ctx)),
        ...(isolate.captured > 0 && captureGrant(isolate, ctx)),
      },
      globalOutbound: egressOf(source, isolate.name, ctx),
      // Cloudflare holds to it; on an own machine the supervisor does.
      ...(isolate.version.cpuMs !== undefined && { limits: { cpuMs: isolate.version.cpuMs } }),
    };
    return hasTail(isolate, env) ? { ...code, tails: [tailFor(isolate, ctx)] } : code;
  });
}

/**
 * Whether a tail tells when the isolate's invocations end. Not at the edge, where it would come to
 * any of the platform's own isolates, and where Cloudflare evicts what is idle.
 */
export function hasTail(isolate: Isolate, env: Env): boolean {
  return isolate.kind !== "shared" && env.MAYFLY_RUNTIME === "workerd";
}

type TailLoopback = (options: { props: { isolate: string } }) => Fetcher;

function tailFor(isolate: Isolate, ctx: ExecutionContext): Fetcher {
  const { InvocationTail } = ctx.exports as unknown as { InvocationTail: TailLoopback };
  return InvocationTail({ props: { isolate: isolate.name } });
}

export function findIsolate(name: string): Isolate | undefined {
  return isolates.get(name);
}

/** An invocation begins in the isolate. */
export function begin(invocation: Invocation, isolate: Isolate): void {
  isolate.running.add(invocation);
  cpuBegins(isolate, invocation.startedAt);
  isolate.subrequestsLeft = Math.min(
    isolate.subrequestsLeft + MAX_SUBREQUESTS,
    isolate.running.size * MAX_SUBREQUESTS,
  );
  isolate.usedAt = invocation.startedAt;
}

/** An invocation has ended, with all that it left to be done. Says so once, however often called. */
export function end(
  invocation: Invocation,
  isolate: Isolate,
  env: Env,
  ctx: ExecutionContext,
): void {
  if (!isolate.running.delete(invocation)) return;
  land(invocation);
  // Requests in a shared isolate have left when their responses began.
  if (isolate.kind !== "shared") left(invocation.accountId, isolate.version);
  isolate.usedAt = Date.now();
  invocation.wallTimeMs = isolate.usedAt - invocation.startedAt;
  cpuEnds(invocation, isolate, isolate.usedAt, hasTail(isolate, env));
  if (!recorded?.has(invocation)) record(invocation, env, ctx);
  if (isolate.running.size === 0 && (isolate.retired || isolate.kind === "request")) {
    evict(isolate, env, ctx);
  }
}

// What has been recorded before its end.
let recorded: WeakSet<Invocation> | undefined;

/** Records what is in flight as if it ended now: this process ends with it. */
export function recordRunning(env: Env, ctx: ExecutionContext): void {
  recorded ??= new WeakSet();
  const now = Date.now();
  for (const { running } of isolates.values()) {
    for (const invocation of running) {
      invocation.wallTimeMs = now - invocation.startedAt;
      recorded.add(invocation);
      record(invocation, env, ctx);
    }
  }
}

/** Takes the isolate out of what its version's next invocations choose from. */
function withdraw(isolate: Isolate): void {
  const pool = versions.get(isolate.version.versionId);
  if (!pool) return;
  if (pool.shared === isolate) pool.shared = undefined;
  if (pool.tracked === isolate) pool.tracked = undefined;
  const at = pool.spares.indexOf(isolate);
  if (at >= 0) pool.spares.splice(at, 1);
}

/** Gives the isolate no further invocations and ends it when those in flight have ended. */
export function retire(isolate: Isolate, env: Env, ctx: ExecutionContext): void {
  isolate.retired = true;
  withdraw(isolate);
  if (isolate.running.size === 0) evict(isolate, env, ctx);
}

/** Ends the isolate now, whatever it does. Only for those that are over or must be stopped. */
export function evict(isolate: Isolate, env: Env, ctx: ExecutionContext): void {
  if (!isolates.delete(isolate.name)) return;
  for (const invocation of isolate.running) end(invocation, isolate, env, ctx);
  land(isolate);
  costBytes -= isolate.costBytes;
  evictedOf(isolate.kind).value++;
  withdraw(isolate);
  if (env.MAYFLY_RUNTIME === "edge") return;
  // An isolate that never started has nothing to end: asking it to would start it first, which
  // fails as it failed before, and that is all right.
  ctx.waitUntil(stop(isolate, env, ctx).catch(() => undefined));
}

// Tearing down an isolate stops everything else for a moment: first the response must be out.
const STOP_DELAY_MS = 4;
const SEND_ALL_WITHIN_MS = 1_000;

async function stop(isolate: Isolate, env: Env, ctx: ExecutionContext): Promise<void> {
  await scheduler.wait(STOP_DELAY_MS);
  if (isolate.captured > 0) await passOnLines(isolate, env, ctx);
  await controlOf(workerOf(isolate, env, ctx)).evict();
}

/** Has all isolates pass on what they have taken down. */
export async function passOnAllLines(env: Env, ctx: ExecutionContext): Promise<void> {
  const capturing = [...isolates.values()].filter(({ captured }) => captured > 0);
  await Promise.all(capturing.map((isolate) => passOnLines(isolate, env, ctx)));
}

async function passOnLines(isolate: Isolate, env: Env, ctx: ExecutionContext): Promise<void> {
  const worker = workerOf(isolate, env, ctx);
  const context = worker.getEntrypoint("MayflyContext") as unknown as ContextControl;
  // One that could not be started has none.
  const sent = context.sendAll().catch(() => undefined);
  await Promise.race([sent, scheduler.wait(SEND_ALL_WITHIN_MS)]);
}

/** Evicts what is idle for too long, and forgets versions that nobody calls. */
export function evictIdle(now: number, env: Env, ctx: ExecutionContext): void {
  for (const isolate of isolates.values()) {
    const limit = isolate.kind === "request" ? IDLE_SPARE_MS : IDLE_SHARED_MS;
    if (isolate.running.size > 0) continue;
    const pool = versions.get(isolate.version.versionId);
    const usedAt = isolate.kind === "request" ? (pool?.calledAt ?? 0) : isolate.usedAt;
    if (now - usedAt > limit) evict(isolate, env, ctx);
  }
  for (const [id, pool] of versions) {
    const empty = !pool.shared && !pool.tracked && pool.spares.length === 0 && !pool.starting;
    if (empty && now - pool.calledAt > IDLE_SHARED_MS) versions.delete(id);
  }
}

// What was used least recently goes first. Shared isolates that answered a moment ago
// may still have `waitUntil` work, so they stay.
function makeRoom(bytes: number, env: Env, ctx: ExecutionContext): void {
  const now = Date.now();
  const candidates = [...isolates.values()]
    .filter((isolate) => isolate.running.size === 0)
    .filter((isolate) => isolate.kind !== "shared" || now - isolate.usedAt > IDLE_SHARED_MS)
    .sort((a, b) => a.usedAt - b.usedAt);
  for (const isolate of candidates) {
    if (costBytes + bytes <= CAGE_SOFT_LIMIT_BYTES) return;
    evict(isolate, env, ctx);
  }
}

/** Whether anything is kept that the sweeper must come back for. */
export function poolIsEmpty(): boolean {
  return isolates.size === 0 && versions.size === 0;
}

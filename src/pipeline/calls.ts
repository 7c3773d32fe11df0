/**
 * The calls that workers make, of other workers and of hosts: how many one invocation may make, and how
 * long a chain of workers that call one another may get.
 *
 * Which invocation makes a call is known where an isolate has only one. In an isolate that serves many it
 * is known if the request carries the id of one, as requests that are passed on do. Otherwise a chain
 * counts from the least deep of those that run, so that honest ones are not cut; what then stops a loop is
 * how many requests of a script may be in flight (`admit.ts`).
 */
import type { Isolate } from "../isolates/isolate.ts";
import { findIsolate } from "../isolates/pool.ts";
import { INVOCATION_ID_HEADER } from "./headers.ts";
import type { Invocation } from "./record.ts";
import { cpuWaits } from "../usage/cpu-share.ts";
import { usageOf, type Usage } from "../usage/meter.ts";

/** How often workers may call one another in a chain, as on Cloudflare. */
const MAX_DEPTH = 16;

/** Workers that call one another went round too often. */
export class LoopLimitError extends Error {
  override readonly name = "LoopLimitError";
}

/** The isolate that calls, as its stubs' props say it. */
export interface Caller {
  accountId: string;
  scriptName: string;
  versionId: string;
  /** Name of the isolate. */
  isolate: string;
}

/** The platform itself, on an account's behalf: what it calls is nobody's usage. */
export const PLATFORM = { scriptName: "", versionId: "", isolate: "" } as const;

// How many workers called one another before; without an entry none did.
const depths = new WeakMap<Invocation, number>();

/** Enters how many calls of workers led to the invocation. */
export function enterDepth(invocation: Invocation, depth: number | undefined): void {
  if (depth) depths.set(invocation, depth);
}

/**
 * Counts a call that the isolate makes; throws in Cloudflare's words if its invocations may make no more.
 * At the edge, where the isolate may not be this process's, Cloudflare counts.
 */
export function countSubrequest(caller: Caller): void {
  if (caller.versionId === PLATFORM.versionId) return;
  usageOfCaller(caller).subrequests++;
  const isolate = findIsolate(caller.isolate);
  if (!isolate) return;
  if (isolate.subrequestsLeft <= 0) throw new Error("Too many subrequests.");
  isolate.subrequestsLeft--;
}

/** The isolate makes a call, and waits until it has the result. */
export function waitFor<T>(caller: Caller, result: T): T {
  const isolate = findIsolate(caller.isolate);
  return isolate ? cpuWaits(isolate, result) : result;
}

/**
 * Which of the isolate's invocations makes a call. Where there may be several it must be named by its id,
 * which counts only in its own isolate; undefined if it is not known.
 */
export function callingInvocation(
  { isolate: name }: Caller,
  id: string | null | undefined,
): Invocation | undefined {
  const isolate = findIsolate(name);
  if (!isolate) return undefined;
  for (const invocation of isolate.running) {
    if (isolate.kind === "request" || invocation.id === id) return invocation;
  }
  return undefined;
}

/**
 * Where what the isolate's invocations use is counted. Of several that run in it, it may be another one's:
 * they are of the same version, and nearly always of the same trigger.
 */
export function usageOfCaller(caller: Caller): Usage {
  for (const invocation of findIsolate(caller.isolate)?.running ?? []) return usageOf(invocation);
  return usageOf({ ...caller, trigger: "fetch" });
}

/**
 * The depth of a worker that the isolate calls, by the request if it is one. Throws a LoopLimitError if that
 * is too deep.
 */
export function nextDepth({ isolate: name }: Caller, request?: Request): number {
  const isolate = findIsolate(name);
  const depth = isolate ? depthOf(isolate, request) + 1 : 1;
  if (depth <= MAX_DEPTH) return depth;
  throw new LoopLimitError(`Worker hit loop limit: more than ${MAX_DEPTH} calls in a chain`);
}

function depthOf({ running }: Isolate, request: Request | undefined): number {
  const invocationId = request?.headers.get(INVOCATION_ID_HEADER);
  let least: number | undefined;
  for (const invocation of running) {
    const depth = depths.get(invocation) ?? 0;
    if (invocation.id === invocationId) return depth;
    if (least === undefined || depth < least) least = depth;
  }
  return least ?? 0;
}

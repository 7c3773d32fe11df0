/**
 * The calls that workers make, of other workers and of hosts: how many one invocation may make, and how
 * long a chain of workers that call one another may get.
 *
 * Which invocation makes a call is known where an isolate has only one. In an isolate that serves many it
 * is known if the request carries the id of one, as requests that are passed on do.
 */
import { MAX_IN_FLIGHT } from "./admit.ts";
import type { Isolate } from "../isolates/isolate.ts";
import { findIsolate } from "../isolates/pool.ts";
import { INVOCATION_ID_HEADER } from "./headers.ts";
import type { Invocation } from "./record.ts";

/** How often a worker may call itself or another one in a chain, as on Cloudflare. */
const MAX_DEPTH = 16;
/** What bounds a chain whose length is not known: calls of one script in flight in this process. */
const MAX_CALLS_IN_FLIGHT = MAX_IN_FLIGHT.shared;

/** Workers that call one another went round too often. */
export class LoopLimitError extends Error {
  override readonly name = "LoopLimitError";
}

/** The isolate that calls, as its stubs' props say it. */
export interface Caller {
  accountId: string;
  scriptName: string;
  /** Name of the isolate. */
  isolate: string;
}

// How many workers called one another before; without an entry none did.
const depths = new WeakMap<Invocation, number>();
// Calls of other workers in flight, by the account and the name of the script that calls.
const inFlight = new Map<string, number>();

/** Enters how many calls of workers led to the invocation. */
export function enterDepth(invocation: Invocation, depth: number | undefined): void {
  if (depth) depths.set(invocation, depth);
}

/**
 * Counts a call that the isolate makes; throws in Cloudflare's words if its invocations may make no more.
 * At the edge, where the isolate may not be this process's, Cloudflare counts.
 */
export function countSubrequest({ isolate: name }: Caller): void {
  const isolate = findIsolate(name);
  if (!isolate) return;
  if (isolate.subrequestsLeft <= 0) throw new Error("Too many subrequests.");
  isolate.subrequestsLeft--;
}

/**
 * Makes a call of another worker, which is given the depth that it is at. Throws a LoopLimitError if that is
 * too deep. `invocationId`: what the call says of the invocation that makes it.
 */
export async function callWorker<T>(
  caller: Caller,
  invocationId: string | null,
  call: (depth: number) => Promise<T>,
): Promise<T> {
  const isolate = findIsolate(caller.isolate);
  const depth = isolate ? depthOf(isolate, invocationId) + 1 : 1;
  if (depth > MAX_DEPTH) {
    throw new LoopLimitError(`Worker hit loop limit: more than ${MAX_DEPTH} calls in a chain`);
  }
  const script = `${caller.accountId}/${caller.scriptName}`;
  const count = inFlight.get(script) ?? 0;
  if (count >= MAX_CALLS_IN_FLIGHT) {
    throw new LoopLimitError(
      `Worker hit loop limit: more than ${MAX_CALLS_IN_FLIGHT} calls of one worker in flight`,
    );
  }
  inFlight.set(script, count + 1);
  try {
    return await call(depth);
  } finally {
    const left = (inFlight.get(script) ?? 1) - 1;
    if (left > 0) inFlight.set(script, left);
    else inFlight.delete(script);
  }
}

/** The invocation that a request says it was made by. */
export const callingInvocation = (request: Request): string | null =>
  request.headers.get(INVOCATION_ID_HEADER);

// Of several that it could be the least deep: honest chains must not be cut.
function depthOf({ running }: Isolate, invocationId: string | null): number {
  let least = MAX_DEPTH;
  for (const invocation of running) {
    const depth = depths.get(invocation) ?? 0;
    if (invocation.id === invocationId) return depth;
    if (depth < least) least = depth;
  }
  return running.size > 0 ? least : 0;
}

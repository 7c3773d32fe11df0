import { WorkerEntrypoint } from "cloudflare:workers";
import type { Env } from "../env.ts";
import type { Isolate } from "../isolates/isolate.ts";
import { end, findIsolate } from "../isolates/pool.ts";
import { INVOCATION_ID_HEADER } from "./headers.ts";
import type { Invocation, Outcome } from "./record.ts";
import { logFailure } from "../observe/log.ts";

/**
 * Told by the runtime when an invocation in an isolate is over: after the last byte of its body,
 * after its `waitUntil` work, after its WebSockets have closed.
 */
export class InvocationTail extends WorkerEntrypoint<Env, { isolate: string }> {
  override tail(items: TraceItem[]): void {
    const isolate = findIsolate(this.ctx.props.isolate);
    if (!isolate) return;
    for (const item of items) {
      // The platform's own calls into the isolate.
      if (item.entrypoint === "MayflyControl") continue;
      const invocation = runningOne(isolate, item);
      if (!invocation) continue;
      if (invocation.outcome === "ok") invocation.outcome = item.outcome as Outcome;
      const { observed } = invocation;
      if (observed) {
        observed.truncated = item.truncated;
        for (const { level, message, timestamp } of item.logs) {
          observed.logs.push({ level, message: message as unknown[], timestamp });
        }
      }
      for (const { name, message, stack } of item.exceptions) {
        logFailure(invocation, { name, message, mayflyStack: stack ?? "" });
      }
      end(invocation, isolate, this.env, this.ctx);
    }
  }
}

function runningOne(isolate: Isolate, item: TraceItem): Invocation | undefined {
  const id = idOf(item);
  if (id === undefined) return runningCall(isolate, item);
  for (const invocation of isolate.running) if (invocation.id === id) return invocation;
  return undefined;
}

// Requests carry their invocation's id, and what the platform calls for an event has it in its name.
function idOf({ event, entrypoint }: TraceItem): string | undefined {
  if (!event) return undefined;
  if ("request" in event) return event.request.headers[INVOCATION_ID_HEADER];
  return entrypoint === "MayflyEvents" && "rpcMethod" in event
    ? event.rpcMethod.split(" ")[1]
    : undefined;
}

// Calls of the user's methods do not say which they are. Of those of the same method it is one that began
// shortly before, and if it is told to have failed one that has; all that is told of it is told in one.
function runningCall(isolate: Isolate, item: TraceItem): Invocation | undefined {
  let best: Invocation | undefined;
  for (const invocation of isolate.running) {
    if (invocation.trigger !== "rpc" || !isOfMethod(invocation, item)) continue;
    if (!best || unlikeness(invocation, item) < unlikeness(best, item)) best = invocation;
  }
  return best;
}

function isOfMethod({ entrypoint, observed }: Invocation, item: TraceItem): boolean {
  const called = observed?.event;
  if (!called || !item.event || !("rpcMethod" in called) || !("rpcMethod" in item.event))
    return true;
  return (
    called.rpcMethod === item.event.rpcMethod &&
    (entrypoint ?? "default") === (item.entrypoint ?? "default")
  );
}

const OTHER_OUTCOME_MS = 0.5;

function unlikeness({ startedAt, outcome }: Invocation, item: TraceItem): number {
  const apart = Math.abs((item.eventTimestamp ?? 0) - startedAt);
  return outcome === item.outcome ? apart : apart + OTHER_OUTCOME_MS;
}

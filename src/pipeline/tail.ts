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
      for (const { level, message, timestamp } of invocation.observed ? item.logs : []) {
        invocation.observed?.logs.push({ level, message: message as unknown[], timestamp });
      }
      for (const { name, message, stack } of item.exceptions) {
        logFailure(invocation, { name, message, mayflyStack: stack ?? "" });
      }
      end(invocation, isolate, this.env, this.ctx);
    }
  }
}

// Requests carry their invocation's id. Calls do not, but one of them has ended, and for what the
// isolate still has to do it does not matter which.
function runningOne(isolate: Isolate, { event }: TraceItem): Invocation | undefined {
  const id = event && "request" in event ? event.request.headers[INVOCATION_ID_HEADER] : undefined;
  for (const invocation of isolate.running) {
    if (id ? invocation.id === id : invocation.trigger !== "fetch") return invocation;
  }
  return undefined;
}

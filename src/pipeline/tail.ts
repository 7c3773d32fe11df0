import { WorkerEntrypoint } from "cloudflare:workers";
import type { Env } from "../env.ts";
import type { Isolate } from "../isolates/isolate.ts";
import { end, findIsolate } from "../isolates/pool.ts";
import { INVOCATION_ID_HEADER } from "./headers.ts";
import { splitName } from "./method-name.ts";
import type { Invocation, Outcome } from "./record.ts";
import { logFailure } from "../observe/log.ts";
import { keepLateLines } from "../observe/logs/cut-off.ts";
import type { LogLine } from "../observe/observed.ts";

/**
 * Told by the runtime when an invocation in an isolate is over: after the last byte of its body,
 * after its `waitUntil` work, after its WebSockets have closed.
 */
export class InvocationTail extends WorkerEntrypoint<Env, { isolate: string }> {
  override tail(items: TraceItem[]): void {
    const { isolate: name } = this.ctx.props;
    const isolate = findIsolate(name);
    for (const item of items) {
      // The platform's own calls into the isolate.
      if (item.entrypoint === "MayflyControl") continue;
      const invocation = isolate && runningOne(isolate, item);
      if (!invocation) {
        keepLateLines(name, idOf(item), item.logs as LogLine[]);
        continue;
      }
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
  const id = isolate.kind === "tracked" ? idOf(item) : undefined;
  for (const invocation of isolate.running) {
    if (isolate.kind === "request" || invocation.id === id) return invocation;
  }
  return undefined;
}

// Requests carry their invocation's id, and calls in an isolate that works on several have it in their names.
function idOf({ event }: TraceItem): string | undefined {
  if (!event) return undefined;
  if ("request" in event) return event.request.headers[INVOCATION_ID_HEADER];
  return "rpcMethod" in event ? splitName(event.rpcMethod)?.id : undefined;
}

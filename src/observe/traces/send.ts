import type { Env } from "../../env.ts";
import { processId } from "../../pipeline/invocation-id.ts";
import { stateOf } from "../../roles/contract.ts";
import { log } from "../log.ts";
import { droppedWaiting } from "./counters.ts";
import { toKeyValues, toSpan, type EndedSpan, type Span } from "./span.ts";
import { tracing } from "./tracing.ts";

// At the latest after so long, or with so many spans, they are sent.
const SEND_EVERY_MS = 500;
const SEND_AT = 1_000;
// While state is away they wait, but not without bound: about half a kilobyte each.
const MAX_WAITING = 10_000;

let waiting: Span[] = [];
let dropped = 0;
let sentAt = 0;
let sending: Promise<void> | undefined;

/** Has the span exported, if its trace is recorded. */
export function keepSpan(ended: EndedSpan): void {
  if (!ended.context.sampled) return;
  if (waiting.length < MAX_WAITING) waiting.push(toSpan(ended));
  else drop(1);
}

function drop(count: number): void {
  dropped += count;
  droppedWaiting.value += count;
}

/** Sends the spans if it is time for that; to be called after `keepSpan`. */
export function sendSpansSoon(env: Env, ctx: ExecutionContext): void {
  if (waiting.length >= SEND_AT || Date.now() - sentAt > SEND_EVERY_MS) {
    ctx.waitUntil(sendSpans(env, ctx));
  }
}

/** Gives the spans to state, which alone reaches the collector; what fails is sent again the next time. */
export function sendSpans(env: Env, ctx: ExecutionContext): Promise<void> {
  if (waiting.length === 0) return Promise.resolve();
  return (sending ??= send(env, ctx).finally(() => (sending = undefined)));
}

/** Whether state has all. */
export const allSpansSent = (): boolean => waiting.length === 0;

async function send(env: Env, ctx: ExecutionContext): Promise<void> {
  sentAt = Date.now();
  const spans = waiting;
  waiting = [];
  try {
    await stateOf(env, ctx).exportSpans(toResourceSpans(spans), spans.length);
    if (dropped > 0) log("warn", "spans_dropped", { spans: dropped, reason: "state was away" });
    dropped = 0;
  } catch (error) {
    const room = Math.max(0, MAX_WAITING - waiting.length);
    drop(Math.max(0, spans.length - room));
    waiting = [...spans.slice(0, room), ...waiting];
    log("warn", "spans_delayed", { spans: waiting.length, dropped, message: String(error) });
  }
}

/** One member of a request's `resourceSpans`, as JSON. */
function toResourceSpans(spans: Span[]): string {
  const attributes = toKeyValues({
    "service.name": tracing?.serviceName,
    "service.instance.id": processId(),
    "cloud.platform": "mayfly",
  });
  return JSON.stringify({
    resource: { attributes },
    scopeSpans: [{ scope: { name: "mayfly" }, spans }],
  });
}

/**
 * The two spans of each invocation: one from when it was asked for until all of it is over, as whoever asked
 * sees it, and within it the time in the worker, which is the parent of the calls that the worker makes.
 */
import type { DeliveredBatch } from "../../bindings/queue/protocol.ts";
import type { Env } from "../../env.ts";
import type { Invocation, Trigger } from "../../pipeline/record.ts";
import type { ScheduledEvent } from "../../roles/events.ts";
import type { LoggedException } from "../observed.ts";
import { fromText, newSpanId, newTraceId, readContext, type TraceContext } from "./context.ts";
import { describeIncoming } from "./http.ts";
import { rememberLately } from "./lately.ts";
import { keepSpan, sendSpansSoon } from "./send.ts";
import type { Attributes, Kind } from "./span.ts";
import { tracing } from "./tracing.ts";

/** The place of an invocation in its trace; made when it is asked for. Can be passed to other processes. */
export interface Trace {
  /** The invocation's span. */
  context: TraceContext;
  /** The span of its time in the worker. */
  workerSpanId: string;
  /** The span of whoever asked for it. */
  parentId?: string;
  /** What else led to it. */
  links?: TraceContext[];
  /** Milliseconds since 1970. */
  startedAt: number;
  /** What is known of what caused it. */
  attributes: Attributes;
  exceptions: LoggedException[];
}

// The last digits of an id decide, so that all who see it with the same ratio decide alike.
const DIGITS = 12;

const isSampled = (traceId: string, ratio: number): boolean =>
  parseInt(traceId.slice(-DIGITS), 16) < ratio * 16 ** DIGITS;

/**
 * Begins the part of a trace that an invocation is. Whether it is recorded is decided by the parent, or by what
 * is linked, or by the ratio if there is neither. Undefined if no traces are made.
 */
export function beginTrace(parent?: TraceContext, links?: TraceContext[]): Trace | undefined {
  if (!tracing) return undefined;
  const traceId = parent?.traceId ?? newTraceId();
  const sampled =
    parent?.sampled ?? links?.some((link) => link.sampled) ?? isSampled(traceId, tracing.ratio);
  const { state } = parent ?? {};
  return {
    context: { traceId, spanId: newSpanId(), sampled, ...(state && { state }) },
    workerSpanId: newSpanId(),
    ...(parent && { parentId: parent.spanId }),
    ...(links && { links }),
    startedAt: Date.now(),
    attributes: {},
    exceptions: [],
  };
}

/** The same for a request, whose headers say the parent. */
export function beginRequestTrace(request: Request): Trace | undefined {
  const trace = beginTrace(readContext(request.headers));
  if (trace?.context.sampled) trace.attributes = describeIncoming(request);
  return trace;
}

/** The same for a call of a method. */
export function beginCallTrace(
  service: string,
  method: string,
  parent: TraceContext | undefined,
): Trace | undefined {
  const trace = beginTrace(parent);
  if (trace) trace.attributes = describeRpc(service, method);
  return trace;
}

/** https://opentelemetry.io/docs/specs/semconv/rpc/rpc-spans/ */
export const describeRpc = (service: string, method: string): Attributes => ({
  "rpc.system": "cloudflare-jsrpc",
  "rpc.service": service,
  "rpc.method": method,
});

/** The same for messages: one sender is the parent, several are linked. */
export function beginBatchTrace({ queueName, messages }: DeliveredBatch): Trace | undefined {
  if (!tracing) return undefined;
  const senders = new Map<string, TraceContext>();
  for (const { trace } of messages) {
    const context = trace === undefined ? undefined : fromText(trace);
    if (context) senders.set(context.spanId, context);
  }
  const [first, ...others] = senders.values();
  const trace =
    first && others.length > 0 ? beginTrace(undefined, [first, ...others]) : beginTrace(first);
  if (trace) {
    trace.attributes = {
      "messaging.system": "cloudflare-queues",
      "messaging.operation.type": "process",
      "messaging.operation.name": "process",
      "messaging.destination.name": queueName,
      "messaging.batch.message_count": messages.length,
    };
  }
  return trace;
}

/** The same for a cron slot. */
export function beginTimerTrace({ cron, scheduledTime }: ScheduledEvent): Trace | undefined {
  const trace = beginTrace();
  if (trace) {
    trace.attributes = { "faas.cron": cron, "faas.time": new Date(scheduledTime).toISOString() };
  }
  return trace;
}

/** What calls that the worker makes have as their parent. */
export const workerContext = ({ context, workerSpanId }: Trace): TraceContext => ({
  ...context,
  spanId: workerSpanId,
});

// https://opentelemetry.io/docs/specs/semconv/faas/faas-spans/#function-trigger-type
const TRIGGERS: Record<Trigger, string> = {
  fetch: "http",
  rpc: "other",
  scheduled: "timer",
  queue: "pubsub",
  tail: "other",
};

/** The invocation is over: its spans are ready. */
export function endTrace(
  trace: Trace,
  invocation: Invocation,
  env: Env,
  ctx: ExecutionContext,
): void {
  const { context, parentId, links, exceptions } = trace;
  rememberLately(invocation.id, invocation.versionId, workerContext(trace));
  if (!context.sampled) return;
  const { trigger, outcome, status, entrypoint, scriptName } = invocation;
  const endedAt = invocation.startedAt + invocation.wallTimeMs;
  const error = outcome === "ok" ? undefined : (exceptions.at(-1)?.message ?? outcome);
  const failed = outcome === "ok" ? undefined : (exceptions.at(-1)?.name ?? outcome);
  keepSpan({
    context: workerContext(trace),
    parentId: context.spanId,
    name: `${scriptName} ${trace.attributes["rpc.method"] ?? trigger}`,
    kind: "internal",
    startedAt: invocation.startedAt,
    endedAt,
    attributes: {
      "faas.name": scriptName,
      "faas.version": invocation.versionId,
      "faas.coldstart": invocation.startKind === "cold",
      "mayfly.isolate.start": invocation.startKind,
      "cloudflare.entrypoint": entrypoint,
      "cloudflare.outcome": outcome,
      "error.type": failed,
    },
    exceptions,
    error,
  });
  keepSpan({
    context,
    parentId,
    remoteParent: parentId !== undefined,
    name: nameOf(trace.attributes, invocation),
    kind: kindOf(trigger),
    startedAt: trace.startedAt,
    endedAt,
    attributes: {
      "faas.trigger": TRIGGERS[trigger],
      "faas.name": scriptName,
      "faas.version": invocation.versionId,
      "faas.invocation_id": invocation.id,
      "cloud.account.id": invocation.accountId,
      ...trace.attributes,
      "http.response.status_code": status ?? undefined,
      "error.type": failed ?? (isServerError(status) ? String(status) : undefined),
    },
    links,
    error: error ?? (isServerError(status) ? "" : undefined),
  });
  sendSpansSoon(env, ctx);
}

const isServerError = (status: number | null): boolean => status !== null && status >= 500;

/** As the conventions have it, with the script's name where they have a route. */
function nameOf(attributes: Attributes, { trigger, scriptName }: Invocation): string {
  switch (trigger) {
    case "fetch":
      return `${attributes["http.request.method"]} ${scriptName}`;
    case "rpc":
      return `${scriptName}/${attributes["rpc.method"]}`;
    case "queue":
      return `process ${attributes["messaging.destination.name"]}`;
    default:
      return scriptName;
  }
}

function kindOf(trigger: Trigger): Kind {
  if (trigger === "queue") return "consumer";
  return trigger === "fetch" || trigger === "rpc" ? "server" : "internal";
}

/** The spans of the calls that workers make: of bindings, of other workers, of hosts. */
import { callingInvocation, type Caller } from "../../pipeline/calls.ts";
import { INVOCATION_ID_HEADER } from "../../pipeline/headers.ts";
import { newSpanId, readContext, writeContext, type TraceContext } from "./context.ts";
import { describeOutgoing } from "./http.ts";
import { workerContext } from "./invocation-trace.ts";
import { lately } from "./lately.ts";
import { keepSpan } from "./send.ts";
import type { Attributes, Kind } from "./span.ts";

/** A call under way. */
export interface CallSpan {
  /** What whoever is called has as the parent. */
  context: TraceContext;
  /** Span of the time in the worker that calls. */
  parentId: string;
  attributes: Attributes;
  /** Why it counts as failed, if it does. */
  error?: string;
}

interface Call {
  caller: Caller;
  /** The invocation that makes it, if the isolate says so. */
  invocationId?: string | null | undefined;
  name: string;
  kind: Kind;
  attributes: Attributes;
}

/**
 * Makes the call within a span of its own. Where it is not known which invocation makes it, or it has no
 * trace, there is none.
 */
export async function traced<T>(
  { caller, invocationId, name, kind, attributes }: Call,
  make: (span: CallSpan | undefined) => Promise<T>,
): Promise<T> {
  const trace = callingInvocation(caller, invocationId)?.trace;
  const parent = trace ? workerContext(trace) : lately(invocationId, caller.versionId);
  if (!parent) return make(undefined);
  // A trace that is not recorded needs no further spans for others to hear that.
  const context = parent.sampled ? { ...parent, spanId: newSpanId() } : parent;
  const span: CallSpan = { context, parentId: parent.spanId, attributes };
  const startedAt = Date.now();
  try {
    return await make(span);
  } catch (error) {
    // Workers may throw anything.
    const { name: type, message } = Object(error) as Partial<Error>;
    attributes["error.type"] = type ?? "_OTHER";
    span.error = message ?? String(error);
    throw error;
  } finally {
    keepSpan({ ...span, name, kind, startedAt, endedAt: Date.now() });
  }
}

/**
 * The same for a request, which is told of its span by its headers, unless the worker has set `traceparent`
 * itself: then that counts.
 */
export function tracedFetch(
  caller: Caller,
  request: Request,
  send: (request: Request) => Promise<Response>,
): Promise<Response> {
  const invocationId = request.headers.get(INVOCATION_ID_HEADER);
  const attributes = describeOutgoing(request);
  const name = String(attributes["http.request.method"]);
  return traced({ caller, invocationId, name, kind: "client", attributes }, async (span) => {
    if (!span) return send(request);
    const outgoing = new Request(request);
    const given = readContext(request.headers);
    // What it was called with itself, and has only passed on, is not its own.
    if (!given || given.spanId === span.parentId) writeContext(outgoing.headers, span.context);
    const response = await send(outgoing);
    attributes["http.response.status_code"] = response.status;
    if (response.status >= 400) {
      attributes["error.type"] = String(response.status);
      span.error = "";
    }
    return response;
  });
}

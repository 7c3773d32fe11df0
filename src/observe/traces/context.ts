/** A span, as others are told of it: https://www.w3.org/TR/trace-context/ */
export interface TraceContext {
  /** 32 hex digits. */
  traceId: string;
  /** 16 hex digits. */
  spanId: string;
  /** Whether the spans of this trace are recorded; who begins a trace decides. */
  sampled: boolean;
  /** What other tracing systems have added as `tracestate`: passed on as it is. */
  state?: string;
}

const random = new BigUint64Array(1);

/** 16 hex digits, in the way that takes least time. */
export function newSpanId(): string {
  const [word = 0n] = crypto.getRandomValues(random);
  return word.toString(16).padStart(16, "0");
}

export const newTraceId = (): string => newSpanId() + newSpanId();

// Versions after the first may add something at the end.
const TRACEPARENT = /^([\da-f]{2})-([\da-f]{32})-([\da-f]{16})-([\da-f]{2})(-.*)?$/;
const SAMPLED = 1;

/** Undefined if the header is missing or not valid: then `tracestate` does not count either. */
export function parseContext(
  traceparent: string | null,
  state?: string | null,
): TraceContext | undefined {
  const [, version, traceId = "", spanId = "", flags = "", more] =
    TRACEPARENT.exec(traceparent ?? "") ?? [];
  if (!version || version === "ff" || (version === "00" && more !== undefined)) return undefined;
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined;
  const sampled = (parseInt(flags, 16) & SAMPLED) !== 0;
  return { traceId, spanId, sampled, ...(state && { state }) };
}

export const toTraceparent = ({ traceId, spanId, sampled }: TraceContext): string =>
  `00-${traceId}-${spanId}-${sampled ? "01" : "00"}`;

// As much as everybody must pass on.
const MAX_STATE_LENGTH = 512;

export function readContext(headers: Headers): TraceContext | undefined {
  const state = headers.get("tracestate");
  const passedOn = state && state.length <= MAX_STATE_LENGTH ? state : null;
  return parseContext(headers.get("traceparent"), passedOn);
}

/** Has whoever gets the headers continue the trace there. */
export function writeContext(headers: Headers, context: TraceContext): void {
  headers.set("traceparent", toTraceparent(context));
  if (context.state) headers.set("tracestate", context.state);
  else headers.delete("tracestate");
}

/** The context in one line, for where there are no headers. */
export const toText = (context: TraceContext): string =>
  context.state ? `${toTraceparent(context)} ${context.state}` : toTraceparent(context);

/** What `toText` has written. */
export function fromText(text: string): TraceContext | undefined {
  const space = text.indexOf(" ");
  return space < 0 ? parseContext(text) : parseContext(text.slice(0, space), text.slice(space + 1));
}

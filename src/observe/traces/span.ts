/** Spans as OTLP writes them in JSON: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding */
import type { LoggedException } from "../observed.ts";
import type { TraceContext } from "./context.ts";

/** https://opentelemetry.io/docs/specs/otel/trace/api/#spankind */
export const KIND = { internal: 1, server: 2, client: 3, producer: 4, consumer: 5 } as const;
export type Kind = keyof typeof KIND;

/** What is undefined is left out. Names: https://opentelemetry.io/docs/specs/semconv/ */
export type Attributes = Record<string, string | number | boolean | undefined>;

type Value =
  { stringValue: string } | { intValue: string } | { doubleValue: number } | { boolValue: boolean };
type KeyValue = { key: string; value: Value };

export interface Span {
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  traceState?: string;
  flags: number;
  name: string;
  kind: number;
  startTimeUnixNano: string;
  endTimeUnixNano: string;
  attributes: KeyValue[];
  events?: { timeUnixNano: string; name: string; attributes: KeyValue[] }[];
  links?: { traceId: string; spanId: string; traceState?: string; flags: number }[];
  status?: { code: number; message?: string };
}

/** A span that has ended. */
export interface EndedSpan {
  context: TraceContext;
  /** Missing: it begins the trace. */
  parentId?: string | undefined;
  /** Whether the parent is not this process's own. */
  remoteParent?: boolean;
  name: string;
  kind: Kind;
  /** Milliseconds since 1970, both: the runtime's clock has nothing finer. */
  startedAt: number;
  endedAt: number;
  attributes: Attributes;
  exceptions?: LoggedException[];
  links?: TraceContext[] | undefined;
  /** Why it counts as failed, which may be empty; undefined if it does not. */
  error?: string | undefined;
}

// What users' code can make long is cut, as no collector takes requests of any size.
const MAX_VALUE_LENGTH = 4_096;
const MAX_EXCEPTIONS = 16;

// Of `flags`: sampled, whether it is known where the parent is, and that it is elsewhere.
const SAMPLED = 0x001;
const PLACE_KNOWN = 0x100;
const REMOTE = 0x200;
const STATUS_ERROR = 2;

export function toSpan(ended: EndedSpan): Span {
  const { context, parentId, exceptions = [], links = [], error } = ended;
  return {
    traceId: context.traceId,
    spanId: context.spanId,
    ...(parentId !== undefined && { parentSpanId: parentId }),
    ...(context.state && { traceState: context.state }),
    flags: SAMPLED | PLACE_KNOWN | (ended.remoteParent ? REMOTE : 0),
    name: ended.name,
    kind: KIND[ended.kind],
    startTimeUnixNano: toNano(ended.startedAt),
    endTimeUnixNano: toNano(ended.endedAt),
    attributes: toKeyValues(ended.attributes),
    ...(exceptions.length > 0 && {
      events: exceptions.slice(0, MAX_EXCEPTIONS).map(({ name, message, stack, timestamp }) => ({
        timeUnixNano: toNano(timestamp),
        name: "exception",
        attributes: toKeyValues({
          "exception.type": name,
          "exception.message": message,
          "exception.stacktrace": stack,
        }),
      })),
    }),
    ...(links.length > 0 && {
      links: links.map(({ traceId, spanId, sampled, state }) => ({
        traceId,
        spanId,
        ...(state && { traceState: state }),
        flags: (sampled ? SAMPLED : 0) | PLACE_KNOWN | REMOTE,
      })),
    }),
    ...(error !== undefined && {
      status: { code: STATUS_ERROR, ...(error && { message: cut(error) }) },
    }),
  };
}

const cut = (text: string): string => text.slice(0, MAX_VALUE_LENGTH);

const toNano = (ms: number): string => `${Math.round(ms)}000000`;

export function toKeyValues(attributes: Attributes): KeyValue[] {
  return Object.entries(attributes).flatMap(([key, value]) =>
    value === undefined ? [] : [{ key, value: toValue(value) }],
  );
}

function toValue(value: string | number | boolean): Value {
  if (typeof value === "string") return { stringValue: cut(value) };
  if (typeof value === "boolean") return { boolValue: value };
  return Number.isInteger(value) ? { intValue: String(value) } : { doubleValue: value };
}

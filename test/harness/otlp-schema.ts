import { createRequire } from "node:module";

/** An attribute, as OTLP writes it in JSON. */
export interface KeyValue {
  key: string;
  value: {
    stringValue?: string;
    boolValue?: boolean;
    intValue?: string;
    doubleValue?: number;
  };
}

/** A span, as OTLP writes it in JSON. */
export interface WireSpan {
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  traceState?: string;
  flags?: number;
  name: string;
  kind: number;
  startTimeUnixNano: string;
  endTimeUnixNano: string;
  attributes?: KeyValue[];
  events?: { timeUnixNano: string; name: string; attributes?: KeyValue[] }[];
  links?: { traceId: string; spanId: string; attributes?: KeyValue[]; flags?: number }[];
  status?: { code?: number; message?: string };
}

export interface WireRequest {
  resourceSpans: {
    resource?: { attributes?: KeyValue[] };
    scopeSpans: { scope?: { name: string; version?: string }; spans: WireSpan[] }[];
  }[];
}

interface MessageType {
  fromObject(object: unknown): unknown;
  encode(message: unknown): { finish(): Uint8Array };
  decode(bytes: Uint8Array): unknown;
  toObject(message: unknown, options: Record<string, unknown>): unknown;
}

// Made from the protocol's own .proto files. It has types for TypeScript of nothing but its name.
const PROTOCOL = "@opentelemetry/otlp-transformer/build/src/generated/root.js";
const root = createRequire(import.meta.url)(PROTOCOL) as {
  opentelemetry: {
    proto: { collector: { trace: { v1: { ExportTraceServiceRequest: MessageType } } } };
  };
};
const { ExportTraceServiceRequest } = root.opentelemetry.proto.collector.trace.v1;

/**
 * What is wrong with an export of spans in JSON, by the protocol's own schema; undefined if nothing is. It is
 * written in protobuf and read again: what the schema does not know is lost on the way, and what has another
 * type comes back as another value.
 */
export function findViolation(request: unknown): string | undefined {
  const given = structuredClone(request);
  let readBack: unknown;
  try {
    const message = ExportTraceServiceRequest.fromObject(mapIds(given, fromHex));
    const bytes = ExportTraceServiceRequest.encode(message).finish();
    const object = ExportTraceServiceRequest.toObject(ExportTraceServiceRequest.decode(bytes), {
      longs: String,
    });
    readBack = mapIds(JSON.parse(JSON.stringify(object, asHex)), (id) => id);
  } catch (error) {
    return String(error);
  }
  return firstDifference(request, readBack, "request");
}

const ID_LENGTHS: Record<string, number> = { traceId: 32, spanId: 16, parentSpanId: 16 };

/** In JSON ids are hex, by an exception of the protocol from how JSON is made of protobuf. */
function mapIds(value: unknown, map: (id: string) => unknown): unknown {
  if (Array.isArray(value)) return value.map((member) => mapIds(member, map));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, member]) => {
      const length = ID_LENGTHS[key];
      if (length === undefined) return [key, mapIds(member, map)];
      if (typeof member !== "string" || !/^[\da-f]+$/.test(member) || member.length !== length) {
        throw new Error(`${key}: ${JSON.stringify(member)} is not ${length} hex digits`);
      }
      if (/^0+$/.test(member)) throw new Error(`${key}: is zero`);
      return [key, map(member)];
    }),
  );
}

const fromHex = (id: string): Uint8Array => Buffer.from(id, "hex");

function asHex(_key: string, value: unknown): unknown {
  const bytes = value as { type?: string; data?: number[] } | null;
  return bytes?.type === "Buffer" ? Buffer.from(bytes.data ?? []).toString("hex") : value;
}

function firstDifference(a: unknown, b: unknown, path: string): string | undefined {
  if (typeof a === "object" && typeof b === "object" && a !== null && b !== null) {
    const [left, right] = [a as Record<string, unknown>, b as Record<string, unknown>];
    for (const key of new Set([...Object.keys(left), ...Object.keys(right)])) {
      const found = firstDifference(left[key], right[key], `${path}.${key}`);
      if (found) return found;
    }
    return undefined;
  }
  if (a === b) return undefined;
  return `${path}: ${JSON.stringify(a)} is ${JSON.stringify(b)} to the protocol`;
}

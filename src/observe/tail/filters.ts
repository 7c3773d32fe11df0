import * as z from "zod";
import type { TraceData } from "./trace-item.ts";

/** How many filters a session may have: each is looked at for every invocation. */
const MAX_FILTERS = 50;

const text = z.string().min(1).max(1_000);
const texts = z.array(text).min(1).max(MAX_FILTERS);

/** Which invocations a session shows, as `wrangler tail` says it; of several members all must hold. */
export const tailFilter = z.strictObject({
  /** Share of the invocations, above 0 and up to 1. */
  sampling_rate: z.number().gt(0).max(1).exactOptional(),
  outcome: texts.exactOptional(),
  /** Methods of requests. */
  method: texts.exactOptional(),
  /** A header that a request has, and text that is in its value. */
  header: z
    .strictObject({ key: text, query: z.string().max(1_000).exactOptional() })
    .exactOptional(),
  /** Addresses of clients; `self` is whoever opens the session. */
  client_ip: texts.exactOptional(),
  /** Text in a line that the worker logged. */
  query: text.exactOptional(),
  /** Id of a version. */
  scriptVersion: text.exactOptional(),
});

export const tailFilters = z.array(tailFilter).max(MAX_FILTERS);

export type TailFilter = z.output<typeof tailFilter>;

/** Whether the invocation, of which nothing is redacted yet, passes all filters. */
export function passes(item: TraceData, filters: TailFilter[]): boolean {
  return filters.every((filter) => passesOne(item, filter));
}

function passesOne(item: TraceData, filter: TailFilter): boolean {
  const { sampling_rate, outcome, method, header, client_ip, query, scriptVersion } = filter;
  // Luck comes last: a share of what is asked for.
  return (
    (!outcome || outcome.includes(toStatus(item.outcome))) &&
    (!method || (isRequest(item) && method.some((one) => hasMethod(item, one)))) &&
    (!header || hasHeader(item, header.key, header.query)) &&
    (!client_ip || client_ip.includes(headerOf(item, "cf-connecting-ip") ?? "")) &&
    (query === undefined || item.logs.some(({ message }) => says(message, query))) &&
    (scriptVersion === undefined || item.scriptVersion.id === scriptVersion) &&
    (sampling_rate === undefined || Math.random() < sampling_rate)
  );
}

const KNOWN = new Set(["ok", "canceled", "exception", "exceededCpu", "exceededMemory"]);

// wrangler has a word for these, and `unknown` for all others.
function toStatus(outcome: string): string {
  if (outcome === "responseStreamDisconnected") return "canceled";
  return KNOWN.has(outcome) ? outcome : "unknown";
}

type RequestItem = TraceData & { event: { request: { method: string } } };

const isRequest = (item: TraceData): item is RequestItem =>
  item.event !== null && "request" in item.event;

const hasMethod = ({ event }: RequestItem, method: string): boolean =>
  event.request.method.toUpperCase() === method.toUpperCase();

function headerOf({ event }: TraceData, name: string): string | undefined {
  return event && "request" in event ? event.request.headers[name.toLowerCase()] : undefined;
}

function hasHeader(item: TraceData, key: string, query = ""): boolean {
  return headerOf(item, key)?.includes(query) ?? false;
}

const says = (message: unknown[], query: string): boolean =>
  message.some((part) => (typeof part === "string" ? part : JSON.stringify(part)).includes(query));

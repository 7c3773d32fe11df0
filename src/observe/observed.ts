import type { Keep } from "../catalog/routing.ts";

/** What caused an invocation, in the shape of Cloudflare's trace items. */
export type TraceEvent =
  | {
      request: { url: string; method: string; headers: Record<string, string>; cf?: unknown };
      response?: { status: number };
    }
  | { cron: string; scheduledTime: number }
  | { queue: string; batchSize: number }
  | { rpcMethod: string }
  | { consumedEvents: { scriptName: string | null }[] };

/** A line that a worker has written with `console`. */
export interface LogLine {
  level: string;
  message: unknown[];
  /** Milliseconds since 1970. */
  timestamp: number;
}

export interface LoggedException {
  name: string;
  message: string;
  stack?: string;
  /** Milliseconds since 1970. */
  timestamp: number;
}

/** What is written down of an invocation that somebody wants to see. */
export interface Observed {
  event: TraceEvent | undefined;
  logs: LogLine[];
  exceptions: LoggedException[];
  /** The runtime has left out some of the lines, which were too many. */
  truncated: boolean;
  /** Of the version. */
  tag: string | undefined;
  message: string | undefined;
  /** How it is kept when it has ended; undefined: not at all. */
  keep: Keep | undefined;
  /** Whether sessions of `wrangler tail` are told. */
  tailed: boolean;
  /** The account's scripts whose `tail()` handlers are told. */
  consumers: readonly string[];
}

/** The event that a request is, with as much of it as anybody is told. */
export function fetchEvent(request: Request, { tailed, consumers }: Observed): TraceEvent {
  const { url, method } = request;
  if (!tailed && consumers.length === 0) return { request: { url, method, headers: {} } };
  return { request: { url, method, headers: Object.fromEntries(request.headers), cf: request.cf } };
}

import type { Invocation } from "../../pipeline/record.ts";
import type { LoggedException, LogLine, Observed, TraceEvent } from "../observed.ts";

/** A finished invocation as `wrangler tail` prints it and as tail workers get it: Cloudflare's `TraceItem`. */
export interface TraceData {
  wallTime: number;
  cpuTime: number;
  truncated: boolean;
  executionModel: "stateless";
  outcome: string;
  scriptName: string;
  scriptVersion: { id: string; tag?: string; message?: string };
  entrypoint?: string;
  diagnosticsChannelEvents: [];
  exceptions: LoggedException[];
  logs: LogLine[];
  eventTimestamp: number;
  event: TraceEvent | null;
}

/** One as it is passed on. Nothing in it is redacted: that is for whoever shows it. */
export interface Traced {
  scriptName: string;
  /** A `TraceData`. */
  json: string;
}

/** What is known of a finished invocation. */
export function toTraceData(invocation: Invocation, observed: Observed): TraceData {
  const { scriptName, versionId, entrypoint, status } = invocation;
  const { event, logs, exceptions, tag, message } = observed;
  return {
    wallTime: invocation.wallTimeMs,
    cpuTime: Math.round(invocation.cpuTimeMs),
    truncated: observed.truncated,
    executionModel: "stateless",
    outcome: invocation.outcome,
    scriptName,
    scriptVersion: {
      id: versionId,
      ...(tag !== undefined && { tag }),
      ...(message !== undefined && { message }),
    },
    ...(entrypoint !== undefined && { entrypoint }),
    diagnosticsChannelEvents: [],
    exceptions,
    logs,
    eventTimestamp: invocation.startedAt,
    event:
      event && "request" in event && status !== null
        ? { ...event, response: { status } }
        : (event ?? null),
  };
}

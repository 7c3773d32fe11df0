/**
 * What of this process's invocations is to be kept, until it leaves with the next report. That an invocation
 * has ended and what it has written come apart, in any order; state puts them together by the id.
 */
import type { Keep } from "../../catalog/routing.ts";
import type { Invocation, Outcome } from "../../pipeline/record.ts";
import { counter } from "../metrics/counters.ts";
import type { Observed, TraceEvent } from "../observed.ts";
import { redactUrl } from "../tail/redact.ts";
import type { CapturedLine } from "./captured.ts";
import { invocationSize, lineSize } from "./disk-size.ts";
import { LEVELS, toExceptionLine, toStoredLine, type StoredLine } from "./line.ts";

/** Lines of an invocation, or its end, or both. */
export interface Kept extends Partial<Ended> {
  id: string;
  versionId: string;
  /** Without an end: when the first of the lines was written. */
  startedAt: number;
  lines: StoredLine[];
  /** The most severe of the lines by its place in `LEVELS`; a failed invocation is an error. */
  level: number;
  /** About what it takes on the disk. */
  bytes: number;
  truncated: boolean;
}

/** How an invocation has ended. */
export interface Ended extends Pick<
  Invocation,
  | "trigger"
  | "entrypoint"
  | "wallTimeMs"
  | "cpuTimeMs"
  | "startKind"
  | "outcome"
  | "status"
  | "requestBytes"
  | "responseBytes"
> {
  event: KeptEvent | undefined;
  /** Of no interest without lines. */
  linesOnly: boolean;
}

/** What caused an invocation, without headers, which may be secret. */
export type KeptEvent =
  { request: { method: string; url: string } } | Exclude<TraceEvent, { request: unknown }>;

// While state is away they wait, but not without bound; in characters of JSON.
const MAX_WAITING = 64 * 1024 * 1024;
/** With so many a report is sent at once. */
const MANY = 1024 * 1024;
/** In one report, which state stores at once, and which crosses to it in one message of 32 MiB. */
const MAX_REPORT = 4 * 1024 * 1024;

const ERROR = LEVELS.indexOf("error");
// The others are nobody's fault, or the caller's.
const isFailure = (outcome: Outcome): boolean => outcome !== "ok" && outcome !== "canceled";

interface Waiting {
  scriptId: string;
  json: string;
}

let waiting: Waiting[] = [];
// Ends of what is of no interest without lines: a report later than others, when its lines are known.
let heldBack: Waiting[] = [];
let length = 0;
// Lines since the last report that the prelude has taken down, by invocation.
let written = new Map<string, { scriptId: string; kept: Kept }>();
const keptCount = counter("mayfly_logs_kept_total");
const dropped = counter("mayfly_logs_dropped_total");

/** Has a finished invocation kept with what it has written. */
export function keep(invocation: Invocation, observed: Observed, settings: Keep): void {
  if (length > MAX_WAITING) {
    dropped.value++;
    return;
  }
  keptCount.value++;
  const { id, scriptId, versionId, startedAt, outcome } = invocation;
  const { linesOnly = false, withoutQuery = false } = settings;
  const event = observed.event && toKeptEvent(observed.event, withoutQuery);
  const kept: Kept = {
    id,
    versionId,
    startedAt,
    lines: [],
    level: isFailure(outcome) ? ERROR : 0,
    bytes: invocationSize(event && "request" in event ? event.request.url : ""),
    truncated: observed.truncated,
    trigger: invocation.trigger,
    entrypoint: invocation.entrypoint,
    wallTimeMs: invocation.wallTimeMs,
    cpuTimeMs: invocation.cpuTimeMs,
    startKind: invocation.startKind,
    outcome,
    status: invocation.status,
    requestBytes: invocation.requestBytes,
    responseBytes: invocation.responseBytes,
    event,
    linesOnly,
  };
  for (const { level, timestamp, message } of observed.logs) {
    append(kept, toStoredLine(level, timestamp, message));
  }
  for (const exception of observed.exceptions) append(kept, toExceptionLine(exception));
  const json = JSON.stringify(kept);
  length += json.length;
  (linesOnly && kept.lines.length === 0 ? heldBack : waiting).push({ scriptId, json });
}

/** Has a line kept that the prelude has taken down. */
export function keepLine(
  { scriptId, versionId }: Pick<Invocation, "scriptId" | "versionId">,
  line: CapturedLine,
): void {
  const [id, level, at, message, truncated] = line;
  let kept = written.get(id)?.kept;
  if (!kept) {
    if (length > MAX_WAITING) {
      dropped.value++;
      return;
    }
    kept = { id, versionId, startedAt: at, lines: [], level: 0, bytes: 0, truncated: false };
    written.set(id, { scriptId, kept });
  }
  const { bytes } = kept;
  append(kept, toStoredLine(level, at, message));
  length += kept.bytes - bytes;
  if (truncated) kept.truncated = true;
}

function append(kept: Kept, line: StoredLine): void {
  const [level, , , text] = line;
  kept.lines.push(line);
  kept.level = Math.max(kept.level, level);
  kept.bytes += lineSize(text);
}

function toKeptEvent(event: TraceEvent, withoutQuery: boolean): KeptEvent {
  if (!("request" in event)) return event;
  const { method, url } = event.request;
  const [path = ""] = withoutQuery ? url.split("?", 1) : [url];
  return { request: { method, url: redactUrl(path) } };
}

/** Whether a report should not wait any longer. */
export const hasMuchKept = (): boolean => length > MANY;

export const hasKept = (): boolean => waiting.length > 0 || heldBack.length > 0 || written.size > 0;

/**
 * The next of what is to be kept, by the script's id: the JSON of an array of `Kept`. What is too much for one
 * report stays for the one after it.
 */
export function takeKept(): Record<string, string> {
  for (const { scriptId, kept } of written.values()) {
    const json = JSON.stringify(kept);
    length += json.length - kept.bytes;
    waiting.push({ scriptId, json });
  }
  written = new Map();
  const parts = new Map<string, string[]>();
  let taken = 0;
  let count = 0;
  for (const { scriptId, json } of waiting) {
    if (taken > MAX_REPORT) break;
    const known = parts.get(scriptId);
    if (known) known.push(json);
    else parts.set(scriptId, [json]);
    taken += json.length;
    count++;
  }
  length -= taken;
  waiting = [...waiting.slice(count), ...heldBack];
  heldBack = [];
  return Object.fromEntries([...parts].map(([id, jsons]) => [id, `[${jsons.join(",")}]`]));
}

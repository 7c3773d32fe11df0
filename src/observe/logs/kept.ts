/**
 * What of this process's invocations is to be kept, until it leaves with the next report: finished ones, and
 * lines, which may come before their invocation's end and after it. State puts them together by the id.
 */
import type { Keep } from "../../catalog/routing.ts";
import type { Invocation, Outcome } from "../../pipeline/record.ts";
import { counter } from "../metrics/counters.ts";
import type { Observed, TraceEvent } from "../observed.ts";
import { redactUrl } from "../tail/redact.ts";
import type { CapturedLine } from "./captured.ts";
import { LEVELS, toExceptionLine, toStoredLine, type StoredLine } from "./line.ts";

/** What there is new of an invocation. */
export interface Kept {
  id: string;
  versionId: string;
  /** Until it has ended: when the first of the lines was written. */
  startedAt: number;
  lines: StoredLine[];
  /** The most severe of the lines by its place in `LEVELS`; a failed invocation is an error. */
  level: number;
  /** About what it takes on the disk. */
  bytes: number;
  truncated: boolean;
  /** Missing until it has ended. */
  ended?: Ended;
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
  /** It is of no interest without lines. */
  linesOnly: boolean;
}

/** What caused an invocation, without headers, which may be secret. */
export type KeptEvent =
  { request: { method: string; url: string } } | Exclude<TraceEvent, { request: unknown }>;

/** An invocation, as far as it is known before it has ended. */
interface Begun {
  scriptId: string;
  versionId: string;
  id: string;
}

// Measured: what a row takes on the disk beside its texts, with indexes.
const INVOCATION_BYTES = 300;
const LINE_BYTES = 40;
// While state is away they wait, but not without bound.
const MAX_PENDING_BYTES = 64 * 1024 * 1024;
/** With so many a report is sent at once. */
const MANY_BYTES = 1024 * 1024;
/** Characters of JSON in one report, which crosses between processes in one message of 32 MiB. */
const MAX_REPORT_LENGTH = 6 * 1024 * 1024;

const ERROR = LEVELS.indexOf("error");
// Others are nobody's fault, or the caller's.
const isFailure = (outcome: Outcome): boolean => outcome !== "ok" && outcome !== "canceled";

const pending = new Map<string, { scriptId: string; kept: Kept }>();
let pendingBytes = 0;
const keptCount = counter("mayfly_logs_kept_total");
const dropped = counter("mayfly_logs_dropped_total");

/** Has a finished invocation kept with what it has written. */
export function keep(invocation: Invocation, observed: Observed, settings: Keep): void {
  const { scriptId, versionId, id, startedAt } = invocation;
  const kept = open({ scriptId, versionId, id }, startedAt);
  if (!kept) return;
  for (const { level, timestamp, message } of observed.logs) {
    append(kept, toStoredLine(level, timestamp, message));
  }
  for (const exception of observed.exceptions) append(kept, toExceptionLine(exception));
  if (isFailure(invocation.outcome)) kept.level = ERROR;
  kept.truncated ||= observed.truncated;
  kept.startedAt = startedAt;
  kept.ended = toEnded(invocation, observed.event, settings);
  keptCount.value++;
}

/** Has lines kept that the prelude has taken down. */
export function keepLines(begun: Begun, lines: CapturedLine[]): void {
  const kept = open(begun, lines[0]?.[1] ?? Date.now());
  if (!kept) return;
  for (const [level, at, message, truncated] of lines) {
    append(kept, toStoredLine(level, at, message));
    kept.truncated ||= truncated === true;
  }
}

/** What is known of the invocation since the last report; undefined if there is too much of all. */
function open({ scriptId, versionId, id }: Begun, startedAt: number): Kept | undefined {
  const known = pending.get(id)?.kept;
  if (known) return known;
  if (pendingBytes > MAX_PENDING_BYTES) {
    dropped.value++;
    return undefined;
  }
  const bytes = INVOCATION_BYTES;
  const kept: Kept = {
    id,
    versionId,
    startedAt,
    lines: [],
    level: 0,
    bytes,
    truncated: false,
  };
  pending.set(id, { scriptId, kept });
  pendingBytes += bytes;
  return kept;
}

function append(kept: Kept, line: StoredLine): void {
  const [level, , , text, more = ""] = line;
  const bytes = LINE_BYTES + text.length + more.length;
  kept.lines.push(line);
  kept.level = Math.max(kept.level, level);
  kept.bytes += bytes;
  pendingBytes += bytes;
}

function toEnded(
  invocation: Invocation,
  event: TraceEvent | undefined,
  { linesOnly = false, withoutQuery = false }: Keep,
): Ended {
  const { trigger, entrypoint, wallTimeMs, cpuTimeMs, startKind, outcome, status } = invocation;
  const { requestBytes, responseBytes } = invocation;
  return {
    trigger,
    entrypoint,
    wallTimeMs,
    cpuTimeMs,
    startKind,
    outcome,
    status,
    requestBytes,
    responseBytes,
    event: event && toKeptEvent(event, withoutQuery),
    linesOnly,
  };
}

function toKeptEvent(event: TraceEvent, withoutQuery: boolean): KeptEvent {
  if (!("request" in event)) return event;
  const { method, url } = event.request;
  const [path = ""] = url.split("?", 1);
  return { request: { method, url: redactUrl(withoutQuery ? path : url) } };
}

/** Whether a report should not wait any longer. */
export const hasMuchKept = (): boolean => pendingBytes > MANY_BYTES;

export const hasKept = (): boolean => pending.size > 0;

/**
 * The next of what is to be kept, by the script's id: the JSON of an array of `Kept`. What is too much for one
 * report stays for the one after it.
 */
export function takeKept(): Record<string, string> {
  const byScript = new Map<string, string[]>();
  let length = 0;
  for (const [id, { scriptId, kept }] of pending) {
    if (length > MAX_REPORT_LENGTH) break;
    pending.delete(id);
    pendingBytes -= kept.bytes;
    const json = JSON.stringify(kept);
    length += json.length;
    const known = byScript.get(scriptId);
    if (known) known.push(json);
    else byScript.set(scriptId, [json]);
  }
  const taken: Record<string, string> = {};
  for (const [scriptId, parts] of byScript) taken[scriptId] = `[${parts.join(",")}]`;
  return taken;
}

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
import type { KeptEvent, KeptLine, KeptLogs, KeptRest, KeptRow } from "./kept-row.ts";
import { LEVELS, toExceptionLine, toStoredLine, type StoredLine } from "./line.ts";

// While state is away they wait, but not without bound; in characters of JSON.
const MAX_WAITING = 64 * 1024 * 1024;
/** With so many a report is sent at once. */
const MANY = 1024 * 1024;
/** In one report, which state stores at once, and which crosses to it in one message of 32 MiB. */
const MAX_REPORT = 4 * 1024 * 1024;
/** About what a `KeptRow` has besides its rest. */
const ROW_LENGTH = 80;

const ERROR = LEVELS.indexOf("error");
// The others are nobody's fault, or the caller's.
const isFailure = (outcome: Outcome): boolean => outcome !== "ok" && outcome !== "canceled";

interface Waiting {
  readonly id: string;
  readonly scriptId: string;
  startedAt: number;
  /** Undefined while only lines are known. */
  ended: Pick<Invocation, "trigger" | "outcome"> | undefined;
  level: number;
  bytes: number;
  truncated: boolean;
  /** JSON of a `KeptRest`. */
  rest: string;
  /** JSON of each. */
  lines: string[];
  /** Of no interest without lines. */
  linesOnly: boolean;
  /** Left out of a report, as its lines may come. */
  heldBack: boolean;
  /** Characters of JSON. */
  length: number;
}

// By script and id: a worker may name invocations that are not its own.
const waiting = new Map<string, Waiting>();
let length = 0;
const keptCount = counter("mayfly_logs_kept_total");
const dropped = counter("mayfly_logs_dropped_total");

/** Has a finished invocation kept with what it has written. */
export function keep(invocation: Invocation, observed: Observed, settings: Keep): void {
  const kept = find(invocation.scriptId, invocation.id);
  if (!kept) return;
  keptCount.value++;
  const { linesOnly = false, withoutQuery = false } = settings;
  const rest: KeptRest = [
    invocation.versionId,
    invocation.entrypoint ?? null,
    invocation.wallTimeMs,
    invocation.cpuTimeMs,
    invocation.startKind,
    invocation.status,
    invocation.requestBytes,
    invocation.responseBytes,
    observed.event ? toKeptEvent(observed.event, withoutQuery) : null,
  ];
  setRest(kept, rest);
  kept.startedAt = invocation.startedAt;
  kept.ended = invocation;
  if (isFailure(invocation.outcome)) kept.level = ERROR;
  kept.bytes += invocationSize(kept.rest);
  if (observed.truncated) kept.truncated = true;
  kept.linesOnly = linesOnly;
  for (const { level, timestamp, message } of observed.logs) {
    append(kept, toStoredLine(level, timestamp, message));
  }
  for (const exception of observed.exceptions) append(kept, toExceptionLine(exception));
}

/** Has a line kept that the prelude has taken down. */
export function keepLine(
  { scriptId, versionId }: Pick<Invocation, "scriptId" | "versionId">,
  [id, level, at, message, truncated]: CapturedLine,
): void {
  const kept = find(scriptId, id);
  if (!kept) return;
  if (kept.rest === "") {
    kept.startedAt = at;
    setRest(kept, [versionId]);
  }
  append(kept, toStoredLine(level, at, message));
  if (truncated) kept.truncated = true;
}

/** What waits of the invocation; undefined if there is no room for it. */
function find(scriptId: string, id: string): Waiting | undefined {
  const key = `${scriptId}/${id}`;
  const known = waiting.get(key);
  if (known) return known;
  if (length > MAX_WAITING) {
    dropped.value++;
    return undefined;
  }
  const kept: Waiting = {
    id,
    scriptId,
    startedAt: 0,
    ended: undefined,
    level: 0,
    bytes: 0,
    truncated: false,
    rest: "",
    lines: [],
    linesOnly: false,
    heldBack: false,
    length: 0,
  };
  waiting.set(key, kept);
  return kept;
}

function setRest(kept: Waiting, rest: KeptRest): void {
  kept.rest = JSON.stringify(rest);
  addLength(kept, ROW_LENGTH + kept.rest.length);
}

function append(kept: Waiting, line: StoredLine): void {
  const [level, , , text] = line;
  const json = JSON.stringify([kept.id, ...line] satisfies KeptLine);
  kept.lines.push(json);
  kept.level = Math.max(kept.level, level);
  kept.bytes += lineSize(text);
  addLength(kept, json.length);
}

function addLength(kept: Waiting, added: number): void {
  kept.length += added;
  length += added;
}

function toKeptEvent(event: TraceEvent, withoutQuery: boolean): KeptEvent {
  if (!("request" in event)) return event;
  const { method, url } = event.request;
  const [path = ""] = withoutQuery ? url.split("?", 1) : [url];
  return { request: { method, url: redactUrl(path) } };
}

/** Whether a report should not wait any longer. */
export const hasMuchKept = (): boolean => length > MANY;

export const hasKept = (): boolean => waiting.size > 0;

/**
 * The next of what is to be kept, by the script's id. What is too much for one report stays for the one after
 * it, and so does what is of no interest without lines, until its lines are known.
 */
export function takeKept(): Record<string, KeptLogs> {
  const scripts = new Map<string, Waiting[]>();
  let taken = 0;
  for (const [key, kept] of waiting) {
    if (taken > MAX_REPORT) break;
    if (isSilent(kept) && !kept.heldBack) {
      kept.heldBack = true;
      continue;
    }
    waiting.delete(key);
    taken += kept.length;
    const others = scripts.get(kept.scriptId);
    if (others) others.push(kept);
    else scripts.set(kept.scriptId, [kept]);
  }
  length -= taken;
  return Object.fromEntries([...scripts].map(([id, kept]) => [id, toLogs(kept)]));
}

const isSilent = ({ linesOnly, lines }: Waiting): boolean => linesOnly && lines.length === 0;

function toLogs(all: Waiting[]): KeptLogs {
  const invocations: KeptRow[] = [];
  const silent: KeptRow[] = [];
  const lines: string[] = [];
  let bytes = 0;
  for (const kept of all) {
    if (isSilent(kept)) {
      silent.push(toRow(kept));
      continue;
    }
    invocations.push(toRow(kept));
    for (const line of kept.lines) lines.push(line);
    bytes += kept.bytes;
  }
  return {
    invocations: JSON.stringify(invocations),
    silent: silent.length > 0 ? JSON.stringify(silent) : undefined,
    lines: lines.length > 0 ? `[${lines.join(",")}]` : undefined,
    bytes,
  };
}

const toRow = (kept: Waiting): KeptRow => [
  kept.id,
  kept.startedAt,
  kept.ended?.trigger ?? null,
  kept.ended?.outcome ?? null,
  kept.level,
  kept.lines.length,
  kept.bytes,
  kept.truncated,
  kept.rest,
];

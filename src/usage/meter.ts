/**
 * Counts what this process's invocations use, by script, version, trigger and minute. Whatever their number,
 * only the sums leave the process, about once a second (`report.ts`): what has ended since the last time is
 * all that a crash can lose.
 */
import { boundsOf } from "../observe/metrics/definitions.ts";
import { emptyDistribution, observe, type Distribution } from "../observe/metrics/series.ts";
import type { Invocation, Outcome, StartKind, Trigger } from "../pipeline/record.ts";

/** What the invocations of one version that one trigger caused have used in one minute. */
export interface Usage {
  accountId: string;
  scriptName: string;
  versionId: string;
  trigger: Trigger;
  /** Minutes since 1970: invocations and what they took count when they end, calls when they are made. */
  minute: number;
  invocations: number;
  /** Those of them whose outcome was not `ok`. */
  errors: number;
  /** The invocations by how they ended and began, for the metrics. */
  ends: Partial<Record<Outcome, Partial<Record<StartKind, number>>>>;
  wallTimeMs: number;
  /** The invocations by their wall time, for the metrics. */
  wallTimes: Distribution;
  /** In microseconds: see `cpu-share.ts` for how it is known. */
  cpuTimeUs: number;
  /** Calls of hosts and of other workers. */
  subrequests: number;
  requestBytes: number;
  responseBytes: number;
  /** Calls of bindings, such as `kv.get`. */
  operations: Record<string, number>;
}

/** What usage is counted by. */
export type Used = Pick<Invocation, "accountId" | "scriptName" | "versionId" | "trigger">;

const WALL_TIMES = "mayfly_invocation_duration_seconds";
const WALL_TIME_BOUNDS = boundsOf(WALL_TIMES);

/** A statement of SQLite takes 2 MB. */
const MAX_ROWS = 1_000;

// By version and trigger. An entry of a minute that has passed makes room for the next one's.
let open = new Map<string, Map<Trigger, Usage>>();
// What has been put aside like that since the last time that all was taken.
const closed: Usage[] = [];

/** Where the usage of such invocations is counted at this moment. */
export function usageOf(used: Used): Usage {
  const minute = Math.floor(Date.now() / 60_000);
  let triggers = open.get(used.versionId);
  if (!triggers) open.set(used.versionId, (triggers = new Map()));
  const known = triggers.get(used.trigger);
  if (known?.minute === minute) return known;
  if (known) closed.push(known);
  const { accountId, scriptName, versionId, trigger } = used;
  const usage = {
    accountId,
    scriptName,
    versionId,
    trigger,
    minute,
    invocations: 0,
    errors: 0,
    ends: {},
    wallTimeMs: 0,
    wallTimes: emptyDistribution(WALL_TIMES),
    cpuTimeUs: 0,
    subrequests: 0,
    requestBytes: 0,
    responseBytes: 0,
    operations: {},
  };
  triggers.set(used.trigger, usage);
  return usage;
}

/** Counts a finished invocation. */
export function meter(invocation: Invocation): void {
  const usage = usageOf(invocation);
  const starts = (usage.ends[invocation.outcome] ??= {});
  starts[invocation.startKind] = (starts[invocation.startKind] ?? 0) + 1;
  observe(usage.wallTimes, WALL_TIME_BOUNDS, invocation.wallTimeMs);
  // Cut short through no fault of its own, it costs nothing: an event comes again.
  if (invocation.outcome === "internalError") return;
  usage.invocations++;
  if (invocation.outcome !== "ok") usage.errors++;
  usage.wallTimeMs += invocation.wallTimeMs;
  usage.requestBytes += invocation.requestBytes;
  usage.responseBytes += invocation.responseBytes;
}

/** Whether anything has been counted since it was last taken. */
export const hasUsage = (): boolean => open.size > 0 || closed.length > 0;

/** What has been counted since the last call, as much of it as fits into one report: some 800 bytes each. */
export function takeUsage(): Usage[] {
  for (const triggers of open.values()) closed.push(...triggers.values());
  open = new Map();
  return closed.splice(0, MAX_ROWS);
}

/** Whether some did not fit. */
export const hasMoreUsage = (): boolean => closed.length > 0;

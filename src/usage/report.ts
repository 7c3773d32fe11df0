import type { Env } from "../env.ts";
import { log } from "../observe/log.ts";
import { counter, hasCounted, histogram, takeCounted } from "../observe/metrics/counters.ts";
import type { SeriesValues } from "../observe/metrics/series.ts";
import { hasKept, hasMuchKept, takeKept } from "../observe/logs/kept.ts";
import type { KeptLogs } from "../observe/logs/kept-row.ts";
import { allPublished } from "../observe/publish-later.ts";
import { processId } from "../pipeline/invocation-id.ts";
import { stateOf } from "../roles/contract.ts";
import { hasMoreUsage, hasUsage, takeUsage, type Usage } from "./meter.ts";

/** What an executor tells state about once a second. */
export interface Report {
  /** Another one for each; the same if it is sent again. */
  id: string;
  usage: Usage[];
  /** What else has been counted, for the metrics. */
  counted?: SeriesValues | undefined;
}

// At the latest after so long, or with much to keep, a report is sent.
const REPORT_EVERY_MS = 500;

const delayedReports = counter("mayfly_reports_delayed_total");
const calls = histogram("mayfly_state_call_duration_seconds", { call: "report" });
/** How long state took for the last report. It is told with the next one, and no reason for one. */
let tookMs: number | undefined;
let reportedAt = 0;
let reports = 0;
/** The one whose arrival is not certain yet. */
let last: { report: Report; kept: Record<string, KeptLogs> } | undefined;
let reporting: Promise<void> | undefined;

/** Sends a report if it is time for one; to be called when something has been counted or kept. */
export function reportSoon(env: Env, ctx: ExecutionContext): void {
  if (hasMuchKept() || Date.now() - reportedAt > REPORT_EVERY_MS) {
    ctx.waitUntil(report(env, ctx));
  }
}

/** Gives what has been counted and kept to the state role; what fails is sent again the next time. */
export function report(env: Env, ctx: ExecutionContext): Promise<void> {
  return (reporting ??= send(env, ctx).finally(() => (reporting = undefined)));
}

async function send(env: Env, ctx: ExecutionContext): Promise<void> {
  do {
    reportedAt = Date.now();
    last ??= next();
    if (!last) return;
    try {
      await stateOf(env, ctx).report(JSON.stringify(last.report), last.kept);
    } catch (error) {
      delayedReports.value++;
      log("warn", "report_delayed", { message: String(error) });
      return;
    }
    last = undefined;
    tookMs = Date.now() - reportedAt;
  } while (hasMoreUsage());
}

// A report under way does not have what has ended since; state may be away.
const REPORTS_FOR_ALL = 3;

/** Tells state of all that has ended, if it can be told now. */
export async function reportAll(env: Env, ctx: ExecutionContext): Promise<void> {
  for (let i = 0; i < REPORTS_FOR_ALL && !allReported(); i++) await report(env, ctx);
}

/** Whether state knows all. */
export const allReported = (): boolean =>
  !last && allPublished() && !hasKept() && !hasUsage() && !hasCounted();

function next(): typeof last {
  const usage = takeUsage();
  if (usage.length === 0 && !hasKept() && !hasCounted()) return undefined;
  if (tookMs !== undefined) calls.observe(tookMs);
  tookMs = undefined;
  const id = `${processId()}-${reports++}`;
  return { report: { id, usage, counted: takeCounted() }, kept: takeKept() };
}

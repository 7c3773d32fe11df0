import type { Env } from "../env.ts";
import { log } from "../observe/log.ts";
import { counter, histogram, takeCounted, timed } from "../observe/metrics/counters.ts";
import type { SeriesValues } from "../observe/metrics/series.ts";
import type { KeptInvocation } from "../observe/observed.ts";
import { processId } from "../pipeline/invocation-id.ts";
import { stateOf } from "../roles/contract.ts";
import { hasUsage, takeUsage, type Usage } from "./meter.ts";

/** What an executor tells state about once a second. */
export interface Report {
  /** Another one for each; the same if it is sent again. */
  id: string;
  usage: Usage[];
  /** What else has been counted, for the metrics. */
  counted?: SeriesValues | undefined;
  /** Finished invocations of scripts whose logs are kept. */
  kept: KeptInvocation[];
}

// At the latest after so long, or with so many invocations to keep, a report is sent.
const REPORT_EVERY_MS = 500;
const REPORT_AT = 2_000;
// While state is away they wait, but not without bound. What is counted is never dropped.
const MAX_KEPT = 20_000;

let kept: KeptInvocation[] = [];
let dropped = 0;
const droppedLogs = counter("mayfly_logs_dropped_total");
const delayedReports = counter("mayfly_reports_delayed_total");
const calls = histogram("mayfly_state_call_duration_seconds", { call: "report" });
let reportedAt = 0;
let reports = 0;
/** The one whose arrival is not certain yet. */
let last: Report | undefined;
let reporting: Promise<void> | undefined;

/** Has the invocation kept with its logs. */
export function keep(invocation: KeptInvocation): void {
  if (kept.length < MAX_KEPT) kept.push(invocation);
  else {
    dropped++;
    droppedLogs.value++;
  }
}

/** Sends a report if it is time for one; to be called when something has been counted or kept. */
export function reportSoon(env: Env, ctx: ExecutionContext): void {
  if (kept.length >= REPORT_AT || Date.now() - reportedAt > REPORT_EVERY_MS) {
    ctx.waitUntil(report(env, ctx));
  }
}

/** Gives what has been counted and kept to the state role; what fails is sent again the next time. */
export function report(env: Env, ctx: ExecutionContext): Promise<void> {
  return (reporting ??= send(env, ctx).finally(() => (reporting = undefined)));
}

async function send(env: Env, ctx: ExecutionContext): Promise<void> {
  reportedAt = Date.now();
  last ??= next();
  if (!last) return;
  try {
    await timed(calls, stateOf(env, ctx).report(JSON.stringify(last)));
    last = undefined;
  } catch (error) {
    delayedReports.value++;
    log("warn", "report_delayed", { kept: kept.length, dropped, message: String(error) });
  }
}

/** Whether state knows all. */
export const allReported = (): boolean => !last && kept.length === 0 && !hasUsage();

function next(): Report | undefined {
  const usage = takeUsage();
  const counted = takeCounted();
  if (usage.length === 0 && kept.length === 0 && !counted) return undefined;
  const taken = kept;
  kept = [];
  return { id: `${processId()}-${reports++}`, usage, counted, kept: taken };
}

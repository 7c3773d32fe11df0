import type { Outcome, StartKind, Trigger } from "../../pipeline/record.ts";
import type { Usage } from "../../usage/meter.ts";
import { addValue, toText, type SeriesValues } from "./series.ts";

/** A script without an invocation for so long makes room for another, where there are too many. */
const IDLE_MS = 60 * 60_000;
/** What those are that have no series of their own. No script's series has the labels of this one. */
const OTHER = { script: "other" };

interface ScriptTotals {
  /** Undefined: of many accounts. */
  accountId: string | undefined;
  scriptName: string;
  usedAt: number;
  byTrigger: Map<Trigger, TriggerTotals>;
  operations: Map<string, number>;
}
type TriggerTotals = Pick<
  Usage,
  "ends" | "wallTimes" | "cpuTimeUs" | "subrequests" | "requestBytes" | "responseBytes"
>;

/**
 * What scripts' invocations have used since state was started: the sums of what executors have reported, so
 * the same as in the ledger of usage.
 */
export class UsageTotals {
  readonly #scripts = new Map<string, ScriptTotals>();
  readonly #other = emptyTotals(undefined, "");

  /** At most `maxScripts` scripts have series of their own. */
  add(usage: Usage[], maxScripts: number): void {
    for (const used of usage) addUsage(this.#totalsOf(used, maxScripts), used);
  }

  #totalsOf({ accountId, scriptName }: Usage, maxScripts: number): ScriptTotals {
    const key = `${accountId}/${scriptName}`;
    const now = Date.now();
    let totals = this.#scripts.get(key);
    if (!totals) {
      if (this.#scripts.size >= maxScripts && !this.#forgetIdle(now)) return this.#other;
      this.#scripts.set(key, (totals = emptyTotals(accountId, scriptName)));
    }
    totals.usedAt = now;
    return totals;
  }

  /** Makes room for another script. The series that is gone is none that goes back. */
  #forgetIdle(now: number): boolean {
    for (const [key, { usedAt }] of this.#scripts) {
      if (now - usedAt > IDLE_MS) return this.#scripts.delete(key);
    }
    return false;
  }

  /** The series of one account, or of all and those that are many's. `nameOf` says how accounts are shown. */
  series(accountId: string | undefined, nameOf: (accountId: string) => string): SeriesValues {
    const series: SeriesValues = {};
    const wanted = [...this.#scripts.values()].filter(
      (totals) => accountId === undefined || totals.accountId === accountId,
    );
    for (const totals of wanted) {
      const { accountId, scriptName } = totals;
      writeTotals(series, { account: nameOf(accountId as string), script: scriptName }, totals);
    }
    if (accountId === undefined) writeTotals(series, OTHER, this.#other);
    return series;
  }
}

const emptyTotals = (accountId: string | undefined, scriptName: string): ScriptTotals => ({
  accountId,
  scriptName,
  usedAt: 0,
  byTrigger: new Map(),
  operations: new Map(),
});

function addUsage({ byTrigger, operations }: ScriptTotals, usage: Usage): void {
  for (const [operation, count] of Object.entries(usage.operations)) {
    operations.set(operation, (operations.get(operation) ?? 0) + count);
  }
  const totals = byTrigger.get(usage.trigger);
  if (!totals) {
    byTrigger.set(usage.trigger, usage);
    return;
  }
  for (const [outcome, starts] of Object.entries(usage.ends) as [Outcome, Starts][]) {
    const known = (totals.ends[outcome] ??= {});
    for (const [start, count] of Object.entries(starts) as [StartKind, number][]) {
      known[start] = (known[start] ?? 0) + count;
    }
  }
  totals.wallTimes = usage.wallTimes.map((count, at) => count + (totals.wallTimes[at] ?? 0));
  totals.cpuTimeUs += usage.cpuTimeUs;
  totals.subrequests += usage.subrequests;
  totals.requestBytes += usage.requestBytes;
  totals.responseBytes += usage.responseBytes;
}

type Starts = Partial<Record<StartKind, number>>;

function writeTotals(
  series: SeriesValues,
  labels: Record<string, string>,
  { byTrigger, operations }: ScriptTotals,
): void {
  const script = toText(labels);
  for (const [trigger, totals] of byTrigger) {
    const triggered = toText({ ...labels, trigger });
    for (const [outcome, starts] of Object.entries(totals.ends)) {
      for (const [start, count] of Object.entries(starts)) {
        const ended = toText({ ...labels, trigger, outcome, start });
        addValue(series, "mayfly_invocations_total", ended, count);
      }
    }
    addValue(series, "mayfly_invocation_duration_seconds", triggered, totals.wallTimes);
    addValue(series, "mayfly_invocation_cpu_seconds_total", triggered, totals.cpuTimeUs / 1e6);
    addValue(series, "mayfly_subrequests_total", script, totals.subrequests);
    addValue(series, "mayfly_request_bytes_total", script, totals.requestBytes);
    addValue(series, "mayfly_response_bytes_total", script, totals.responseBytes);
  }
  for (const [operation, count] of operations) {
    const operated = toText({ ...labels, operation });
    addValue(series, "mayfly_binding_operations_total", operated, count);
  }
}

import { DurableObject } from "cloudflare:workers";
import {
  existingScripts,
  listScheduledCrons,
  type ScheduledCron,
} from "../../catalog/schedules.ts";
import type { Env } from "../../env.ts";
import { log } from "../../observe/log.ts";
import { counter, countersBy, histogram } from "../../observe/metrics/counters.ts";
import { executorOf } from "../../roles/contract.ts";
import type { EventOutcome } from "../../roles/events.ts";
import { receive } from "../../roles/forward.ts";
import { busyPauseMs } from "../busy-pause.ts";
import { isMissed, toStep } from "./catch-up.ts";
import type { CronRun } from "./protocol.ts";
import { parseCron } from "./schedule.ts";
import { CronStore, type WaitingCron } from "./store.ts";

/** Runs under way at once: a quarter of the isolates that an executor can have. */
const MAX_RUNNING = 200;
/** Of one script, so that none with slow handlers takes the place of all others. */
const MAX_RUNNING_PER_SCRIPT = 20;
/** How often a run is begun that each time is cut short. */
const MAX_TRIES = 10;
/** Before a run that was cut short is repeated: about this long, then twice as long each time. */
const MIN_PAUSE_MS = 1_000;
const MAX_PAUSE_MS = 60_000;
/** Runs that are over, per cron, for looking back. */
const KEPT_RUNS = 100;
/** While something is under way the object comes back this often, should its process end meanwhile. */
const HEARTBEAT_MS = 10_000;
// Crons looked at before others get their turn: some 20 ms of work, and one write to the disk.
const BATCH_SIZE = 200;

const lateness = histogram("mayfly_cron_lateness_seconds");
const missed = counter("mayfly_cron_slots_missed_total");
const caughtUp = counter("mayfly_cron_slots_caught_up_total");
const runsWith = countersBy<EventOutcome["outcome"] | "cutShort">(
  "mayfly_events_total",
  (outcome) => ({ source: "cron", outcome }),
  ["ok"],
);

/**
 * All schedules, in one object. Its table of crons follows the catalog; each slot becomes a row in the
 * table of runs, in the transaction that moves the cron on to its next slot, and the row outlives every
 * crash. One alarm stands at whatever is due first.
 */
export class SchedulerObject extends DurableObject<Env> {
  readonly #store: CronStore;
  // Runs that are due but have to wait, in order.
  #waiting: CronRun[] = [];
  // All runs that were due by then are in `#waiting` or under way.
  #loadedAt = 0;
  // How many runs are under way, by script.
  readonly #running = new Map<string, number>();
  #runningCount = 0;
  // Runs that are not begun on account of their slot.
  readonly #outOfTurn = new Set<number>();
  #refreshing: Promise<void> = Promise.resolve();

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#store = new CronStore(ctx.storage.sql);
    // Nothing runs yet, so these ended with the process that the object was in before.
    const cutShort = this.#store.runningRuns();
    for (const run of cutShort) this.#repeat(run);
    if (cutShort.length > 0) ctx.waitUntil(this.#proceed());
  }

  override async alarm(): Promise<void> {
    await this.#proceed();
  }

  /**
   * The crons in the catalog, or its script's deployment, have changed: those of one script, or
   * perhaps of any. A cron that stays keeps its next slot.
   */
  async refresh(scriptId?: string): Promise<void> {
    // One after the other, so that what was read last is also applied last.
    const refreshed = this.#refreshing.then(() => this.#reconcile(scriptId));
    this.#refreshing = refreshed.catch(() => {});
    await refreshed;
    await this.#proceed();
  }

  /** The account's newest runs, of one script or of all; newest first. */
  async listRuns(
    accountId: string,
    scriptId: string | undefined,
    limit: number,
  ): Promise<CronRun[]> {
    return this.#store.listRuns(accountId, scriptId, limit);
  }

  /**
   * Runs a cron of the script at once, as if the time were its slot. Of that slot, a run that is over
   * is forgotten. Undefined if the script has no such cron, or the slot is being run.
   */
  async runNow(
    scriptId: string,
    cron: string,
    scheduledTime: number,
  ): Promise<CronRun | undefined> {
    const known = this.#store.crons(scriptId).find((known) => known.cron === cron);
    if (!known) return undefined;
    const run = this.#store.findRun(scriptId, cron, scheduledTime);
    if (run && run.endedAt === undefined) return undefined;
    if (run) this.#store.deleteRun(run.id);
    this.#store.addRun(known, scheduledTime, false, Date.now());
    const added = this.#store.findRun(scriptId, cron, scheduledTime);
    if (added) this.#outOfTurn.add(added.id);
    await this.#proceed();
    return this.#store.findRun(scriptId, cron, scheduledTime);
  }

  async #reconcile(scriptId: string | undefined): Promise<void> {
    const { CATALOG: db } = this.env;
    const wanted = await listScheduledCrons(db, scriptId);
    const known = scriptId === undefined ? this.#store.scriptsWithRuns() : [scriptId];
    const existing = await existingScripts(db, known);
    const now = Date.now();
    this.ctx.storage.transactionSync(() => {
      const before = new Map(this.#store.crons(scriptId).map((cron) => [keyOf(cron), cron]));
      for (const cron of wanted) {
        const same = before.get(keyOf(cron));
        before.delete(keyOf(cron));
        if (same?.catchUp === cron.catchUp && same.scriptName === cron.scriptName) continue;
        this.#store.setCron(cron, same ? undefined : nextSlot(cron, now));
      }
      for (const { scriptId, cron } of before.values()) {
        this.#store.deleteCron(scriptId, cron, now);
      }
      for (const id of known) if (!existing.includes(id)) this.#store.deleteRuns(id);
    });
  }

  /** Makes runs of the slots that have come, begins those that may, and sets the alarm. */
  async #proceed(): Promise<void> {
    for (;;) {
      const now = Date.now();
      const due = this.#store.dueCrons(now, BATCH_SIZE);
      for (const cron of due) this.ctx.storage.transactionSync(() => this.#take(cron, now));
      this.#waiting = this.#store.dueRuns(now);
      this.#loadedAt = now;
      this.#begin();
      if (due.length === 0) break;
      await scheduler.wait(1);
    }
    await this.#setAlarm();
  }

  /** Makes a run of the cron's slot, if it is to be run, and moves on to the next. */
  #take(cron: WaitingCron, now: number): void {
    try {
      const { slot, nextAt } = toStep(parseCron(cron.cron), cron.nextAt, now, cron.catchUp);
      // Without room for its runs a worker misses slots, too, and they must not pile up.
      if (cron.catchUp !== "all") missed.value += this.#store.passOverRuns(cron, now);
      if (isMissed(cron.nextAt, now)) missed.value++;
      if (slot !== undefined) {
        this.#store.addRun(cron, slot, isMissed(slot, now), now);
        if (isMissed(slot, now)) caughtUp.value++;
      }
      this.#store.setNextAt(cron, nextAt);
    } catch (error) {
      // What was taken once is no longer understood. It must not keep the others from their turn.
      log("error", "cron_failed", { script: cron.scriptName, message: String(error) });
      this.#store.setNextAt(cron, undefined);
    }
  }

  /** Begins as many of the waiting runs as may be under way. */
  #begin(): void {
    this.#waiting = this.#waiting.filter((run) => {
      const ofScript = this.#running.get(run.scriptId) ?? 0;
      if (this.#runningCount >= MAX_RUNNING || ofScript >= MAX_RUNNING_PER_SCRIPT) return true;
      const now = Date.now();
      if (!this.#store.beginRun(run.id, now)) return false;
      if (!this.#outOfTurn.delete(run.id) && run.tries === 0) {
        lateness.observe(now - run.scheduledTime);
      }
      this.#running.set(run.scriptId, ofScript + 1);
      this.#runningCount++;
      this.ctx.waitUntil(this.#run(run));
      return false;
    });
  }

  async #run(run: CronRun): Promise<void> {
    const { id, accountId, scriptName, cron, scheduledTime } = run;
    const noRetry = async (): Promise<void> => this.#store.forbidRetry(id);
    let ended: EventOutcome | undefined;
    try {
      const event = { cron, scheduledTime };
      const executor = executorOf(this.env, this.ctx);
      ended = await receive(executor.handleScheduled(accountId, scriptName, event, noRetry));
    } catch (error) {
      log("warn", "cron_cut_short", { script: scriptName, cron, message: String(error) });
    }
    const ofScript = (this.#running.get(run.scriptId) ?? 1) - 1;
    if (ofScript > 0) this.#running.set(run.scriptId, ofScript);
    else this.#running.delete(run.scriptId);
    this.#runningCount--;
    runsWith(ended?.outcome ?? "cutShort").value++;
    if (!ended) this.#repeat(run);
    else if (ended.outcome === "busy") this.#postpone(run, busyPauseMs(ended, Date.now()));
    else this.#store.endRun(run, Date.now(), ended.outcome, ended.error, KEPT_RUNS);
    // The next slot of a cron that is caught up is made into a run only now.
    if (run.caughtUp) return this.#proceed();
    this.#begin();
    if (!ended || ended.outcome === "busy") await this.#setAlarm();
  }

  /** There was no room for the run: it waits as if it had not been tried. */
  #postpone(run: CronRun, pauseMs: number): void {
    const now = Date.now();
    if (this.#store.hasCron(run.scriptId, run.cron)) {
      this.#store.postponeRun(run.id, now + pauseMs);
    } else this.#store.endRun(run, now, "canceled", "The cron was removed", KEPT_RUNS);
  }

  /** A run was cut short: it waits to be run again, or is over if it must not. */
  #repeat({ id }: CronRun): void {
    const run = this.#store.reloadRun(id);
    if (!run) return;
    const now = Date.now();
    const end = (outcome: "canceled" | "internalError", error: string): void =>
      this.#store.endRun(run, now, outcome, error, KEPT_RUNS);
    if (run.noRetry) return end("internalError", "Cut short, and not to be run again: noRetry()");
    if (run.tries >= MAX_TRIES) return end("internalError", `Cut short ${run.tries} times`);
    if (!this.#store.hasCron(run.scriptId, run.cron)) {
      return end("canceled", "Cut short, and its cron was removed");
    }
    const pauseMs = Math.min(MIN_PAUSE_MS * 2 ** (run.tries - 1), MAX_PAUSE_MS);
    // Runs that ended together, perhaps by the fault of one of them, begin again apart.
    this.#store.repeatRun(id, now + Math.round(pauseMs * (0.5 + Math.random())));
  }

  async #setAlarm(): Promise<void> {
    const times = [this.#store.nextSlot(), this.#store.nextDue(this.#loadedAt)];
    if (this.#runningCount > 0) times.push(Date.now() + HEARTBEAT_MS);
    const at = Math.min(...times.filter((time) => time !== undefined));
    if (Number.isFinite(at)) await this.ctx.storage.setAlarm(at);
    else await this.ctx.storage.deleteAlarm();
  }
}

const keyOf = ({ scriptId, cron }: ScheduledCron): string => `${scriptId} ${cron}`;

function nextSlot({ cron, scriptName }: ScheduledCron, now: number): number | undefined {
  try {
    return parseCron(cron).next(now);
  } catch (error) {
    log("error", "cron_failed", { script: scriptName, message: String(error) });
    return undefined;
  }
}

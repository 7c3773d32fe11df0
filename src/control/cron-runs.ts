import { Hono } from "hono";
import * as z from "zod";
import { listSchedules } from "../catalog/schedules.ts";
import { getScript } from "../catalog/scripts.ts";
import type { CronRun } from "../triggers/cron/protocol.ts";
import { schedulerOf } from "../triggers/cron/scheduler.ts";
import type { ControlEnv } from "./app.ts";
import { readJson } from "./body.ts";
import { limitOf, success } from "./envelope.ts";
import { ApiError, invalid } from "./error.ts";
import { accountOf, unknownScript } from "./script.ts";

/** Mayfly's own: Cloudflare shows runs in its dashboard only, and runs none out of turn. */
export const cronRuns = new Hono<ControlEnv>();

const newRun = z.strictObject({
  script_name: z.string(),
  cron: z.string(),
  /** The slot, in milliseconds since 1970; now if missing. */
  scheduled_time: z.int().min(0).exactOptional(),
});

/** The newest runs, newest first. Query: `script`, `limit` (1 to 1,000; 100 by default). */
cronRuns.get("/mayfly/cron-runs", async (c) => {
  const limit = limitOf((name) => c.req.query(name));
  const name = c.req.query("script");
  const script =
    name === undefined ? undefined : await getScript(c.env.CATALOG, accountOf(c), name);
  if (name !== undefined && !script) throw unknownScript(name);
  const runs = await schedulerOf(c.env).listRuns(accountOf(c), script?.id, limit);
  return success(runs.map(toResult));
});

/** Runs a cron at once, by the way that its slots take; a slot that has run is run again. */
cronRuns.post("/mayfly/cron-runs", async (c) => {
  const now = Date.now();
  const { script_name, cron, scheduled_time = now } = await readJson(c, newRun, 10001);
  // A later slot would not be run when its time comes.
  if (scheduled_time > now) {
    throw invalid(10001, "scheduled_time", scheduled_time, "a time that has passed");
  }
  const script = await getScript(c.env.CATALOG, accountOf(c), script_name);
  if (!script) throw unknownScript(script_name);
  const crons = (await listSchedules(c.env.CATALOG, script.id)).map(({ cron }) => cron);
  if (!crons.includes(cron)) {
    throw invalid(10001, "cron", cron, `one of the script's: ${JSON.stringify(crons)}`);
  }
  const run = await schedulerOf(c.env).runNow(script.id, cron, scheduled_time);
  if (!run) {
    const message = `scheduled_time: got ${scheduled_time}, must be a slot that is not being run`;
    throw new ApiError(409, 10001, message);
  }
  return success(toResult(run));
});

const toResult = (run: CronRun): object => ({
  script_name: run.scriptName,
  cron: run.cron,
  scheduled_time: run.scheduledTime,
  caught_up: run.caughtUp,
  started_at: run.startedAt ?? null,
  ended_at: run.endedAt ?? null,
  outcome: run.outcome ?? null,
  error: run.error ?? null,
  tries: run.tries,
  no_retry: run.noRetry,
});

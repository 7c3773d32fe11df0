import { Hono, type Context } from "hono";
import * as z from "zod";
import { countOtherSchedules, listSchedules, replaceSchedules } from "../catalog/schedules.ts";
import { CronError } from "../triggers/cron/fields.ts";
import { parseCron } from "../triggers/cron/schedule.ts";
import { refreshSchedules } from "../triggers/cron/scheduler.ts";
import type { ControlEnv } from "./app.ts";
import { readJson } from "./body.ts";
import { success } from "./envelope.ts";
import { ApiError } from "./error.ts";
import { accountOf, scriptOf } from "./script.ts";

/** A script's crons: https://developers.cloudflare.com/api/resources/workers/subresources/scripts/subresources/schedules/ */
export const schedules = new Hono<ControlEnv>();

/** Of an account: https://developers.cloudflare.com/workers/platform/limits/#account-plan-limits */
const MAX_CRONS = 250;

// Cloudflare's codes.
const TOO_MANY_CRONS = 10072;
const INVALID_CRON = 10100;

const newSchedules = z.array(z.strictObject({ cron: z.string() }));

schedules.get("/workers/scripts/:script_name/schedules", async (c) => {
  const { id } = await scriptOf(c);
  return success(await toResult(c, id));
});

// The script has these crons and no others afterwards.
schedules.put("/workers/scripts/:script_name/schedules", async (c) => {
  const { id } = await scriptOf(c);
  const given = await readJson(c, newSchedules, 10001);
  const crons = [...new Set(given.map(({ cron }) => cron))];
  for (const cron of crons) checkCron(cron);
  await checkCount(c, id, crons);
  await replaceSchedules(c.env.CATALOG, id, crons);
  await refreshSchedules(c.env, id);
  return success(await toResult(c, id));
});

function checkCron(cron: string): void {
  try {
    parseCron(cron);
  } catch (error) {
    if (error instanceof CronError) throw new ApiError(400, INVALID_CRON, error.message);
    throw error;
  }
}

/** Fewer crons than before may always be set. */
async function checkCount(
  c: Context<ControlEnv>,
  scriptId: string,
  crons: string[],
): Promise<void> {
  const { CATALOG: db } = c.env;
  const others = await countOtherSchedules(db, accountOf(c), scriptId);
  if (others + crons.length <= MAX_CRONS) return;
  if (crons.length <= (await listSchedules(db, scriptId)).length) return;
  throw new ApiError(
    400,
    TOO_MANY_CRONS,
    `crons: got ${crons.length} and ${others} of other scripts, must be at most ${MAX_CRONS} per account`,
  );
}

async function toResult(c: Context<ControlEnv>, scriptId: string): Promise<object> {
  const found = await listSchedules(c.env.CATALOG, scriptId);
  return {
    schedules: found.map(({ cron, createdAt, modifiedAt }) => ({
      cron,
      created_on: createdAt,
      modified_on: modifiedAt,
    })),
  };
}

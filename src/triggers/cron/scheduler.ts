import type { Env } from "../../env.ts";
import { log } from "../../observe/log.ts";
import type { SchedulerObject } from "./object.ts";

/** The one object of all schedules. */
export const schedulerOf = (env: Env): DurableObjectStub<SchedulerObject> =>
  env.SCHEDULER.get(env.SCHEDULER.idFromName("scheduler"));

/**
 * Tells the scheduler of a change of the catalog just committed: of the script's crons or of its
 * deployment. Never fails: whatever it was not told it finds out when the platform is woken.
 */
export async function refreshSchedules(env: Env, scriptId?: string): Promise<void> {
  try {
    await schedulerOf(env).refresh(scriptId);
  } catch (error) {
    log("warn", "schedules_not_refreshed", { script: scriptId, message: String(error) });
  }
}

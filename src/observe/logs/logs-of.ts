import { existingScripts } from "../../catalog/schedules.ts";
import type { Env } from "../../env.ts";
import { log } from "../log.ts";
import type { LogsObject } from "./object.ts";

/** The object that keeps a script's logs. */
export const logsOf = (env: Env, scriptId: string): DurableObjectStub<LogsObject> =>
  env.LOGS.get(env.LOGS.idFromName(scriptId));

/**
 * Stores what comes with a report: JSON arrays of `Kept` by their script's id. A report that comes again changes
 * nothing. What one script's object cannot take is lost, since it must not keep from state what has been used.
 */
export async function storeLogs(
  env: Env,
  reportId: string,
  kept: Record<string, string>,
): Promise<void> {
  const ids = Object.keys(kept);
  if (ids.length === 0) return;
  // What is told late of a script that has been deleted is nobody's.
  const existing = await existingScripts(env.CATALOG, ids);
  await Promise.all(existing.map((id) => storeOf(env, id, reportId, kept[id] ?? "[]")));
}

async function storeOf(env: Env, scriptId: string, reportId: string, kept: string): Promise<void> {
  const store = (): Promise<void> => logsOf(env, scriptId).store(reportId, kept);
  try {
    // The object may have been ended at this moment.
    await store().catch(store);
  } catch (error) {
    log("error", "logs_not_stored", { script: scriptId, message: String(error) });
  }
}

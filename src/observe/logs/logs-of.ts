import { existingScripts } from "../../catalog/schedules.ts";
import type { Env } from "../../env.ts";
import { log } from "../log.ts";
import type { KeptLogs } from "./kept-row.ts";
import type { LogsObject } from "./object.ts";

/** The object that keeps a script's logs. */
export const logsOf = (env: Env, scriptId: string): DurableObjectStub<LogsObject> =>
  env.LOGS.get(env.LOGS.idFromName(scriptId));

/**
 * Stores what comes with a report, by the script's id. A report that comes again changes nothing. What one script's object cannot take is lost, since it must not keep from state what has been used.
 */
export async function storeLogs(
  env: Env,
  reportId: string,
  kept: Record<string, KeptLogs>,
): Promise<void> {
  const ids = Object.keys(kept);
  if (ids.length === 0) return;
  // What is told late of a script that has been deleted is nobody's.
  const existing = await existingScripts(env.CATALOG, ids);
  await Promise.all(
    Object.entries(kept)
      .filter(([id]) => existing.includes(id))
      .map(([id, logs]) => storeOf(env, id, reportId, logs)),
  );
}

async function storeOf(
  env: Env,
  scriptId: string,
  reportId: string,
  kept: KeptLogs,
): Promise<void> {
  const store = (): Promise<void> => logsOf(env, scriptId).store(reportId, kept);
  try {
    // The object may have been ended at this moment.
    await store().catch(store);
  } catch (error) {
    log("error", "logs_not_stored", { script: scriptId, message: String(error) });
  }
}

import { existingScripts } from "../../catalog/schedules.ts";
import type { Env } from "../../env.ts";
import type { LogsObject } from "./object.ts";

/** The object that keeps a script's logs. */
export const logsOf = (env: Env, scriptId: string): DurableObjectStub<LogsObject> =>
  env.LOGS.get(env.LOGS.idFromName(scriptId));

/**
 * Stores what a report says is to be kept: JSON arrays of `Kept` by their script's id. A report that comes
 * again changes nothing.
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
  await Promise.all(
    ids.flatMap((id) =>
      existing.includes(id) ? logsOf(env, id).store(reportId, kept[id] ?? "[]") : [],
    ),
  );
}

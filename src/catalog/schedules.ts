import type { CatchUpPolicy } from "../triggers/cron/catch-up.ts";

/** A cron of a script. */
export interface Schedule {
  cron: string;
  /** ISO 8601 in UTC. */
  createdAt: string;
  modifiedAt: string;
}

/** What the scheduler must know of a cron. */
export interface ScheduledCron {
  scriptId: string;
  accountId: string;
  scriptName: string;
  cron: string;
  /** As the newest of the deployed versions says. */
  catchUp: CatchUpPolicy;
}

/** The script's crons in the order in which they were added. */
export async function listSchedules(db: D1Database, scriptId: string): Promise<Schedule[]> {
  const { results } = await db
    .prepare(
      `SELECT cron, created_at AS createdAt, modified_at AS modifiedAt
       FROM schedules WHERE script_id = ? ORDER BY created_at, rowid`,
    )
    .bind(scriptId)
    .all<Schedule>();
  return results;
}

/** How many crons the account's other scripts have. */
export async function countOtherSchedules(
  db: D1Database,
  accountId: string,
  scriptId: string,
): Promise<number> {
  const count = await db
    .prepare(
      `SELECT count(*) AS count FROM schedules JOIN scripts s ON s.id = script_id
       WHERE s.account_id = ? AND s.id <> ?`,
    )
    .bind(accountId, scriptId)
    .first<number>("count");
  return count ?? 0;
}

/** Gives the script these crons and no others; those that it has already stay as they are. */
export async function replaceSchedules(
  db: D1Database,
  scriptId: string,
  crons: string[],
): Promise<void> {
  const list = JSON.stringify(crons);
  await db.batch([
    db
      .prepare(
        "DELETE FROM schedules WHERE script_id = ? AND cron NOT IN (SELECT value FROM json_each(?))",
      )
      .bind(scriptId, list),
    db
      .prepare(
        `INSERT INTO schedules (script_id, cron, created_at, modified_at)
         SELECT s.id, value, ?3, ?3 FROM scripts s, json_each(?2) WHERE s.id = ?1
         ON CONFLICT DO NOTHING`,
      )
      .bind(scriptId, list, new Date().toISOString()),
  ]);
}

/** The crons of one script, or of all. */
export async function listScheduledCrons(
  db: D1Database,
  scriptId?: string,
): Promise<ScheduledCron[]> {
  const { results } = await db
    .prepare(
      `SELECT s.id AS scriptId, s.account_id AS accountId, s.name AS scriptName, cron,
         coalesce((
           SELECT v.metadata ->> '$.mayfly.cron_catch_up' FROM deployments d
           JOIN json_each(d.versions) part
           JOIN versions v ON v.id = part.value ->> 'version_id'
           WHERE d.script_id = s.id
             AND d.number = (SELECT max(number) FROM deployments WHERE script_id = s.id)
           ORDER BY v.number DESC LIMIT 1
         ), 'latest') AS catchUp
       FROM schedules JOIN scripts s ON s.id = script_id
       WHERE ?1 IS NULL OR s.id = ?1`,
    )
    .bind(scriptId ?? null)
    .all<ScheduledCron>();
  return results;
}

/** Which of the scripts exist. */
export async function existingScripts(db: D1Database, scriptIds: string[]): Promise<string[]> {
  const { results } = await db
    .prepare("SELECT id FROM scripts WHERE id IN (SELECT value FROM json_each(?))")
    .bind(JSON.stringify(scriptIds))
    .all<{ id: string }>();
  return results.map(({ id }) => id);
}

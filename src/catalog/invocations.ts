/** How many finished invocations are kept: the newest. */
const KEPT_COUNT = 200_000;

/** Stores finished invocations, a JSON array of `Invocation`, and drops the oldest beyond what is kept. */
export async function saveInvocations(db: D1Database, invocations: string): Promise<void> {
  await db.batch([
    db
      .prepare(
        `INSERT INTO invocations (id, account_id, script_name, version_id, trigger, started_at,
           wall_time_ms, start_kind, outcome, status)
         SELECT value ->> 'id', value ->> 'accountId', value ->> 'scriptName', value ->> 'versionId',
           value ->> 'trigger', value ->> 'startedAt', value ->> 'wallTimeMs', value ->> 'startKind',
           value ->> 'outcome', value ->> 'status'
         FROM json_each(?)`,
      )
      .bind(invocations),
    db
      .prepare("DELETE FROM invocations WHERE seq <= (SELECT max(seq) FROM invocations) - ?")
      .bind(KEPT_COUNT),
  ]);
}

/** The newest invocations of the account, of one script or of all; newest first. */
export async function listInvocations(
  db: D1Database,
  accountId: string,
  scriptName: string | undefined,
  limit: number,
): Promise<Record<string, unknown>[]> {
  const { results } = await db
    .prepare(
      `SELECT id, script_name, version_id, trigger, started_at, wall_time_ms, start_kind, outcome, status
       FROM invocations WHERE account_id = ?1 AND (?2 IS NULL OR script_name = ?2)
       ORDER BY seq DESC LIMIT ?3`,
    )
    .bind(accountId, scriptName ?? null, limit)
    .all();
  return results;
}

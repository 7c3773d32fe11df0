/**
 * Enters until when the script is tailed, in milliseconds since 1970; undefined: it is no more. False if
 * there is no such script.
 */
export async function setTailed(
  db: D1Database,
  scriptId: string,
  until: number | undefined,
): Promise<boolean> {
  const statement =
    until === undefined
      ? db.prepare("DELETE FROM tailed_scripts WHERE script_id = ?").bind(scriptId)
      : db
          .prepare(
            `INSERT INTO tailed_scripts (script_id, until) SELECT id, ?2 FROM scripts WHERE id = ?1
            ON CONFLICT DO UPDATE SET until = excluded.until`,
          )
          .bind(scriptId, until);
  const { meta } = await statement.run();
  return meta.changes > 0;
}

/** Whether the script has, or had lately, sessions of `wrangler tail`. */
export async function isTailed(db: D1Database, scriptId: string): Promise<boolean> {
  const statement = db.prepare("SELECT 1 FROM tailed_scripts WHERE script_id = ?").bind(scriptId);
  return (await statement.first()) !== null;
}

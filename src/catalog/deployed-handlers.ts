/** Names of the handlers that the script's deployed versions have. */
export async function deployedHandlers(db: D1Database, scriptId: string): Promise<string[]> {
  const { results } = await db
    .prepare(
      `SELECT DISTINCT handler.value AS name
      FROM deployments d
      JOIN json_each(d.versions) part
      JOIN versions v ON v.id = part.value ->> 'version_id'
      JOIN json_each(v.handlers) handler
      WHERE d.script_id = ?1
        AND d.number = (SELECT max(number) FROM deployments WHERE script_id = ?1)`,
    )
    .bind(scriptId)
    .all<{ name: string }>();
  return results.map(({ name }) => name);
}

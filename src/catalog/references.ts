/** The other scripts of the account with a deployed version that binds to the script as a service. */
export async function listReferences(
  db: D1Database,
  accountId: string,
  scriptName: string,
): Promise<string[]> {
  const { results } = await db
    .prepare(
      `SELECT DISTINCT s.name FROM scripts s
      JOIN deployments d ON d.script_id = s.id
        AND d.number = (SELECT max(number) FROM deployments WHERE script_id = s.id)
      JOIN json_each(d.versions) part
      JOIN versions v ON v.id = part.value ->> 'version_id'
      JOIN json_each(v.bindings) binding
      WHERE s.account_id = ?1 AND s.name <> ?2
        AND binding.value ->> 'type' = 'service' AND binding.value ->> 'service' = ?2
      ORDER BY s.name`,
    )
    .bind(accountId, scriptName)
    .all<{ name: string }>();
  return results.map(({ name }) => name);
}

/** Removes the script with its versions, secrets, deployments, routes and custom domains. */
export async function deleteScript(db: D1Database, scriptId: string): Promise<void> {
  await db.prepare("DELETE FROM scripts WHERE id = ?").bind(scriptId).run();
}

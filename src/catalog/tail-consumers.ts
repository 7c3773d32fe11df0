/** Names of the account's other scripts whose invocations are passed to the script's `tail()` handler. */
export async function listProducers(
  db: D1Database,
  accountId: string,
  consumer: string,
): Promise<string[]> {
  const { results } = await db
    .prepare(
      `SELECT DISTINCT s.name FROM scripts s
      JOIN json_each(s.settings, '$.tail_consumers') consumer
      WHERE s.account_id = ?1 AND s.name <> ?2 AND consumer.value ->> 'service' = ?2
      ORDER BY s.name`,
    )
    .bind(accountId, consumer)
    .all<{ name: string }>();
  return results.map(({ name }) => name);
}

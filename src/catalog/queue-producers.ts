/** What sends to a queue: Cloudflare's shape. */
export type Producer =
  { type: "worker"; script: string } | { type: "r2_bucket"; bucket_name: string };

interface Row {
  queue_name: string;
  type: Producer["type"];
  name: string;
}

/**
 * By queue name what sends to the account's queues: scripts with a deployed version that binds one,
 * buckets with notifications to one.
 */
export async function listProducers(
  db: D1Database,
  accountId: string,
): Promise<Map<string, Producer[]>> {
  const { results } = await db
    .prepare(
      `SELECT DISTINCT binding.value ->> 'queue_name' AS queue_name, 'worker' AS type, s.name AS name
      FROM scripts s
      JOIN deployments d ON d.script_id = s.id
        AND d.number = (SELECT max(number) FROM deployments WHERE script_id = s.id)
      JOIN json_each(d.versions) part
      JOIN versions v ON v.id = part.value ->> 'version_id'
      JOIN json_each(v.bindings) binding
      WHERE s.account_id = ?1 AND binding.value ->> 'type' = 'queue'
      UNION
      SELECT DISTINCT q.name, 'r2_bucket', b.name
      FROM bucket_notifications n
      JOIN queues q ON q.id = n.queue_id
      JOIN buckets b ON b.number = n.bucket_number
      WHERE q.account_id = ?1
      ORDER BY 1, 2 DESC, 3`,
    )
    .bind(accountId)
    .all<Row>();
  const producers = new Map<string, Producer[]>();
  for (const { queue_name, type, name } of results) {
    const of = producers.get(queue_name) ?? [];
    of.push(type === "worker" ? { type, script: name } : { type, bucket_name: name });
    producers.set(queue_name, of);
  }
  return producers;
}

/** Names of the databases whose changes go to the queue. */
export async function listSubscribedDatabases(db: D1Database, queueId: string): Promise<string[]> {
  const { results } = await db
    .prepare(
      `SELECT DISTINCT d.name FROM database_subscriptions s
      JOIN databases d ON d.id = s.database_id WHERE s.queue_id = ? ORDER BY d.name`,
    )
    .bind(queueId)
    .all<{ name: string }>();
  return results.map(({ name }) => name);
}

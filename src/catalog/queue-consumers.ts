import { randomHex } from "./crypto.ts";

/** What is kept of a consumer; settings have the API's names and units, those given and no others. */
export interface NewConsumer {
  type: "worker" | "http_pull";
  /** Of a worker. */
  scriptId: string | undefined;
  deadLetterQueue: string | undefined;
  settings: Record<string, unknown>;
}

/** Gives the queue its consumer; false if it has one. */
export async function insertConsumer(
  db: D1Database,
  queueId: string,
  consumer: NewConsumer,
): Promise<boolean> {
  const { meta } = await db
    .prepare(
      `INSERT INTO queue_consumers
        (id, queue_id, type, script_id, dead_letter_queue, settings, created_at)
      VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (queue_id) DO NOTHING`,
    )
    .bind(randomHex(16), queueId, ...toColumns(consumer), new Date().toISOString())
    .run();
  return meta.changes > 0;
}

/** Replaces all of the consumer but its id. */
export async function updateConsumer(
  db: D1Database,
  consumerId: string,
  consumer: NewConsumer,
): Promise<void> {
  await db
    .prepare(
      `UPDATE queue_consumers SET type = ?, script_id = ?, dead_letter_queue = ?, settings = ?
      WHERE id = ?`,
    )
    .bind(...toColumns(consumer), consumerId)
    .run();
}

const toColumns = (consumer: NewConsumer): (string | null)[] => [
  consumer.type,
  consumer.scriptId ?? null,
  consumer.deadLetterQueue ?? null,
  JSON.stringify(consumer.settings),
];

export async function deleteConsumer(db: D1Database, consumerId: string): Promise<void> {
  await db.prepare("DELETE FROM queue_consumers WHERE id = ?").bind(consumerId).run();
}

/** The queues that the script consumes. */
export async function queuesConsumedBy(
  db: D1Database,
  scriptId: string,
): Promise<{ id: string; name: string }[]> {
  const { results } = await db
    .prepare(
      `SELECT q.id, q.name FROM queue_consumers c JOIN queues q ON q.id = c.queue_id
      WHERE c.script_id = ? ORDER BY q.name`,
    )
    .bind(scriptId)
    .all<{ id: string; name: string }>();
  return results;
}

/** Ids of the account's queues whose consumer names the queue as its dead letter queue. */
export async function queuesWithDeadLetterQueue(
  db: D1Database,
  accountId: string,
  queueName: string,
): Promise<string[]> {
  const { results } = await db
    .prepare(
      `SELECT q.id FROM queue_consumers c JOIN queues q ON q.id = c.queue_id
      WHERE q.account_id = ? AND c.dead_letter_queue = ?`,
    )
    .bind(accountId, queueName)
    .all<{ id: string }>();
  return results.map(({ id }) => id);
}

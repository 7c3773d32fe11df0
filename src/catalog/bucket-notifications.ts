import { type Bucket, forgetBucket } from "./buckets.ts";

/** What can happen to an object: https://developers.cloudflare.com/r2/buckets/event-notifications/ */
export const ACTIONS = [
  "PutObject",
  "CopyObject",
  "DeleteObject",
  "CompleteMultipartUpload",
  "LifecycleDeletion",
] as const;
export type Action = (typeof ACTIONS)[number];

/** Which changes of a bucket a queue is told. */
export interface NotificationFilter {
  /** Of keys; empty: all. */
  prefix: string;
  suffix: string;
  actions: Action[];
}

export interface NewRule extends NotificationFilter {
  description?: string | undefined;
}

export interface NotificationRule extends NewRule {
  id: string;
  queueId: string;
  queueName: string;
  /** ISO 8601 in UTC. */
  createdAt: string;
}

interface Row {
  rule_id: string;
  queue_id: string;
  queue_name: string;
  prefix: string;
  suffix: string;
  actions: string;
  description: string | null;
  created_at: string;
}

/** The bucket's rules, oldest first. */
export async function listRules(db: D1Database, bucket: Bucket): Promise<NotificationRule[]> {
  const { results } = await db
    .prepare(
      `SELECT n.*, q.name AS queue_name FROM bucket_notifications n JOIN queues q ON q.id = n.queue_id
      WHERE n.bucket_number = ? ORDER BY n.rowid`,
    )
    .bind(bucket.number)
    .all<Row>();
  return results.map((row) => ({
    id: row.rule_id,
    queueId: row.queue_id,
    queueName: row.queue_name,
    prefix: row.prefix,
    suffix: row.suffix,
    actions: JSON.parse(row.actions) as Action[],
    description: row.description ?? undefined,
    createdAt: row.created_at,
  }));
}

/** Has the queue told of further changes of the bucket, from now on. */
export async function addRules(
  db: D1Database,
  bucket: Bucket,
  queueId: string,
  rules: NewRule[],
): Promise<void> {
  const createdAt = new Date().toISOString();
  const insert = db.prepare(
    `INSERT INTO bucket_notifications
      (rule_id, bucket_number, queue_id, prefix, suffix, actions, description, created_at)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
  );
  await db.batch(
    rules.map(({ prefix, suffix, actions, description = null }) =>
      insert.bind(
        crypto.randomUUID(),
        bucket.number,
        queueId,
        prefix,
        suffix,
        JSON.stringify(actions),
        description,
        createdAt,
      ),
    ),
  );
  forgetBucket(bucket);
}

export async function deleteRules(db: D1Database, bucket: Bucket, ids: string[]): Promise<void> {
  await db
    .prepare(
      "DELETE FROM bucket_notifications WHERE bucket_number = ? AND rule_id IN (SELECT value FROM json_each(?))",
    )
    .bind(bucket.number, JSON.stringify(ids))
    .run();
  forgetBucket(bucket);
}

/** The buckets that have something to do by themselves: rules for notifications or for lifecycles. */
export async function listActiveBuckets(
  db: D1Database,
): Promise<Pick<Bucket, "accountId" | "name" | "number">[]> {
  const { results } = await db
    .prepare(
      `SELECT account_id AS accountId, name, number FROM buckets WHERE json_array_length(lifecycle) > 0
      OR number IN (SELECT bucket_number FROM bucket_notifications)`,
    )
    .all<Pick<Bucket, "accountId" | "name" | "number">>();
  return results;
}

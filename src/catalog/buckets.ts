import { keyPrefix } from "../bindings/key-space.ts";
import type { NotificationFilter } from "./bucket-notifications.ts";
import { discard } from "./garbage.ts";
import { Recent } from "./recent.ts";

/** An R2 bucket as the catalog knows it; its objects are in the platform's own bucket. */
export interface Bucket {
  accountId: string;
  name: string;
  /** Never given twice: makes the prefix of the bucket's keys. */
  number: number;
  storageClass: StorageClass;
  /** The location hint it was created with, upper case. */
  location: string | undefined;
  /** ISO 8601 in UTC. */
  createdAt: string;
}

export type StorageClass = "Standard" | "InfrequentAccess";

interface Row {
  account_id: string;
  name: string;
  number: number;
  storage_class: StorageClass;
  location: string | null;
  created_at: string;
}

const COLUMNS = "account_id, name, number, storage_class, location, created_at";

const fromRow = (row: Row): Bucket => ({
  accountId: row.account_id,
  name: row.name,
  number: row.number,
  storageClass: row.storage_class,
  location: row.location ?? undefined,
  createdAt: row.created_at,
});

/** The account's bucket with this name, or undefined. */
export async function findBucket(
  db: D1Database,
  accountId: string,
  name: string,
): Promise<Bucket | undefined> {
  const row = await db
    .prepare(`SELECT ${COLUMNS} FROM buckets WHERE account_id = ? AND name = ?`)
    .bind(accountId, name)
    .first<Row>();
  return row ? fromRow(row) : undefined;
}

/** A bucket and who is told of changes of its objects. */
export interface WatchedBucket extends Bucket {
  notifications: (NotificationFilter & { queueId: string })[];
}

const recent = new Recent<WatchedBucket>();

/** Like `findBucket`, for the calls of bindings: remembers it for some seconds. */
export function recentBucket(
  db: D1Database,
  accountId: string,
  name: string,
): Promise<WatchedBucket | undefined> {
  return recent.get(`${accountId}/${name}`, async () => {
    const row = await db
      .prepare(
        `SELECT ${COLUMNS}, (
          SELECT json_group_array(json_object(
            'queueId', queue_id, 'prefix', prefix, 'suffix', suffix, 'actions', json(actions)))
          FROM bucket_notifications WHERE bucket_number = number
        ) AS notifications FROM buckets WHERE account_id = ? AND name = ?`,
      )
      .bind(accountId, name)
      .first<Row & { notifications: string }>();
    if (!row) return undefined;
    const notifications = JSON.parse(row.notifications) as WatchedBucket["notifications"];
    return { ...fromRow(row), notifications };
  });
}

/** To be called after each change of the bucket or of its notifications. */
export function forgetBucket({ accountId, name }: Pick<Bucket, "accountId" | "name">): void {
  recent.forget(`${accountId}/${name}`);
}

/** The account's buckets by name. */
export async function listBuckets(db: D1Database, accountId: string): Promise<Bucket[]> {
  const { results } = await db
    .prepare(`SELECT ${COLUMNS} FROM buckets WHERE account_id = ? ORDER BY name`)
    .bind(accountId)
    .all<Row>();
  return results.map(fromRow);
}

/** The new bucket, or undefined if the account has one of this name. */
export async function createBucket(
  db: D1Database,
  bucket: Pick<Bucket, "accountId" | "name" | "storageClass" | "location">,
): Promise<Bucket | undefined> {
  const row = await db
    .prepare(
      `INSERT INTO buckets (account_id, name, storage_class, location, created_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING ${COLUMNS}`,
    )
    .bind(
      bucket.accountId,
      bucket.name,
      bucket.storageClass,
      bucket.location ?? null,
      new Date().toISOString(),
    )
    .first<Row>();
  return row ? fromRow(row) : undefined;
}

/** Forgets the bucket; what is left in it is garbage from now on. */
export async function deleteBucket(db: D1Database, bucket: Bucket): Promise<void> {
  await db.batch([
    db.prepare("DELETE FROM buckets WHERE number = ?").bind(bucket.number),
    discard(db, "r2", keyPrefix(bucket.number)),
  ]);
  forgetBucket(bucket);
}

export async function setStorageClass(
  db: D1Database,
  bucket: Bucket,
  storageClass: StorageClass,
): Promise<void> {
  await db
    .prepare("UPDATE buckets SET storage_class = ? WHERE number = ?")
    .bind(storageClass, bucket.number)
    .run();
  forgetBucket(bucket);
}

/** Rules that are kept with a bucket and only read whole. */
export type BucketRules = "cors" | "lifecycle";

export async function getRules(
  db: D1Database,
  bucket: Bucket,
  kind: BucketRules,
): Promise<unknown[]> {
  const json = await db
    .prepare(`SELECT ${kind} FROM buckets WHERE number = ?`)
    .bind(bucket.number)
    .first<string>(kind);
  return json === null ? [] : (JSON.parse(json) as unknown[]);
}

export async function setRules(
  db: D1Database,
  bucket: Bucket,
  kind: BucketRules,
  rules: unknown[],
): Promise<void> {
  await db
    .prepare(`UPDATE buckets SET ${kind} = ? WHERE number = ?`)
    .bind(JSON.stringify(rules), bucket.number)
    .run();
}

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

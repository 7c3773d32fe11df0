/** A D1 database as the catalog knows it; its data is in an object of the same id. */
export interface Database {
  /** UUID. */
  id: string;
  accountId: string;
  name: string;
  /** The shard that keeps its data, from 1. */
  shard: number;
  /** ISO 8601 in UTC. */
  createdAt: string;
}

interface Row {
  id: string;
  account_id: string;
  name: string;
  shard: number;
  created_at: string;
}

const COLUMNS = "id, account_id, name, shard, created_at";

const fromRow = (row: Row): Database => ({
  id: row.id,
  accountId: row.account_id,
  name: row.name,
  shard: row.shard,
  createdAt: row.created_at,
});

/** The account's database with this id, else the one with this name, else undefined. */
export async function findDatabase(
  db: D1Database,
  accountId: string,
  idOrName: string,
): Promise<Database | undefined> {
  const row = await db
    .prepare(
      `SELECT ${COLUMNS} FROM databases WHERE account_id = ?1 AND (id = ?2 OR name = ?2) ORDER BY id = ?2 DESC LIMIT 1`,
    )
    .bind(accountId, idOrName)
    .first<Row>();
  return row ? fromRow(row) : undefined;
}

/** The account's databases by name, only those whose name contains `name` if it is given. */
export async function listDatabases(
  db: D1Database,
  accountId: string,
  name = "",
): Promise<Database[]> {
  const { results } = await db
    .prepare(
      `SELECT ${COLUMNS} FROM databases WHERE account_id = ? AND instr(name, ?) > 0 ORDER BY name`,
    )
    .bind(accountId, name)
    .all<Row>();
  return results.map(fromRow);
}

/**
 * The new database, in that of the first `shards` shards which has the fewest; undefined if the account
 * has one of this name.
 */
export async function createDatabase(
  db: D1Database,
  accountId: string,
  name: string,
  shards: number,
): Promise<Database | undefined> {
  const row = await db
    .prepare(
      `WITH RECURSIVE shards (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM shards WHERE number < ?)
      INSERT INTO databases (${COLUMNS}) VALUES (?, ?, ?,
        (SELECT number FROM shards
          ORDER BY (SELECT count(*) FROM databases WHERE shard = number), number LIMIT 1), ?)
      ON CONFLICT DO NOTHING RETURNING ${COLUMNS}`,
    )
    .bind(shards, crypto.randomUUID(), accountId, name, new Date().toISOString())
    .first<Row>();
  return row ? fromRow(row) : undefined;
}

/** Forgets the database; its object is for the caller to destroy. */
export async function deleteDatabase(db: D1Database, accountId: string, id: string): Promise<void> {
  await db
    .prepare("DELETE FROM databases WHERE account_id = ? AND id = ?")
    .bind(accountId, id)
    .run();
}

/** The shard of each database, by its id. Those that do not exist any more are left out. */
export async function findShards(db: D1Database, ids: string[]): Promise<Record<string, number>> {
  if (ids.length === 0) return {};
  const { results } = await db
    .prepare("SELECT id, shard FROM databases WHERE id IN (SELECT value FROM json_each(?))")
    .bind(JSON.stringify(ids))
    .all<{ id: string; shard: number }>();
  return Object.fromEntries(results.map(({ id, shard }) => [id, shard]));
}

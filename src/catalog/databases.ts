/** A D1 database as the catalog knows it; its data is in an object of the same id. */
export interface Database {
  /** UUID. */
  id: string;
  accountId: string;
  name: string;
  /** ISO 8601 in UTC. */
  createdAt: string;
}

interface Row {
  id: string;
  account_id: string;
  name: string;
  created_at: string;
}

const COLUMNS = "id, account_id, name, created_at";

const fromRow = (row: Row): Database => ({
  id: row.id,
  accountId: row.account_id,
  name: row.name,
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

/** The new database, or undefined if the account has one of this name. */
export async function createDatabase(
  db: D1Database,
  accountId: string,
  name: string,
): Promise<Database | undefined> {
  const row = await db
    .prepare(
      `INSERT INTO databases (${COLUMNS}) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING ${COLUMNS}`,
    )
    .bind(crypto.randomUUID(), accountId, name, new Date().toISOString())
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

import { randomHex } from "./crypto.ts";

/** The owner of everything else in the catalog. */
export interface Account {
  /** 32 hex digits. */
  id: string;
  name: string;
  /** Part of its scripts' addresses, and of no other account's. */
  subdomain: string;
  createdAt: string;
}

interface Row {
  id: string;
  name: string;
  subdomain: string;
  created_at: string;
}

const COLUMNS = "id, name, subdomain, created_at";

const fromRow = (row: Row): Account => ({
  id: row.id,
  name: row.name,
  subdomain: row.subdomain,
  createdAt: row.created_at,
});

/** All accounts, or the one with the id, oldest first. */
export async function listAccounts(db: D1Database, id?: string): Promise<Account[]> {
  const { results } = await db
    .prepare(
      `SELECT ${COLUMNS} FROM accounts WHERE id = coalesce(?, id) ORDER BY created_at, name, id`,
    )
    .bind(id ?? null)
    .all<Row>();
  return results.map(fromRow);
}

/** The account, or undefined. */
export async function findAccount(db: D1Database, id: string): Promise<Account | undefined> {
  const [account] = await listAccounts(db, id);
  return account;
}

/** The subdomains of all accounts, by id. */
export async function subdomainsOf(db: D1Database): Promise<Map<string, string>> {
  const { results } = await db
    .prepare("SELECT id, subdomain FROM accounts")
    .all<{ id: string; subdomain: string }>();
  return new Map(results.map(({ id, subdomain }) => [id, subdomain]));
}

/** The new account, or undefined if the subdomain is taken. */
export async function createAccount(
  db: D1Database,
  name: string,
  subdomain: string,
): Promise<Account | undefined> {
  const row = await db
    .prepare(
      `INSERT INTO accounts (${COLUMNS}) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING ${COLUMNS}`,
    )
    .bind(randomHex(16), name, subdomain, new Date().toISOString())
    .first<Row>();
  return row ? fromRow(row) : undefined;
}

/** Whether the account has the subdomain now; false if another has it. */
export async function setSubdomain(
  db: D1Database,
  id: string,
  subdomain: string,
): Promise<boolean> {
  const { meta } = await db
    .prepare("UPDATE OR IGNORE accounts SET subdomain = ? WHERE id = ?")
    .bind(subdomain, id)
    .run();
  return meta.changes > 0;
}

/** Whether a zone or a custom domain is the host or below it, so that no subdomain may be there. */
export async function isHostInUse(db: D1Database, host: string): Promise<boolean> {
  const row = await db
    .prepare(
      `SELECT 1 FROM (SELECT name FROM zones UNION ALL SELECT hostname FROM domains)
      WHERE name = ?1 OR substr(name, -length(?1) - 1) = '.' || ?1`,
    )
    .bind(host)
    .first();
  return row !== null;
}

import { randomHex } from "./crypto.ts";

/** A domain whose hosts an account may give to its scripts. */
export interface Zone {
  /** 32 hex digits. */
  id: string;
  accountId: string;
  accountName: string;
  /** Lower case. */
  name: string;
  createdAt: string;
}

/** What zones to find; all that is given must hold. */
export interface ZoneFilter {
  accountId?: string | undefined;
  id?: string | undefined;
  name?: string | undefined;
  /** The zones that a host of this name is in. */
  containing?: string | undefined;
}

interface Row {
  id: string;
  account_id: string;
  account_name: string;
  name: string;
  created_at: string;
}

/** The zones, closest first where `containing` is given. */
export async function listZones(db: D1Database, filter: ZoneFilter): Promise<Zone[]> {
  const { results } = await db
    .prepare(
      `SELECT z.id, z.account_id, a.name AS account_name, z.name, z.created_at
      FROM zones z JOIN accounts a ON a.id = z.account_id
      WHERE z.account_id = coalesce(?1, z.account_id) AND z.id = coalesce(?2, z.id)
        AND z.name = coalesce(?3, z.name)
        AND (?4 IS NULL OR ?4 = z.name OR substr(?4, -length(z.name) - 1) = '.' || z.name)
      ORDER BY length(z.name) * (?4 IS NOT NULL) DESC, z.name`,
    )
    .bind(
      filter.accountId ?? null,
      filter.id ?? null,
      filter.name ?? null,
      filter.containing ?? null,
    )
    .all<Row>();
  return results.map((row) => ({
    id: row.id,
    accountId: row.account_id,
    accountName: row.account_name,
    name: row.name,
    createdAt: row.created_at,
  }));
}

/** A zone of another account that the name is inside of, or that is inside of it. */
export async function findForeignZone(
  db: D1Database,
  accountId: string,
  name: string,
): Promise<string | undefined> {
  const row = await db
    .prepare(
      `SELECT name FROM zones WHERE account_id <> ?1 AND (
        ?2 = name OR substr(?2, -length(name) - 1) = '.' || name
        OR substr(name, -length(?2) - 1) = '.' || ?2)`,
    )
    .bind(accountId, name)
    .first<{ name: string }>();
  return row?.name;
}

/** Whether the subdomain is an account's, but not this one's. */
export async function isForeignSubdomain(
  db: D1Database,
  accountId: string,
  subdomain: string,
): Promise<boolean> {
  const row = await db
    .prepare("SELECT 1 FROM accounts WHERE subdomain = ? AND id <> ?")
    .bind(subdomain, accountId)
    .first();
  return row !== null;
}

/** The new zone's id, or undefined if there is one with the name. */
export async function createZone(
  db: D1Database,
  accountId: string,
  name: string,
): Promise<string | undefined> {
  const row = await db
    .prepare(
      "INSERT INTO zones (id, account_id, name, created_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING id",
    )
    .bind(randomHex(16), accountId, name, new Date().toISOString())
    .first<{ id: string }>();
  return row?.id;
}

/** Removes the zone with its routes and custom domains. */
export async function deleteZone(db: D1Database, id: string): Promise<void> {
  await db.prepare("DELETE FROM zones WHERE id = ?").bind(id).run();
}

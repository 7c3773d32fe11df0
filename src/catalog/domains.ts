import { randomHex } from "./crypto.ts";

/** A host name that is served by one script whole. */
export interface CustomDomain {
  /** 32 hex digits. */
  id: string;
  zoneId: string;
  zoneName: string;
  hostname: string;
  scriptId: string;
  scriptName: string;
}

interface Row {
  id: string;
  zone_id: string;
  zone_name: string;
  hostname: string;
  script_id: string;
  script_name: string;
}

/** The custom domains of the account's scripts by host name. */
export async function listDomains(db: D1Database, accountId: string): Promise<CustomDomain[]> {
  const { results } = await db
    .prepare(
      `SELECT h.id, h.zone_id, z.name AS zone_name, h.hostname, h.script_id, s.name AS script_name
      FROM domains h JOIN zones z ON z.id = h.zone_id JOIN scripts s ON s.id = h.script_id
      WHERE s.account_id = ? ORDER BY h.hostname`,
    )
    .bind(accountId)
    .all<Row>();
  return results.map((row) => ({
    id: row.id,
    zoneId: row.zone_id,
    zoneName: row.zone_name,
    hostname: row.hostname,
    scriptId: row.script_id,
    scriptName: row.script_name,
  }));
}

/** Removes custom domains, and gives host names to the script whoever had them; all or none. */
export async function changeDomains(
  db: D1Database,
  scriptId: string,
  removedIds: string[],
  given: { zoneId: string; hostname: string }[],
): Promise<void> {
  const remove = db.prepare("DELETE FROM domains WHERE id = ?");
  const give = db.prepare(
    `INSERT INTO domains (id, zone_id, script_id, hostname) VALUES (?, ?, ?, ?)
    ON CONFLICT (hostname) DO UPDATE SET zone_id = excluded.zone_id, script_id = excluded.script_id`,
  );
  const statements = [
    ...removedIds.map((id) => remove.bind(id)),
    ...given.map(({ zoneId, hostname }) => give.bind(randomHex(16), zoneId, scriptId, hostname)),
  ];
  if (statements.length > 0) await db.batch(statements);
}

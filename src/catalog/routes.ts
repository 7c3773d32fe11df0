import { randomHex } from "./crypto.ts";

/** A route as kept; see `RoutePattern` for what patterns mean. */
export interface Route {
  /** 32 hex digits. */
  id: string;
  zoneId: string;
  pattern: string;
  /** Undefined: it keeps requests away from workers. */
  scriptName: string | undefined;
}

/** A route to be made. */
export interface NewRoute {
  zoneId: string;
  /** Canonical: see `formatRoutePattern`. */
  pattern: string;
  /** The pattern's host, with its `*`. */
  host: string;
  scriptId: string | undefined;
}

interface Row {
  id: string;
  zone_id: string;
  pattern: string;
  script_name: string | null;
}

const SELECT = `SELECT r.id, r.zone_id, r.pattern, s.name AS script_name
  FROM routes r LEFT JOIN scripts s ON s.id = r.script_id`;

const fromRow = (row: Row): Route => ({
  id: row.id,
  zoneId: row.zone_id,
  pattern: row.pattern,
  scriptName: row.script_name ?? undefined,
});

/** The zone's routes by pattern. */
export async function listRoutes(db: D1Database, zoneId: string): Promise<Route[]> {
  const { results } = await db
    .prepare(`${SELECT} WHERE r.zone_id = ? ORDER BY r.pattern`)
    .bind(zoneId)
    .all<Row>();
  return results.map(fromRow);
}

/** The script's routes, in all zones. */
export async function listScriptRoutes(db: D1Database, scriptId: string): Promise<Route[]> {
  const { results } = await db
    .prepare(`${SELECT} WHERE r.script_id = ? ORDER BY r.pattern`)
    .bind(scriptId)
    .all<Row>();
  return results.map(fromRow);
}

/** The route with the pattern in the zone, or undefined. */
export async function findRoute(
  db: D1Database,
  zoneId: string,
  pattern: string,
): Promise<Route | undefined> {
  const row = await db
    .prepare(`${SELECT} WHERE r.zone_id = ? AND r.pattern = ?`)
    .bind(zoneId, pattern)
    .first<Row>();
  return row ? fromRow(row) : undefined;
}

/** Removes and makes routes, all or none. Throws if a pattern to be made is in use. */
export async function changeRoutes(
  db: D1Database,
  removedIds: string[],
  added: (NewRoute & { id?: string })[],
): Promise<void> {
  const remove = db.prepare("DELETE FROM routes WHERE id = ?");
  const add = db.prepare(
    "INSERT INTO routes (id, zone_id, script_id, pattern, host) VALUES (?, ?, ?, ?, ?)",
  );
  const statements = [
    ...removedIds.map((id) => remove.bind(id)),
    ...added.map(({ id, zoneId, scriptId, pattern, host }) =>
      add.bind(id ?? randomHex(16), zoneId, scriptId ?? null, pattern, host),
    ),
  ];
  if (statements.length > 0) await db.batch(statements);
}

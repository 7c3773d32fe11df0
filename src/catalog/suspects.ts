import type { Apart, ApartReason } from "./routing.ts";

// A culprit stays apart until it has behaved for so long, a suspect for a shorter time; each time that it
// offends after its release twice as long.
const CULPRIT_MS = 5 * 60_000;
const SUSPECT_MS = 60_000;
const MAX_APART_MS = 60 * 60_000;
/** What was released so long ago begins anew. */
const FORGOTTEN_AFTER_MS = 60 * 60_000;

/** Scripts that were at work when an executor had to be ended. */
export interface Incident {
  scriptIds: string[];
  reason: ApartReason;
  /** Whether the one script must have been it. */
  culprit: boolean;
}

/** A script that runs apart, as its account sees it. */
export interface ApartScript extends Apart {
  scriptName: string;
  strikes: number;
  /** Milliseconds since 1970. */
  since: number;
}

/**
 * Has the scripts run apart for a while. If one of them was the culprit, the others that were suspected
 * together with it are free.
 */
export async function recordIncident(
  db: D1Database,
  { scriptIds, reason, culprit }: Incident,
  now: number,
): Promise<void> {
  const ids = JSON.stringify(scriptIds);
  const update = db
    .prepare(
      `INSERT INTO apart_scripts AS known (script_id, incident, reason, culprit, strikes, since, until)
      SELECT id, ?2, ?3, ?4, 1, ?5, ?5 FROM scripts WHERE id IN (SELECT value FROM json_each(?1))
      ON CONFLICT (script_id) DO UPDATE SET
        incident = excluded.incident,
        reason = excluded.reason,
        culprit = CASE WHEN known.until > ?5 THEN max(known.culprit, ?4) ELSE ?4 END,
        strikes = CASE
          WHEN known.until > ?5 THEN known.strikes
          WHEN known.until + ${FORGOTTEN_AFTER_MS} > ?5 THEN min(known.strikes + 1, 30)
          ELSE 1 END,
        since = CASE WHEN known.until > ?5 THEN known.since ELSE ?5 END`,
    )
    .bind(ids, crypto.randomUUID(), reason, Number(culprit), now);
  const extend = db
    .prepare(
      `UPDATE apart_scripts SET until = max(until, ?2 + min(${MAX_APART_MS},
        CASE culprit WHEN 1 THEN ${CULPRIT_MS} ELSE ${SUSPECT_MS} END << (strikes - 1)))
      WHERE script_id IN (SELECT value FROM json_each(?1))`,
    )
    .bind(ids, now);
  // Before the rows have the new incident.
  const acquit = db
    .prepare(
      `DELETE FROM apart_scripts WHERE culprit = 0
        AND incident IN (SELECT incident FROM apart_scripts WHERE script_id = ?1)
        AND script_id <> ?1`,
    )
    .bind(scriptIds[0] ?? "");
  await db.batch(culprit ? [acquit, update, extend] : [update, extend]);
}

/** The account's scripts that run apart, by name. */
export async function listApart(
  db: D1Database,
  accountId: string,
  now: number,
): Promise<ApartScript[]> {
  const { results } = await db
    .prepare(
      `SELECT s.name, a.reason, a.culprit, a.strikes, a.since, a.until
      FROM apart_scripts a JOIN scripts s ON s.id = a.script_id
      WHERE s.account_id = ? AND a.until > ? ORDER BY s.name`,
    )
    .bind(accountId, now)
    .all<{
      name: string;
      reason: ApartReason;
      culprit: 0 | 1;
      strikes: number;
      since: number;
      until: number;
    }>();
  return results.map(({ name, culprit, ...rest }) => ({
    scriptName: name,
    culprit: culprit === 1,
    ...rest,
  }));
}

/** Has the script run with all others again, and forgets what it did; whether it ran apart. */
export async function release(db: D1Database, scriptId: string, now: number): Promise<boolean> {
  const until = await db
    .prepare("DELETE FROM apart_scripts WHERE script_id = ? RETURNING until")
    .bind(scriptId)
    .first<number>("until");
  return until !== null && until > now;
}

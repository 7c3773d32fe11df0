import type { Window } from "./stored-message.ts";

/** The messages that any batch may have. */
export const UNORDERED = "ordering_key IS NULL AND given_up = 0";

/** When there is a batch of messages without an ordering key; undefined if there are no such messages. */
export function unorderedReadyAt(
  sql: SqlStorage,
  { batchSize, maxWaitMs }: Window,
  now: number,
): number | undefined {
  // Enough for a batch are visible: it is ready since the last of them is.
  const [full] = sql.exec<{ visible_at: number }>(
    `SELECT visible_at FROM messages WHERE ${UNORDERED} AND visible_at <= ?
      ORDER BY visible_at, seq LIMIT 1 OFFSET ?`,
    now,
    batchSize - 1,
  );
  if (full) return full.visible_at;
  const [oldest] = sql.exec<{ visible_at: number }>(
    `SELECT visible_at FROM messages WHERE ${UNORDERED} AND visible_at IS NOT NULL
      ORDER BY visible_at LIMIT 1`,
  );
  return oldest && oldest.visible_at + maxWaitMs;
}

/** Places of messages without an ordering key that are visible, oldest first. */
export function visibleUnordered(sql: SqlStorage, limit: number, now: number): number[] {
  const rows = sql.exec<{ seq: number; cuts: number }>(
    `SELECT seq, cuts FROM messages WHERE ${UNORDERED} AND visible_at <= ?
      ORDER BY visible_at, seq LIMIT ?`,
    now,
    limit,
  );
  return apart([...rows]);
}

/** The messages with the key from the first on, as far as they are visible. */
export function visibleRun(sql: SqlStorage, key: string, limit: number, now: number): number[] {
  const rows = sql.exec<{ seq: number; cuts: number; visible_at: number | null }>(
    `SELECT seq, cuts, visible_at FROM messages
      WHERE ordering_key = ? AND given_up = 0 ORDER BY seq LIMIT ?`,
    key,
    limit,
  );
  const run: { seq: number; cuts: number }[] = [];
  for (const row of rows) {
    if (row.visible_at === null || row.visible_at > now) break;
    run.push(row);
  }
  return apart(run);
}

// A message whose deliveries have been cut short so often may be what ends its executors: it is
// delivered alone, so that others do not share its fate.
const SUSPICIOUS_CUTS = 3;

function apart(rows: { seq: number; cuts: number }[]): number[] {
  const suspicious = rows.findIndex(({ cuts }) => cuts >= SUSPICIOUS_CUTS);
  const kept = suspicious < 0 ? rows : rows.slice(0, Math.max(1, suspicious));
  return kept.map(({ seq }) => seq);
}

/** The body of a message, as far as it is used: docs/database-changes.md of Mayfly has all of it. */
export interface DatabaseChange {
  table: "orders" | "order_items";
  operation: "insert" | "update" | "delete";
  /** Grows by one with each change of the database. */
  sequence: number;
  /** ISO 8601, UTC. */
  eventTime: string;
  old: Row | null;
  new: Row | null;
}
type Row = Record<string, unknown>;

/** An entry as the API answers it. */
export interface Entry {
  sequence: number;
  at: string;
  table: string;
  operation: string;
  /** By column what it was and what it became. */
  changes: Record<string, [before: unknown, after: unknown]>;
}

/** Writes down the changes. What is there already stays: a message may come more than once. */
export async function record(
  db: D1Database,
  messages: readonly Message<DatabaseChange>[],
): Promise<void> {
  const insert = db.prepare(
    `INSERT INTO audit (message_id, sequence, at, order_id, table_name, operation, changes)
    VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
  );
  await db.batch(
    messages.map(({ id, body }) =>
      insert.bind(
        id,
        body.sequence,
        body.eventTime,
        orderOf(body),
        body.table,
        body.operation,
        JSON.stringify(differences(body)),
      ),
    ),
  );
}

/** What has happened to the order and its items, in the order in which it did. */
export async function history(db: D1Database, orderId: string): Promise<Entry[]> {
  const { results } = await db
    .prepare(
      `SELECT sequence, at, table_name AS "table", operation, changes FROM audit
      WHERE order_id = ? ORDER BY sequence`,
    )
    .bind(orderId)
    .all<Omit<Entry, "changes"> & { changes: string }>();
  return results.map((entry) => ({
    ...entry,
    changes: JSON.parse(entry.changes) as Entry["changes"],
  }));
}

function orderOf({ table, old, new: row }: DatabaseChange): string {
  return String((row ?? old)?.[table === "orders" ? "id" : "order_id"]);
}

function differences({ old, new: row }: DatabaseChange): Entry["changes"] {
  const columns = Object.keys(row ?? old ?? {});
  const pairs = columns.map((name): [string, [unknown, unknown]] => [
    name,
    [old?.[name] ?? null, row?.[name] ?? null],
  ]);
  return Object.fromEntries(pairs.filter(([, [before, after]]) => before !== after));
}

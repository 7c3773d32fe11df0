import type { Source, Window } from "./stored-message.ts";

// A row for each ordering key that has messages. `visible_at` is that of its first message: NULL while
// a batch has it. `ready_at`: when there is a batch of it. `size`: its messages.
const SCHEMA = `
CREATE TABLE IF NOT EXISTS ordering_groups (
  key TEXT PRIMARY KEY,
  size INTEGER NOT NULL,
  visible_at INTEGER,
  ready_at INTEGER
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS ordering_groups_ready ON ordering_groups (ready_at);
CREATE INDEX IF NOT EXISTS ordering_groups_visible ON ordering_groups (visible_at);
`;

/**
 * Which messages with ordering keys may be delivered: of each key only the first, and those that follow
 * it in the same batch. One row is kept for each key, so that finding one costs the same however many
 * messages wait.
 */
export class OrderingGroups {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    sql.exec(SCHEMA);
  }

  /** A message with the key was put in. */
  added(key: string, visibleAt: number, { batchSize, maxWaitMs }: Window): void {
    this.#sql.exec(
      `INSERT INTO ordering_groups (key, size, visible_at, ready_at) VALUES (?1, 1, ?2, ?2 + iif(1 >= ?3, 0, ?4))
        ON CONFLICT (key) DO UPDATE SET size = size + 1,
          ready_at = visible_at + iif(size + 1 >= ?3, 0, ?4)`,
      key,
      visibleAt,
      batchSize,
      maxWaitMs,
    );
  }

  /** The group whose batch is ready first, whether it is already or not. */
  first(): (Source & { key: string }) | undefined {
    const [row] = this.#sql.exec<{ key: string; ready_at: number }>(
      "SELECT key, ready_at FROM ordering_groups WHERE ready_at IS NOT NULL ORDER BY ready_at LIMIT 1",
    );
    return row && { key: row.key, readyAt: row.ready_at };
  }

  /** The group whose first message has been visible for longest. */
  firstVisible(now: number): string | undefined {
    const [row] = this.#sql.exec<{ key: string }>(
      "SELECT key FROM ordering_groups WHERE visible_at <= ? ORDER BY visible_at LIMIT 1",
      now,
    );
    return row?.key;
  }

  /** A batch has the group's first messages. */
  taken(key: string): void {
    this.#sql.exec(
      "UPDATE ordering_groups SET visible_at = NULL, ready_at = NULL WHERE key = ?",
      key,
    );
  }

  /** Messages of the group have changed, or gone. */
  update(key: string, removed: number, { batchSize, maxWaitMs }: Window): void {
    const [head] = this.#sql.exec<{ visible_at: number | null }>(
      `SELECT visible_at FROM messages WHERE ordering_key = ? AND given_up = 0 ORDER BY seq LIMIT 1`,
      key,
    );
    if (!head) {
      this.#sql.exec("DELETE FROM ordering_groups WHERE key = ?", key);
      return;
    }
    this.#sql.exec(
      `UPDATE ordering_groups SET size = size - ?2, visible_at = ?3,
        ready_at = ?3 + iif(size - ?2 >= ?4, 0, ?5) WHERE key = ?1`,
      key,
      removed,
      head.visible_at,
      batchSize,
      maxWaitMs,
    );
  }

  /** How long batches are collected has changed. */
  setWindow({ batchSize, maxWaitMs }: Window): void {
    this.#sql.exec(
      "UPDATE ordering_groups SET ready_at = visible_at + iif(size >= ?, 0, ?)",
      batchSize,
      maxWaitMs,
    );
  }

  /** Makes what batches had visible again. */
  release(now: number): void {
    this.#sql.exec(
      `UPDATE messages SET visible_at = ? WHERE given_up = 0 AND visible_at IS NULL AND ordering_key IN
        (SELECT key FROM ordering_groups WHERE visible_at IS NULL)`,
      now,
    );
    this.#sql.exec(
      "UPDATE ordering_groups SET visible_at = ?1, ready_at = ?1 WHERE visible_at IS NULL",
      now,
    );
  }

  clear(): void {
    this.#sql.exec("DELETE FROM ordering_groups");
  }
}

import { type Change, isDeletion, type Notification, type StoredObject } from "./protocol.ts";

/** A notification on its way to a queue. */
export interface OutgoingMessage {
  /** Grows with each message. */
  number: number;
  id: string;
  body: string;
  timestamp: number;
}

/**
 * What a bucket's changes leave behind: an intent before each, and in its place, once it is done, a
 * message for each queue. All calls are synchronous, so calls without an `await` between them are one
 * transaction.
 */
export class Journal {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    // version: the object's before the change; NULL if there was none, empty if that is not known.
    sql.exec(
      `CREATE TABLE IF NOT EXISTS intents (
        id TEXT PRIMARY KEY,
        key TEXT NOT NULL,
        version TEXT,
        began_at INTEGER NOT NULL,
        change TEXT NOT NULL
      );
      CREATE INDEX IF NOT EXISTS intents_by_key ON intents (key);
      CREATE TABLE IF NOT EXISTS outbox (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        queue_id TEXT NOT NULL,
        id TEXT NOT NULL,
        body TEXT NOT NULL,
        timestamp INTEGER NOT NULL
      );
      CREATE INDEX IF NOT EXISTS outbox_by_queue ON outbox (queue_id, number);`,
    );
  }

  /** Notes that the change is about to be made, to an object of this version. */
  begin(change: Change, version: string | null): void {
    this.#sql.exec(
      "INSERT OR REPLACE INTO intents (id, key, version, began_at, change) VALUES (?, ?, ?, ?, ?)",
      change.id,
      change.key,
      version,
      Date.now(),
      JSON.stringify(change),
    );
  }

  /** An object is being put under the key: there may be one where there was none. */
  doubtAbsence(key: string): void {
    this.#sql.exec("UPDATE intents SET version = '' WHERE key = ? AND version IS NULL", key);
  }

  /** The change has been made: `object` is what is there now, if it was no deletion. */
  commit(change: Change, object: StoredObject | undefined, deletedAt: number): void {
    const { id, action, account, bucket, key, queueIds } = change;
    const timestamp = object?.uploadedAt ?? deletedAt;
    const body: Notification = {
      account,
      bucket,
      eventTime: new Date(timestamp).toISOString(),
      action,
      object: { key, ...(object && { size: object.size, eTag: object.eTag }) },
    };
    for (const queueId of queueIds) {
      this.#sql.exec(
        "INSERT INTO outbox (queue_id, id, body, timestamp) VALUES (?, ?, ?, ?)",
        queueId,
        id,
        JSON.stringify(body),
        timestamp,
      );
    }
    this.cancel(change);
    // What is there now is no sign that another change of the key was made.
    this.#sql.exec("UPDATE intents SET version = ? WHERE key = ?", object?.version ?? null, key);
  }

  /** The change has not been made. */
  cancel({ id }: Change): void {
    this.#sql.exec("DELETE FROM intents WHERE id = ?", id);
  }

  /** Commits or cancels by what is there now, when nobody can tell how the change ended. */
  settle(change: Change, object: StoredObject | undefined): void {
    const [intent] = this.#sql
      .exec<{ version: string | null; began_at: number }>(
        "SELECT version, began_at FROM intents WHERE id = ?",
        change.id,
      )
      .toArray();
    if (!intent) return;
    const made = isDeletion(change.action)
      ? !object && intent.version !== null
      : object !== undefined && object.version !== intent.version;
    if (made) this.commit(change, object, intent.began_at);
    else this.cancel(change);
  }

  /** The changes that there are intents of. */
  changes(): Change[] {
    return this.#sql
      .exec<{ change: string }>("SELECT change FROM intents")
      .toArray()
      .map(({ change }) => JSON.parse(change) as Change);
  }

  /** The queues that messages wait for. */
  queues(): string[] {
    return this.#sql
      .exec<{ queue_id: string }>("SELECT DISTINCT queue_id FROM outbox")
      .toArray()
      .map(({ queue_id }) => queue_id);
  }

  /** The oldest messages for a queue. */
  messagesFor(queueId: string, limit: number): OutgoingMessage[] {
    return this.#sql
      .exec<OutgoingMessage & Record<string, SqlStorageValue>>(
        "SELECT number, id, body, timestamp FROM outbox WHERE queue_id = ? ORDER BY number LIMIT ?",
        queueId,
        limit,
      )
      .toArray();
  }

  /** The queue has these messages, or wants none. */
  removeMessages(queueId: string, messages: OutgoingMessage[]): void {
    this.#sql.exec(
      "DELETE FROM outbox WHERE queue_id = ? AND number <= ?",
      queueId,
      messages.at(-1)?.number ?? 0,
    );
  }

  get isEmpty(): boolean {
    const { empty } = this.#sql
      .exec<{ empty: 0 | 1 }>(
        "SELECT NOT EXISTS (SELECT 1 FROM intents) AND NOT EXISTS (SELECT 1 FROM outbox) AS empty",
      )
      .one();
    return empty === 1;
  }
}

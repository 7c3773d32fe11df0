import type { Backlog, ContentType } from "./protocol.ts";
import type { StorableMessage, TakenMessage } from "./stored-message.ts";

// `visible_at`: when the message may be delivered; NULL while a batch has it. A pull consumer's lease
// hides it until then instead. `stored_at` grows with seq, so the oldest are found by seq. `failures`:
// deliveries that failed; `cuts`: those that were cut short by the end of an executor. The body of a v8
// message is beside the table, since SQL has no type for it. It is last: all else is read without it.
const SCHEMA = `
CREATE TABLE IF NOT EXISTS messages (
  seq INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  content_type TEXT NOT NULL,
  bytes INTEGER NOT NULL,
  sent_at INTEGER NOT NULL,
  stored_at INTEGER NOT NULL,
  visible_at INTEGER,
  attempts INTEGER NOT NULL DEFAULT 0,
  failures INTEGER NOT NULL DEFAULT 0,
  cuts INTEGER NOT NULL DEFAULT 0,
  given_up INTEGER NOT NULL DEFAULT 0,
  lease TEXT,
  ordering_key TEXT,
  trace TEXT,
  body
);
CREATE INDEX IF NOT EXISTS messages_unordered ON messages (visible_at, seq)
  WHERE ordering_key IS NULL AND given_up = 0;
CREATE INDEX IF NOT EXISTS messages_ordered ON messages (ordering_key, seq)
  WHERE ordering_key IS NOT NULL AND given_up = 0;
CREATE INDEX IF NOT EXISTS messages_leased ON messages (visible_at) WHERE lease IS NOT NULL;
CREATE INDEX IF NOT EXISTS messages_given_up ON messages (seq) WHERE given_up = 1;
CREATE TABLE IF NOT EXISTS totals (count INTEGER NOT NULL, bytes INTEGER NOT NULL);
INSERT INTO totals SELECT 0, 0 WHERE NOT EXISTS (SELECT 1 FROM totals);
`;

const COLUMNS =
  "seq, id, content_type, sent_at, attempts, failures, cuts, ordering_key, visible_at, trace, body";

/** Rows removed in one piece where many must go: some milliseconds. */
export const SLICE = 500;

type MessageRow = {
  seq: number;
  id: string;
  content_type: ContentType;
  sent_at: number;
  attempts: number;
  failures: number;
  cuts: number;
  ordering_key: string | null;
  visible_at: number | null;
  trace: string | null;
  body: SqlStorageValue;
};
export type RemovedRow = {
  seq: number;
  bytes: number;
  content_type: ContentType;
  ordering_key: string | null;
};

/**
 * The rows of one queue's messages, with what is kept beside them: how many there are, and bodies that SQL
 * has no type for. Methods that change something are called within a transaction.
 */
export class MessageTable {
  readonly #storage: DurableObjectStorage;
  readonly #sql: SqlStorage;
  #count: number;
  #bytes: number;
  #lastSeq: number;
  #purgedSeq: number;

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage;
    this.#sql = storage.sql;
    this.#sql.exec(SCHEMA);
    // Queues of before there were traces lack it.
    const [hasTrace] = this.#sql.exec(
      "SELECT 1 FROM pragma_table_info('messages') WHERE name = 'trace'",
    );
    if (!hasTrace) this.#sql.exec("ALTER TABLE messages ADD COLUMN trace TEXT");
    const { count, bytes, last } = this.#sql
      .exec<{
        count: number;
        bytes: number;
        last: number | null;
      }>("SELECT count, bytes, (SELECT max(seq) FROM messages) AS last FROM totals")
      .one();
    this.#count = count;
    this.#bytes = bytes;
    this.#purgedSeq = storage.kv.get<number>("purged") ?? 0;
    this.#lastSeq = Math.max(last ?? 0, this.#purgedSeq);
  }

  /** Number of messages: delivered or not, but not acknowledged. */
  get count(): number {
    return this.#count;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** The place of the message that was put in last. */
  get lastSeq(): number {
    return this.#lastSeq;
  }

  /**
   * All messages up to here have been purged: they are not counted any more, though some may still have to
   * be removed. 0 if none have.
   */
  get purgedSeq(): number {
    return this.#purgedSeq;
  }

  backlog(): Backlog {
    const [oldest] = this.#sql.exec<{ sent_at: number }>(
      "SELECT sent_at FROM messages WHERE seq > ? ORDER BY seq LIMIT 1",
      this.#purgedSeq,
    );
    return {
      backlogCount: this.#count,
      backlogBytes: this.#bytes,
      ...(oldest && { oldestMessageTimestamp: oldest.sent_at }),
    };
  }

  /** When the oldest message was stored. */
  oldestStoredAt(): number | undefined {
    const [first] = this.#sql.exec<{ stored_at: number }>(
      "SELECT stored_at FROM messages WHERE seq > ? ORDER BY seq LIMIT 1",
      this.#purgedSeq,
    );
    return first?.stored_at;
  }

  /** Puts messages in. Those whose id is here already are passed over; the others are returned. */
  insert(messages: StorableMessage[], now: number): StorableMessage[] {
    const inserted = messages.filter((message) => this.#insertOne(message, now));
    const bytes = inserted.reduce((sum, message) => sum + message.bytes, 0);
    this.#add(inserted.length, bytes);
    return inserted;
  }

  #insertOne(message: StorableMessage, now: number): boolean {
    const { id, contentType, body, bytes, sentAt, visibleAt, orderingKey, trace } = message;
    if (id !== undefined && this.#isHere(id)) return false;
    const seq = ++this.#lastSeq;
    this.#sql.exec(
      `INSERT INTO messages (seq, id, content_type, bytes, sent_at, stored_at, visible_at, ordering_key, trace, body)
        VALUES (?, coalesce(?, lower(hex(randomblob(16)))), ?, ?, ?, ?, ?, ?, ?, ?)`,
      seq,
      id ?? null,
      contentType,
      bytes,
      sentAt,
      now,
      visibleAt,
      orderingKey ?? null,
      trace ?? null,
      contentType === "v8" ? null : (body as SqlStorageValue),
    );
    if (contentType === "v8") this.#storage.kv.put(cloneKey(seq), body);
    return true;
  }

  #isHere(id: string): boolean {
    const [found] = this.#sql.exec<{ seq: number }>("SELECT seq FROM messages WHERE id = ?", id);
    if (!found) return false;
    if (found.seq > this.#purgedSeq) return true;
    this.#delete([found.seq]);
    return false;
  }

  /** Takes messages: they are visible again at `visibleAt`, or never by themselves. In their order. */
  take(seqs: number[], visibleAt: number | null, lease: string | null): TakenMessage[] {
    if (seqs.length === 0) return [];
    const rows = this.#sql.exec<MessageRow>(
      `UPDATE messages SET visible_at = ?, attempts = attempts + 1, lease = ?
        WHERE seq IN (SELECT value FROM json_each(?)) RETURNING ${COLUMNS}`,
      visibleAt,
      lease,
      JSON.stringify(seqs),
    );
    // The order of what an UPDATE returns is not defined.
    return [...rows].sort((a, b) => a.seq - b.seq).map((row) => this.#fromRow(row));
  }

  /** Some of the messages that were given up, oldest first. */
  givenUp(limit: number): TakenMessage[] {
    const rows = this.#sql.exec<MessageRow>(
      `SELECT ${COLUMNS} FROM messages WHERE given_up = 1 AND seq > ? ORDER BY seq LIMIT ?`,
      this.#purgedSeq,
      limit,
    );
    return [...rows].map((row) => this.#fromRow(row));
  }

  /** Whether there are messages that were given up. */
  get hasGivenUp(): boolean {
    const [first] = this.#sql.exec(
      "SELECT 1 FROM messages WHERE given_up = 1 AND seq > ? LIMIT 1",
      this.#purgedSeq,
    );
    return first !== undefined;
  }

  #fromRow(row: MessageRow): TakenMessage {
    return {
      seq: row.seq,
      id: row.id,
      timestamp: row.sent_at,
      attempts: row.attempts,
      failures: row.failures,
      cuts: row.cuts,
      contentType: row.content_type,
      orderingKey: row.ordering_key ?? undefined,
      body: row.content_type === "v8" ? this.#storage.kv.get(cloneKey(row.seq)) : row.body,
      ...(row.trace !== null && { trace: row.trace }),
    };
  }

  /** Removes messages; those that had been purged are not returned. */
  remove(seqs: number[]): RemovedRow[] {
    const removed = this.#delete(seqs).filter(({ seq }) => seq > this.#purgedSeq);
    this.#add(-removed.length, -removed.reduce((sum, { bytes }) => sum + bytes, 0));
    return removed;
  }

  /** From now on there are no messages; `removePurged` makes room. */
  purge(): void {
    this.#add(-this.#count, -this.#bytes);
    this.#storage.kv.put("purged", this.#lastSeq);
    this.#purgedSeq = this.#lastSeq;
  }

  /** Removes some of the purged messages. */
  removePurged(): void {
    const rows = this.#sql.exec<{ seq: number }>(
      `SELECT seq FROM messages WHERE seq <= ? ORDER BY seq LIMIT ${SLICE}`,
      this.#purgedSeq,
    );
    const seqs = [...rows].map(({ seq }) => seq);
    this.#delete(seqs);
    if (seqs.length < SLICE) {
      this.#storage.kv.delete("purged");
      this.#purgedSeq = 0;
    }
  }

  #delete(seqs: number[]): RemovedRow[] {
    if (seqs.length === 0) return [];
    const rows = [
      ...this.#sql.exec<RemovedRow>(
        `DELETE FROM messages WHERE seq IN (SELECT value FROM json_each(?))
          RETURNING seq, bytes, content_type, ordering_key`,
        JSON.stringify(seqs),
      ),
    ];
    for (const row of rows) {
      if (row.content_type === "v8") this.#storage.kv.delete(cloneKey(row.seq));
    }
    return rows;
  }

  #add(count: number, bytes: number): void {
    if (count === 0 && bytes === 0) return;
    const totals = this.#sql
      .exec<{
        count: number;
        bytes: number;
      }>(
        "UPDATE totals SET count = count + ?, bytes = bytes + ? RETURNING count, bytes",
        count,
        bytes,
      )
      .one();
    this.#count = totals.count;
    this.#bytes = totals.bytes;
  }
}

const cloneKey = (seq: number): string => `v8/${seq}`;

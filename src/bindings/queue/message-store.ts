import type { Backlog, ContentType, DeliveredMessage } from "./protocol.ts";
import { OrderingGroups } from "./ordering-groups.ts";

/** A message as it goes into the store. */
export interface StorableMessage {
  /** Made if missing. */
  id?: string;
  contentType: ContentType;
  body: unknown;
  bytes: number;
  /** Milliseconds since 1970, all three; `sentAt` is what the consumer sees. */
  sentAt: number;
  visibleAt: number;
  orderingKey?: string;
}

/** A message taken out of the store for a while. */
export interface TakenMessage extends DeliveredMessage {
  /** Its place in the queue: never used twice. */
  seq: number;
  /** How many deliveries have failed, of those before this one. */
  failures: number;
  /** How many have been cut short. */
  cuts: number;
  orderingKey: string | undefined;
}

/** What is to be looked at when deciding whether there is a batch. */
export interface Source {
  /** Undefined: the messages without an ordering key. */
  key: string | undefined;
  /** When a batch of it is ready. */
  readyAt: number;
}

/** What becomes of a message that is to be tried again. */
export interface Again {
  seq: number;
  failures: number;
  /** As it was if missing. */
  cuts?: number;
  visibleAt: number;
}

/** How long a batch is collected, as the consumer's settings say. */
export interface Window {
  batchSize: number;
  maxWaitMs: number;
}

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

/** When messages are visible that have waited already, for the window, too. */
export const AT_ONCE = 0;

/** Rows removed in one piece where many must go: some milliseconds. */
const SLICE = 500;

const UNORDERED = "ordering_key IS NULL AND given_up = 0";
const COLUMNS =
  "seq, id, content_type, sent_at, attempts, failures, cuts, ordering_key, visible_at, body";

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
  body: SqlStorageValue;
};
type RemovedRow = {
  seq: number;
  bytes: number;
  content_type: ContentType;
  ordering_key: string | null;
};

/** The messages of one queue: all the SQL there is about them. */
export class MessageStore {
  readonly #storage: DurableObjectStorage;
  readonly #sql: SqlStorage;
  readonly #groups: OrderingGroups;
  #count: number;
  #bytes: number;
  #lastSeq: number;
  // All messages up to here have been purged: they are not counted any more, though some may still
  // have to be removed.
  #purgedSeq: number;
  #closed = false;

  /** Opens the store after a start of the object: what its predecessor had taken is there again. */
  constructor(storage: DurableObjectStorage) {
    this.#storage = storage;
    this.#sql = storage.sql;
    this.#sql.exec(SCHEMA);
    this.#groups = new OrderingGroups(this.#sql);
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
    storage.transactionSync(() => {
      this.#groups.release(AT_ONCE);
      this.#sql.exec(
        `UPDATE messages SET visible_at = ${AT_ONCE} WHERE ${UNORDERED} AND visible_at IS NULL`,
      );
    });
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

  /** The storage is gone: what comes back from deliveries is passed over from now on. */
  close(): void {
    this.#closed = true;
  }

  /** Whether purged messages are still to be removed; until then there is nothing to take. */
  get purging(): boolean {
    return this.#purgedSeq > 0 && !this.#closed;
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

  /** Puts messages in, all or none. Those whose id is here already are passed over. */
  insert(messages: StorableMessage[], now: number, window: Window): void {
    this.#storage.transactionSync(() => {
      let count = 0;
      let bytes = 0;
      for (const message of messages) {
        if (!this.#insertOne(message, now)) continue;
        count++;
        bytes += message.bytes;
        if (message.orderingKey !== undefined) {
          this.#groups.added(message.orderingKey, message.visibleAt, window);
        }
      }
      this.#add(count, bytes);
    });
  }

  #insertOne(message: StorableMessage, now: number): boolean {
    const { id, contentType, body, bytes, sentAt, visibleAt, orderingKey } = message;
    if (id !== undefined && this.#isHere(id)) return false;
    const seq = ++this.#lastSeq;
    this.#sql.exec(
      `INSERT INTO messages (seq, id, content_type, bytes, sent_at, stored_at, visible_at, ordering_key, body)
        VALUES (?, coalesce(?, lower(hex(randomblob(16)))), ?, ?, ?, ?, ?, ?, ?)`,
      seq,
      id ?? null,
      contentType,
      bytes,
      sentAt,
      now,
      visibleAt,
      orderingKey ?? null,
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

  /** What a batch may be made of that is ready first, whether it is already or not. */
  firstSource({ batchSize, maxWaitMs }: Window, now: number): Source | undefined {
    if (this.purging) return undefined;
    const group = this.#groups.first();
    // Enough for a batch are visible: it is ready since the last of them is.
    const [full] = this.#sql.exec<{ visible_at: number }>(
      `SELECT visible_at FROM messages WHERE ${UNORDERED} AND visible_at <= ?
        ORDER BY visible_at, seq LIMIT 1 OFFSET ?`,
      now,
      batchSize - 1,
    );
    let readyAt = full?.visible_at;
    if (readyAt === undefined) {
      const oldest = this.#oldestVisibleAt();
      if (oldest !== undefined) readyAt = oldest + maxWaitMs;
    }
    if (readyAt === undefined) return group;
    return group && group.readyAt < readyAt ? group : { key: undefined, readyAt };
  }

  #oldestVisibleAt(): number | undefined {
    const [first] = this.#sql.exec<{ visible_at: number }>(
      `SELECT visible_at FROM messages WHERE ${UNORDERED} AND visible_at IS NOT NULL
        ORDER BY visible_at LIMIT 1`,
    );
    return first?.visible_at;
  }

  /** Takes messages that are visible for a batch: others do not get them until they are settled. */
  take(key: string | undefined, limit: number, now: number): TakenMessage[] {
    return this.#storage.transactionSync(() => {
      const taken = this.#takeVisible(key, limit, now, null, null);
      if (key !== undefined && taken.length > 0) this.#groups.taken(key);
      return taken;
    });
  }

  /** Takes messages that nobody has, visible or not, in the order in which they were put in. */
  takeAny(afterSeq: number, limit: number, window: Window): TakenMessage[] {
    if (this.purging) return [];
    const seqs = this.#sql.exec<{ seq: number }>(
      `SELECT seq FROM messages WHERE seq > ? AND visible_at IS NOT NULL AND lease IS NULL
        ORDER BY seq LIMIT ?`,
      afterSeq,
      limit,
    );
    return this.#storage.transactionSync(() => {
      const taken = this.#mark(
        [...seqs].map(({ seq }) => seq),
        null,
        null,
      );
      for (const key of keysOf(taken)) this.#groups.update(key, 0, window);
      return taken;
    });
  }

  /** Takes messages for a pull consumer: they are visible again at `until` unless settled. */
  lease(
    limit: number,
    now: number,
    until: number,
    window: Window,
  ): (TakenMessage & { leaseId: string })[] {
    if (this.purging) return [];
    const secret = crypto.randomUUID().replaceAll("-", "");
    return this.#storage.transactionSync(() => {
      const taken = this.#takeVisible(undefined, limit, now, until, secret);
      while (taken.length < limit) {
        const group = this.#groups.firstVisible(now);
        if (group === undefined) break;
        taken.push(...this.#takeVisible(group, limit - taken.length, now, until, secret));
        this.#groups.update(group, 0, window);
      }
      return taken.map((message) => ({ ...message, leaseId: `${secret}${message.seq}` }));
    });
  }

  #takeVisible(
    key: string | undefined,
    limit: number,
    now: number,
    visibleAt: number | null,
    lease: string | null,
  ): TakenMessage[] {
    const seqs = key === undefined ? this.#visible(limit, now) : this.#run(key, limit, now);
    return this.#mark(seqs, visibleAt, lease);
  }

  #mark(seqs: number[], visibleAt: number | null, lease: string | null): TakenMessage[] {
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

  #visible(limit: number, now: number): number[] {
    const rows = this.#sql.exec<{ seq: number; cuts: number }>(
      `SELECT seq, cuts FROM messages WHERE ${UNORDERED} AND visible_at <= ?
        ORDER BY visible_at, seq LIMIT ?`,
      now,
      limit,
    );
    return apart([...rows]);
  }

  /** The messages with the key from the first on, as far as they are visible. */
  #run(key: string, limit: number, now: number): number[] {
    const rows = this.#sql.exec<{ seq: number; cuts: number; visible_at: number | null }>(
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
    };
  }

  /** What has become of messages taken: gone, to be tried again, or given up. */
  settle(acked: number[], again: Again[], givenUp: number[], window: Window): void {
    if (this.#closed) return;
    this.#storage.transactionSync(() => {
      const touched = new Map<string, number>();
      this.#remove(acked, touched);
      for (const { seq, failures, cuts, visibleAt } of again) {
        if (seq <= this.#purgedSeq) continue;
        const [row] = this.#sql.exec<{ ordering_key: string | null }>(
          `UPDATE messages SET visible_at = ?, failures = ?, cuts = coalesce(?, cuts), lease = NULL
            WHERE seq = ? RETURNING ordering_key`,
          visibleAt,
          failures,
          cuts ?? null,
          seq,
        );
        if (typeof row?.ordering_key === "string") tally(touched, row.ordering_key, 0);
      }
      this.#giveUp(
        givenUp.filter((seq) => seq > this.#purgedSeq),
        touched,
      );
      for (const [key, removed] of touched) this.#groups.update(key, removed, window);
    });
  }

  /** The messages were not given to anyone after all. */
  putBack(seqs: number[], window: Window): void {
    if (this.#closed) return;
    this.#storage.transactionSync(() => {
      const rows = this.#sql.exec<{ ordering_key: string | null }>(
        `UPDATE messages SET visible_at = ${AT_ONCE}, attempts = attempts - 1
          WHERE seq IN (SELECT value FROM json_each(?)) RETURNING ordering_key`,
        JSON.stringify(seqs.filter((seq) => seq > this.#purgedSeq)),
      );
      const keys = [...rows].map((row) => ({ orderingKey: row.ordering_key ?? undefined }));
      for (const key of keysOf(keys)) this.#groups.update(key, 0, window);
    });
  }

  /** The message that a lease is for, unless the lease has ended. */
  leased(leaseId: string, now: number): { seq: number; failures: number } | undefined {
    const lease = leaseId.slice(0, 32);
    const seq = Number(leaseId.slice(32));
    if (!Number.isSafeInteger(seq)) return undefined;
    const [row] = this.#sql.exec<{ seq: number; failures: number }>(
      "SELECT seq, failures FROM messages WHERE seq = ? AND lease = ? AND visible_at > ?",
      seq,
      lease,
      now,
    );
    return row;
  }

  /** Ends the leases that have run out, some at a time: a failed delivery each. */
  endLeases(now: number, maxRetries: number, window: Window): void {
    const ended = [
      ...this.#sql.exec<{ seq: number; failures: number; visible_at: number }>(
        `SELECT seq, failures, visible_at FROM messages WHERE lease IS NOT NULL AND visible_at <= ?
          ORDER BY visible_at LIMIT ${SLICE}`,
        now,
      ),
    ].map(({ seq, failures, visible_at }) => ({
      seq,
      failures: failures + 1,
      visibleAt: visible_at,
    }));
    const tooOften = ended.filter(({ failures }) => failures > maxRetries);
    const again = ended.filter(({ failures }) => failures <= maxRetries);
    this.settle(
      [],
      again,
      tooOften.map(({ seq }) => seq),
      window,
    );
  }

  /** When the first lease that has not been ended ends. */
  nextLeaseEnd(): number | undefined {
    const [first] = this.#sql.exec<{ visible_at: number }>(
      "SELECT visible_at FROM messages WHERE lease IS NOT NULL ORDER BY visible_at LIMIT 1",
    );
    return first?.visible_at;
  }

  /** When the oldest message was stored. */
  oldestStoredAt(): number | undefined {
    const [first] = this.#sql.exec<{ stored_at: number }>(
      "SELECT stored_at FROM messages WHERE seq > ? ORDER BY seq LIMIT 1",
      this.#purgedSeq,
    );
    return first?.stored_at;
  }

  /** Drops some of the messages stored before a moment; how many. */
  expire(storedBefore: number, window: Window): number {
    return this.#storage.transactionSync(() => {
      const seqs = [];
      for (const row of this.#sql.exec<{ seq: number; stored_at: number }>(
        `SELECT seq, stored_at FROM messages WHERE seq > ? ORDER BY seq LIMIT ${SLICE}`,
        this.#purgedSeq,
      )) {
        if (row.stored_at >= storedBefore) break;
        seqs.push(row.seq);
      }
      const touched = new Map<string, number>();
      this.#remove(seqs, touched);
      for (const [key, removed] of touched) this.#groups.update(key, removed, window);
      return seqs.length;
    });
  }

  /** From now on there are no messages; `removePurged` makes room. */
  purge(): void {
    this.#storage.transactionSync(() => {
      this.#add(-this.#count, -this.#bytes);
      this.#groups.clear();
      this.#storage.kv.put("purged", this.#lastSeq);
    });
    this.#purgedSeq = this.#lastSeq;
  }

  /** Removes some of the purged messages. */
  removePurged(): void {
    this.#storage.transactionSync(() => {
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
    });
  }

  /** The window has changed: when batches of ordered messages are ready depends on it. */
  setWindow(window: Window): void {
    if (this.#closed) return;
    this.#groups.setWindow(window);
  }

  /** Some of the messages that were given up, oldest first. */
  givenUp(limit: number): TakenMessage[] {
    if (this.#closed) return [];
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

  #giveUp(seqs: number[], touched: Map<string, number>): void {
    if (seqs.length === 0) return;
    const rows = this.#sql.exec<{ ordering_key: string | null }>(
      `UPDATE messages SET given_up = 1, lease = NULL, visible_at = NULL
        WHERE seq IN (SELECT value FROM json_each(?)) RETURNING ordering_key`,
      JSON.stringify(seqs),
    );
    for (const row of rows) if (row.ordering_key !== null) tally(touched, row.ordering_key, 1);
  }

  #remove(seqs: number[], touched: Map<string, number>): void {
    let removed = 0;
    let bytes = 0;
    for (const row of this.#delete(seqs)) {
      if (row.seq <= this.#purgedSeq) continue;
      removed++;
      bytes += row.bytes;
      if (row.ordering_key !== null) tally(touched, row.ordering_key, 1);
    }
    this.#add(-removed, -bytes);
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

const keysOf = (messages: Pick<TakenMessage, "orderingKey">[]): Set<string> =>
  new Set(messages.flatMap(({ orderingKey }) => orderingKey ?? []));

const cloneKey = (seq: number): string => `v8/${seq}`;

function tally(counts: Map<string, number>, key: string, by: number): void {
  counts.set(key, (counts.get(key) ?? 0) + by);
}

// A message whose deliveries have been cut short so often may be what ends its executors: it is
// delivered alone, so that others do not share its fate.
const SUSPICIOUS_CUTS = 3;

function apart(rows: { seq: number; cuts: number }[]): number[] {
  const suspicious = rows.findIndex(({ cuts }) => cuts >= SUSPICIOUS_CUTS);
  const kept = suspicious < 0 ? rows : rows.slice(0, Math.max(1, suspicious));
  return kept.map(({ seq }) => seq);
}

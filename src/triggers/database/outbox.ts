import type { SqlValue, Statement } from "../../bindings/d1/protocol.ts";
import { splitStatements } from "../../bindings/d1/statements.ts";
import { captureTrigger, CREATE_OUTBOX, findTable, quoteName } from "./capture.ts";
import {
  IS_OURS,
  OPERATIONS,
  OUTBOX,
  type ChangeRow,
  type Feed,
  foldName,
  type TableSubscription,
} from "./protocol.ts";

/** A subscription, and how far it has been served. */
interface ServedSubscription extends TableSubscription {
  /** Its queue has all changes up to this number, or they came before it was made. */
  after: number;
}

/** As the object keeps it. */
interface StoredFeed extends Feed {
  subscriptions: ServedSubscription[];
}

/** Changes that a queue has still to take. */
export interface Page {
  feed: Feed;
  changes: ChangeRow[];
  /** With these changes the queue has all up to this number. */
  last: number;
}

// Changes that go to a queue in one call, and what their rows may come to in bytes: more than any one
// of them can have.
const PAGE_ROWS = 500;
const PAGE_BYTES = 4_000_000;

const FEED_KEY = "feed";
// The last number given when the last subscription ended.
const LAST_SEQUENCE_KEY = "last_sequence";

// Not DROP: what refers to the rows of a table that goes may go, too, and is told of.
const TABLE_STATEMENT = /^(?:CREATE|ALTER)\b/i;
const READ_STATEMENT = /^(?:SELECT|VALUES|EXPLAIN|PRAGMA)\b/i;
const OUTBOX_NAME = new RegExp(`\\b${OUTBOX}\\b`, "i");
const TEXT_LITERAL = /'(?:[^']|'')*'/g;

type Cursor = SqlStorageCursor<Record<string, SqlValue>>;

/**
 * A database's changes that queues have still to take. Triggers write them into a table, so that a
 * change and its record are one transaction. Without subscriptions there is neither.
 */
export class Outbox {
  readonly #storage: DurableObjectStorage;
  readonly #sql: SqlStorage;
  #feed: StoredFeed | undefined;
  #isRecursive = false;

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage;
    this.#sql = storage.sql;
    this.#feed = storage.kv.get<StoredFeed>(FEED_KEY);
    this.refresh();
  }

  /** SQL for the number of the last change. It grows by one with each row that a trigger writes. */
  get sequenceSql(): string {
    return this.#feed ? `(SELECT max(seq) FROM ${OUTBOX})` : "0";
  }

  /** Number of the last change; 0 without subscriptions. */
  lastSequence(): number {
    if (!this.#feed) return 0;
    return this.#sql.exec<{ seq: number }>(`SELECT ${this.sequenceSql} AS seq`).one().seq;
  }

  /** Replaces all subscriptions. Needs a transaction around it. */
  subscribe(feed: Feed): void {
    const last = this.#feed
      ? this.lastSequence()
      : (this.#storage.kv.get<number>(LAST_SEQUENCE_KEY) ?? 0);
    if (this.#feed) this.#dropTriggers();
    if (feed.subscriptions.length === 0) {
      this.#remove(last);
      return;
    }
    if (!this.#feed) {
      this.#sql.exec(CREATE_OUTBOX);
      this.#sql.exec(
        `INSERT INTO ${OUTBOX} (seq, table_name, operation, at, key_columns) VALUES (?, '', '', '', '[]')`,
        last,
      );
    }
    const known = this.#feed?.subscriptions ?? [];
    const subscriptions = feed.subscriptions.map((subscription) => {
      const same = known.find((other) => isSame(subscription, other));
      return { ...subscription, after: same?.after ?? last };
    });
    this.#createTriggers(subscriptions);
    this.#keep({ ...feed, subscriptions });
    this.refresh();
  }

  /** Forgets all; the caller has removed what was stored. */
  forget(): void {
    this.#feed = undefined;
  }

  /**
   * Runs a statement, which may be several in one text. A table must not change under its triggers,
   * which name its columns: they are taken away before and made anew after. Being the newest then, they
   * run before the user's own. Throws for what would change the outbox.
   */
  exec({ sql, params }: Statement, mayChangeSchema: boolean): Cursor {
    if (!this.#feed) {
      if (mayChangeSchema) refuseReserved(sql);
      return this.#sql.exec(sql, ...params);
    }
    if (!mayChangeSchema && !OUTBOX_NAME.test(sql)) return this.#sql.exec(sql, ...params);
    let cursor: Cursor | undefined;
    const statements = splitStatements(sql);
    for (const [index, statement] of statements.entries()) {
      if (!READ_STATEMENT.test(statement)) refuseReserved(statement);
      cursor?.toArray();
      const changesTables = TABLE_STATEMENT.test(statement);
      if (changesTables) this.#dropTriggers();
      cursor = this.#sql.exec(statement, ...(index === statements.length - 1 ? params : []));
      if (changesTables) this.#createTriggers(this.#feed.subscriptions);
      this.refresh();
    }
    return cursor ?? this.#sql.exec(sql, ...params);
  }

  /**
   * Has SQLite run triggers for rows that REPLACE removes, too. Triggers of the user's own could then
   * run where they did not before, so with them it stays as it is by default. To be called when a
   * transaction has been undone: this is not.
   */
  refresh(): void {
    if (!this.#feed) return;
    const { triggers } = this.#sql
      .exec<{ triggers: number }>(
        `SELECT count(*) AS triggers FROM sqlite_schema WHERE type = 'trigger' AND NOT ${IS_OURS}`,
      )
      .one();
    const isRecursive = triggers === 0;
    // Setting it has all statements compiled again.
    if (isRecursive === this.#isRecursive) return;
    this.#sql.exec(`PRAGMA recursive_triggers = ${isRecursive ? "on" : "off"}`);
    this.#isRecursive = isRecursive;
  }

  /** Ids of the queues that have changes to take. */
  waitingQueues(): string[] {
    const last = this.lastSequence();
    const waiting = this.#feed?.subscriptions.filter(({ after }) => after < last) ?? [];
    return [...new Set(waiting.map(({ queueId }) => queueId))];
  }

  /** The next changes for the queue, or undefined if it has them all. */
  page(queueId: string): Page | undefined {
    if (!this.#feed) return undefined;
    const wanted = this.#feed.subscriptions.filter((one) => one.queueId === queueId);
    const after = Math.min(...wanted.map((one) => one.after));
    const rows = this.#sql
      .exec<ChangeRow & { bytes: number }>(
        `SELECT * FROM (
          SELECT *, sum(coalesce(octet_length(old), 0) + coalesce(octet_length(new), 0)) OVER (ORDER BY seq) AS bytes
          FROM (SELECT * FROM ${OUTBOX} WHERE seq > ? ORDER BY seq LIMIT ${PAGE_ROWS}))
        WHERE bytes <= ${PAGE_BYTES} ORDER BY seq`,
        after,
      )
      .toArray();
    const last = rows.at(-1)?.seq;
    if (last === undefined) return undefined;
    const changes = rows.filter((row) =>
      wanted.some(
        (one) =>
          row.seq > one.after &&
          foldName(row.table_name) === foldName(one.tableName) &&
          one.operations.includes(row.operation),
      ),
    );
    return { feed: this.#feed, changes, last };
  }

  /** The queue has all changes up to this one. What all queues have is forgotten, but for its number. */
  advance(queueId: string, last: number): void {
    if (!this.#feed) return;
    const subscriptions = this.#feed.subscriptions.map((one) =>
      one.queueId === queueId ? { ...one, after: Math.max(one.after, last) } : one,
    );
    this.#keep({ ...this.#feed, subscriptions });
    const taken = Math.min(...subscriptions.map(({ after }) => after));
    this.#sql.exec(`DELETE FROM ${OUTBOX} WHERE seq < ?`, taken);
    this.#sql.exec(`UPDATE ${OUTBOX} SET old = NULL, new = NULL WHERE seq = ?`, taken);
  }

  /** The queue is gone: nobody waits for its changes. Needs a transaction around it. */
  dropQueue(queueId: string): void {
    if (!this.#feed) return;
    const subscriptions = this.#feed.subscriptions.filter((one) => one.queueId !== queueId);
    this.subscribe({ ...this.#feed, subscriptions });
  }

  #keep(feed: StoredFeed): void {
    this.#storage.kv.put(FEED_KEY, feed);
    this.#feed = feed;
  }

  #remove(last: number): void {
    if (!this.#feed) return;
    this.#sql.exec(`DROP TABLE ${OUTBOX}`);
    this.#storage.kv.delete(FEED_KEY);
    this.#storage.kv.put(LAST_SEQUENCE_KEY, last);
    if (this.#isRecursive) this.#sql.exec("PRAGMA recursive_triggers = off");
    this.#isRecursive = false;
    this.#feed = undefined;
  }

  #dropTriggers(): void {
    const triggers = this.#sql
      .exec<{ name: string }>(
        `SELECT name FROM sqlite_schema WHERE type = 'trigger' AND ${IS_OURS}`,
      )
      .toArray();
    for (const { name } of triggers) this.#sql.exec(`DROP TRIGGER ${quoteName(name)}`);
  }

  /** For tables that are there. Of those that run after the same change SQLite begins with the newest. */
  #createTriggers(subscriptions: TableSubscription[]): void {
    const names = new Set(subscriptions.map(({ tableName }) => foldName(tableName)));
    for (const name of names) {
      const table = findTable(this.#sql, name);
      if (table === undefined) continue;
      const ofTable = subscriptions.filter(({ tableName }) => foldName(tableName) === name);
      for (const operation of OPERATIONS) {
        if (!ofTable.some(({ operations }) => operations.includes(operation))) continue;
        this.#sql.exec(captureTrigger(this.#sql, table, operation));
      }
    }
  }
}

const isSame = (a: TableSubscription, b: TableSubscription): boolean =>
  a.queueId === b.queueId && foldName(a.tableName) === foldName(b.tableName);

function refuseReserved(sql: string): void {
  if (!OUTBOX_NAME.test(sql.replace(TEXT_LITERAL, ""))) return;
  throw new Error(
    `${OUTBOX}: this name is reserved for the changes that wait for queues; they can be read, not changed`,
  );
}

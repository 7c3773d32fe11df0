import { DurableObject } from "cloudflare:workers";
import type { Env } from "../../env.ts";
import { land, takeOff } from "../../pipeline/flight-recorder.ts";
import { DumpError, dumpSql, planDump, VISIBLE } from "./dump.ts";
import {
  DEFAULT_QUERY_MS,
  GONE,
  MAX_IMPORT_MS,
  MAX_RESULT_BYTES,
  type DumpOptions,
  type DumpOutcome,
  type Failure,
  type ImportOutcome,
  type QueryMeta,
  type QueryOutcome,
  type SqlValue,
  type Statement,
  type StatementResult,
} from "./protocol.ts";
import { Delivery } from "../../triggers/database/delivery.ts";
import { Outbox } from "../../triggers/database/outbox.ts";
import type { Feed } from "../../triggers/database/protocol.ts";
import { splitStatements, StatementSplitter, toRunnable } from "./statements.ts";

// Reads on their own need no transaction: they are one statement and change nothing. All else has
// one, also because `PRAGMA foreign_keys` then has no effect.
const LONE_READ = /^\s*(?:SELECT|VALUES)\b[^;]*;?\s*$/i;
const CHANGES_SCHEMA = /\b(?:CREATE|ALTER|DROP)\b/i;

const DUMP_PIECE_CHARS = 64 * 1024;

// How long an import runs before others in its process, and whoever watches it, get their turn.
const IMPORT_SLICE_MS = 20;

const FOREIGN_KEY_FAILED =
  "FOREIGN KEY constraint failed: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_FOREIGNKEY)";

// Looking at the clock costs more than a small row.
const ROWS_BETWEEN_CHECKS = 256;

const NO_STATEMENTS = "No SQL statements detected.";

/** What SQLite counts, to tell what a statement did. */
interface Counters {
  changes: number;
  lastRowId: number;
  size: number;
  /** Rows that triggers have written into the outbox: they count, too, but are none of the user's. */
  captured: number;
}

/** One D1 database. SQLite itself refuses ATTACH, most pragmas and names beginning with `_cf_`. */
export class DatabaseObject extends DurableObject<Env> {
  readonly #sql: SqlStorage;
  readonly #outbox: Outbox;
  readonly #delivery: Delivery;
  readonly #queryMs: number;
  // Set if its queries have ended the process again and again.
  readonly #pausedUntil: number;
  #destroyed: boolean;
  // Set while a dump or an import goes on: what they read or write must be of one moment.
  #busy: Promise<void> | undefined;
  // Whether a table has constraints that are checked at the end only; undefined: to be found out.
  #hasDeferredConstraints: boolean | undefined;
  #lastBookmark = 0;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    const paused = JSON.parse(env.MAYFLY_PAUSED ?? "{}") as Record<string, number>;
    this.#pausedUntil = paused[ctx.id.name ?? ""] ?? 0;
    this.#sql = ctx.storage.sql;
    this.#queryMs = Number(env.MAYFLY_QUERY_MS ?? DEFAULT_QUERY_MS);
    this.#destroyed = ctx.storage.kv.get("destroyed") === true;
    this.#outbox = new Outbox(ctx.storage);
    this.#delivery = new Delivery(ctx, env, this.#outbox, async (run) => {
      while (this.#busy) await this.#busy;
      return run();
    });
  }

  /** Runs the statements in one transaction: all of them or none. Lone `--` comments are passed over. */
  async query(statements: Statement[]): Promise<QueryOutcome> {
    const malformed = checkStatements(statements);
    if (malformed) return failure(malformed);
    const present = statements.filter(({ sql }) => sql.replace(/^\s*--.*$/gm, "").trim() !== "");
    return this.#run(present);
  }

  /** Runs the statements of a text in one transaction. */
  async execute(text: string): Promise<QueryOutcome> {
    return this.#run(splitStatements(text).map((sql) => ({ sql, params: [] })));
  }

  /** Runs the statements of a text of any length in one transaction; others wait meanwhile. */
  async import(text: ReadableStream<Uint8Array>): Promise<ImportOutcome> {
    const release = await this.#acquire();
    const startedAt = Date.now();
    const before = this.#counters();
    let count = 0;
    let rowsRead = 0;
    let rowsWritten = 0;
    let pausedAt = startedAt;
    const runAll = async (statements: string[]): Promise<void> => {
      for (const sql of statements) {
        const cursor = this.#inSight(() => {
          const cursor = this.#exec(toRunnable(sql));
          for (const _ of cursor.raw()) continue; // Rows are not wanted, but must be stepped over.
          return cursor;
        });
        count++;
        rowsRead += cursor.rowsRead;
        rowsWritten += cursor.rowsWritten;
        if (Date.now() - startedAt > MAX_IMPORT_MS) {
          throw new Error(
            `the import took longer than ${MAX_IMPORT_MS / 1000} seconds and was undone after ${count} statements; split the file`,
          );
        }
        if (Date.now() - pausedAt > IMPORT_SLICE_MS) {
          await scheduler.wait(1);
          pausedAt = Date.now();
        }
      }
    };
    try {
      this.#checkUsable();
      await this.ctx.storage.transaction(async () => {
        const splitter = new StatementSplitter();
        for await (const piece of text.pipeThrough(new TextDecoderStream())) {
          await runAll(splitter.push(piece));
        }
        await runAll(splitter.end());
        if (count === 0) throw new Error(NO_STATEMENTS);
        this.#checkForeignKeys(true);
        this.#delivery.prepare();
      });
      this.#delivery.start();
    } catch (error) {
      this.#outbox.refresh();
      return failure(messageOf(error));
    } finally {
      release();
    }
    return {
      ok: true,
      statements: count,
      bookmark: this.#nextBookmark(),
      meta: this.#meta(before, Date.now() - startedAt, rowsRead, rowsWritten),
    };
  }

  /** The database as SQL text. Nothing else runs until it has been read to its end or given up. */
  async dump(options: DumpOptions): Promise<DumpOutcome> {
    const release = await this.#acquire();
    let pieces: Generator<string>;
    try {
      if (this.#destroyed) throw new DumpError(GONE);
      pieces = dumpSql(this.#sql, planDump(this.#sql, options));
    } catch (error) {
      release();
      if (error instanceof DumpError) return failure(error.message);
      throw error;
    }
    const encoder = new TextEncoder();
    const sql = new ReadableStream({
      type: "bytes",
      pull(controller: ReadableByteStreamController) {
        try {
          const piece = take(pieces, DUMP_PIECE_CHARS);
          if (piece !== "") controller.enqueue(encoder.encode(piece));
          else {
            release();
            controller.close();
          }
        } catch (error) {
          release();
          throw error;
        }
      },
      cancel() {
        pieces.return(undefined);
        release();
      },
    });
    return { ok: true, sql };
  }

  /** Size in bytes and number of tables. */
  async info(): Promise<{ sizeBytes: number; tables: number }> {
    const { tables } = this.#sql
      .exec<{ tables: number }>(
        `SELECT count(*) AS tables FROM sqlite_schema WHERE type = 'table' AND ${VISIBLE}`,
      )
      .one();
    return { sizeBytes: this.#sql.databaseSize, tables };
  }

  /** Removes all data. Workers that still have the database bound get an error from now on. */
  async destroy(): Promise<void> {
    const release = await this.#acquire();
    try {
      this.#destroyed = true;
      this.#outbox.forget();
      await this.ctx.storage.deleteAll();
      this.ctx.storage.kv.put("destroyed", true);
    } finally {
      release();
    }
  }

  /** See `ShardRole.subscribe`. */
  async subscribe(feed: Feed): Promise<void> {
    while (this.#busy) await this.#busy;
    if (this.#destroyed) return;
    this.ctx.storage.transactionSync(() => this.#outbox.subscribe(feed));
  }

  override alarm(): Promise<void> {
    return this.#delivery.alarm();
  }

  /** Waits until nothing goes on and keeps others out until the function it gives is called. */
  async #acquire(): Promise<() => void> {
    while (this.#busy) await this.#busy;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#busy = promise;
    return () => {
      if (this.#busy === promise) this.#busy = undefined;
      resolve();
    };
  }

  async #run(statements: Statement[]): Promise<QueryOutcome> {
    while (this.#busy) await this.#busy;
    const [first] = statements;
    if (!first) return failure(NO_STATEMENTS);
    // From here on nothing waits, so no other call comes between.
    try {
      this.#checkUsable();
      const budget = new Budget(this.#queryMs);
      const results = this.#inSight(() =>
        statements.length === 1 && LONE_READ.test(first.sql)
          ? [this.#runOne(first, budget)]
          : this.#runAll(statements, budget),
      );
      return { ok: true, results, bookmark: this.#nextBookmark() };
    } catch (error) {
      this.#outbox.refresh();
      return failure(messageOf(error));
    }
  }

  /** Throws what is to be said of a database that takes no SQL. */
  #checkUsable(): void {
    if (this.#destroyed) throw new Error(GONE);
    if (Date.now() >= this.#pausedUntil) return;
    const until = new Date(this.#pausedUntil).toISOString();
    throw new Error(
      `Queries of this database took longer than ${this.#queryMs / 1000} seconds again and again; it takes no more until ${until}.`,
    );
  }

  /** Has the supervisor see, if this process stands still now, that it is because of this database. */
  #inSight<T>(run: () => T): T {
    const { name } = this.ctx.id;
    if (name === undefined) return run();
    takeOff(this, name.replaceAll("-", ""), this.#queryMs);
    try {
      return run();
    } finally {
      land(this);
    }
  }

  #runAll(statements: Statement[], budget: Budget): StatementResult[] {
    const results = this.ctx.storage.transactionSync(() => {
      const results = statements.map((statement) => {
        budget.checkTime();
        return this.#runOne(statement, budget);
      });
      this.#checkForeignKeys(results.some(({ meta }) => meta.changed_db));
      this.#delivery.prepare();
      return results;
    });
    this.#delivery.start();
    return results;
  }

  #runOne(statement: Statement, budget: Budget): StatementResult {
    const before = this.#counters();
    const startedAt = performance.now();
    const cursor = this.#exec(statement);
    const columns = cursor.columnNames;
    const rows: SqlValue[][] = [];
    for (const row of cursor.raw()) {
      budget.take(row);
      rows.push(row);
    }
    const duration = performance.now() - startedAt;
    return {
      columns,
      rows,
      meta: this.#meta(before, duration, cursor.rowsRead, cursor.rowsWritten),
    };
  }

  #exec(statement: Statement): SqlStorageCursor<Record<string, SqlValue>> {
    const changesSchema = CHANGES_SCHEMA.test(statement.sql);
    if (changesSchema) this.#hasDeferredConstraints = undefined;
    return this.#outbox.exec(statement, changesSchema);
  }

  #meta(before: Counters, duration: number, rowsRead: number, rowsWritten: number): QueryMeta {
    const { changes, lastRowId, size, captured } = this.#counters();
    return {
      served_by: "mayfly",
      served_by_primary: true,
      total_attempts: 1,
      timings: { sql_duration_ms: duration },
      duration,
      changes: changes - before.changes,
      last_row_id: lastRowId,
      changed_db:
        changes !== before.changes || lastRowId !== before.lastRowId || size !== before.size,
      size_after: size,
      rows_read: rowsRead,
      rows_written: rowsWritten - (captured - before.captured),
    };
  }

  #counters(): Counters {
    const { changes, lastRowId, captured } = this.#sql
      .exec<{ changes: number; lastRowId: number; captured: number }>(
        `SELECT total_changes() AS changes, last_insert_rowid() AS lastRowId, ${this.#outbox.sequenceSql} AS captured`,
      )
      .one();
    return { changes: changes - captured, lastRowId, size: this.#sql.databaseSize, captured };
  }

  /**
   * Checks deferred foreign keys before the transaction ends: found at its end, a violation would
   * reset the object and fail the calls of others, too.
   */
  #checkForeignKeys(changed: boolean): void {
    const { deferred } = this.#sql
      .exec<{ deferred: number }>(
        "SELECT defer_foreign_keys AS deferred FROM pragma_defer_foreign_keys",
      )
      .one();
    this.#hasDeferredConstraints ??= this.#findDeferredConstraints();
    if (changed && (deferred === 1 || this.#hasDeferredConstraints)) {
      for (const _ of this.#sql.exec("PRAGMA foreign_key_check")) {
        throw new Error(FOREIGN_KEY_FAILED);
      }
    }
    if (deferred === 1) this.#sql.exec("PRAGMA defer_foreign_keys = off");
  }

  #findDeferredConstraints(): boolean {
    const { count } = this.#sql
      .exec<{ count: number }>(
        "SELECT count(*) AS count FROM sqlite_schema WHERE type = 'table' AND sql LIKE '%INITIALLY%DEFERRED%'",
      )
      .one();
    return count > 0;
  }

  // Time in 1/1024 ms, or one more than the last if the clock has not moved on.
  #nextBookmark(): string {
    this.#lastBookmark = Math.max(Date.now() * 1024, this.#lastBookmark + 1);
    const hex = this.#lastBookmark.toString(16).padStart(16, "0");
    return `${hex.slice(0, 8)}-${hex.slice(8)}`;
  }
}

const failure = (error: string): Failure => ({ ok: false, error });

const messageOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error);

/** Joins what a generator yields until it is `length` characters long; "" at its end. */
function take(pieces: Generator<string>, length: number): string {
  let text = "";
  while (text.length < length) {
    const { done, value } = pieces.next();
    if (done) break;
    text += value;
  }
  return text;
}

/** Statements come out of users' isolates, so their shape is not to be trusted. */
function checkStatements(statements: unknown): string | undefined {
  if (!Array.isArray(statements)) return "statements: must be an array";
  for (const statement of statements as Partial<Record<keyof Statement, unknown>>[]) {
    if (typeof statement?.sql !== "string") {
      return `sql: got ${typeof statement?.sql}, must be a string`;
    }
    if (!Array.isArray(statement.params) || !statement.params.every(isSqlValue)) {
      return "params: must be an array of strings, numbers, nulls and ArrayBuffers";
    }
  }
  return undefined;
}

const isSqlValue = (value: unknown): boolean =>
  value === null ||
  typeof value === "string" ||
  typeof value === "number" ||
  value instanceof ArrayBuffer;

/** What the statements of one call may take together, so that too much fails clearly. */
class Budget {
  readonly #limitMs: number;
  readonly #startedAt = Date.now();
  #bytes = 0;
  #rows = 0;

  constructor(limitMs: number) {
    this.#limitMs = limitMs;
  }

  /** Throws once time is up. A single step that goes on for longer takes the whole process along. */
  checkTime(): void {
    if (Date.now() - this.#startedAt <= this.#limitMs) return;
    throw new Error(
      `The query took longer than ${this.#limitMs / 1000} seconds and was undone; do less in one call.`,
    );
  }

  /**
   * Throws once the rows taken are too large together for a message between isolates. Numbers that JSON
   * lacks become null.
   */
  take(row: SqlValue[]): void {
    if (++this.#rows % ROWS_BETWEEN_CHECKS === 0) this.checkTime();
    this.#bytes += 8;
    for (const [i, value] of row.entries()) {
      if (typeof value === "string") {
        // V8 writes one byte for each character, two if any of them needs two.
        this.#bytes += (/[^\0-\xff]/.test(value) ? 2 : 1) * value.length + 8;
      } else if (typeof value === "number") {
        if (!Number.isFinite(value)) row[i] = null;
        this.#bytes += 9;
      } else this.#bytes += value === null ? 1 : value.byteLength + 8;
    }
    if (this.#bytes > MAX_RESULT_BYTES) {
      throw new Error(
        `The results are larger than ${MAX_RESULT_BYTES} bytes; ask for fewer rows or columns with LIMIT or in several queries.`,
      );
    }
  }
}

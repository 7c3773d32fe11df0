/**
 * `D1Database` inside a user's isolate, over the stub of the platform's `D1Binding`. It behaves as
 * https://developers.cloudflare.com/d1/worker-api/ says, error messages and causes included.
 */
import type { QueryOutcome, SqlValue, Statement, StatementResult } from "./protocol.ts";

interface Stub {
  query(statements: Statement[]): Promise<QueryOutcome>;
}

/** A bound value as D1 keeps it in a prepared statement: blobs are arrays of bytes. */
type Bound = string | number | null | number[];

/** Shapes the stub of a D1 binding. */
export function wrap(stub: unknown): D1Database {
  // The row types of workers-types are the caller's promise; nothing here can know them.
  return new Database(stub as Stub) as unknown as D1Database;
}

const d1Error = (prefix: string, message: string): Error =>
  new Error(`${prefix}: ${message}`, { cause: new Error(message) });

class Session {
  readonly #stub: Stub;
  // "first-primary" and "first-unconstrained" come to the same with one location.
  #bookmark: string | null = null;

  constructor(stub: Stub, constraint: string) {
    this.#stub = stub;
    if (constraint !== "first-primary" && constraint !== "first-unconstrained") {
      this.#bookmark = constraint;
    }
  }

  prepare(sql: string): PreparedStatement {
    return new PreparedStatement(this, sql);
  }

  async batch(statements: PreparedStatement[]): Promise<D1Result[]> {
    const results = await this.send(
      statements.map(({ statement, params }) => ({ sql: statement, params: toParams(params) })),
    );
    return results.map(toResult);
  }

  getBookmark(): string | null {
    return this.#bookmark;
  }

  async send(
    statements: Statement[],
    prefix = "D1_ERROR",
    context = "",
  ): Promise<StatementResult[]> {
    let outcome: QueryOutcome;
    try {
      outcome = await this.#stub.query(statements);
    } catch (error) {
      outcome = { ok: false, error: error instanceof Error ? error.message : String(error) };
    }
    if (!outcome.ok) throw d1Error(prefix, context + outcome.error);
    // Answers may overtake each other; a session stays with the latest.
    if (this.#bookmark === null || this.#bookmark < outcome.bookmark) {
      this.#bookmark = outcome.bookmark;
    }
    return outcome.results;
  }
}

class Database {
  readonly #stub: Stub;
  readonly #session: Session;

  constructor(stub: Stub) {
    this.#stub = stub;
    this.#session = new Session(stub, "first-primary");
  }

  prepare(sql: string): PreparedStatement {
    return this.#session.prepare(sql);
  }

  async batch(statements: PreparedStatement[]): Promise<D1Result[]> {
    return this.#session.batch(statements);
  }

  /** Each line is a statement of its own, as on Cloudflare. */
  async exec(sql: string): Promise<D1ExecResult> {
    const lines = sql.trim().split("\n");
    const results = await this.#session.send(
      lines.map((line) => ({ sql: line, params: [] })),
      "D1_EXEC_ERROR",
      // Cloudflare blames the first line, too, whichever it was.
      `Error in line 1: ${lines[0]}: `,
    );
    return {
      count: results.length,
      duration: results.reduce((sum, { meta }) => sum + meta.duration, 0),
    };
  }

  withSession(constraintOrBookmark?: string): Session {
    return new Session(this.#stub, constraintOrBookmark?.trim() || "first-unconstrained");
  }

  async dump(): Promise<never> {
    throw d1Error("D1_DUMP_ERROR", "dump() is not supported; use wrangler d1 export");
  }
}

class PreparedStatement {
  readonly #session: Session;
  readonly statement: string;
  readonly params: Bound[];

  constructor(session: Session, statement: string, params: Bound[] = []) {
    this.#session = session;
    this.statement = statement;
    this.params = params;
  }

  bind(...values: unknown[]): PreparedStatement {
    return new PreparedStatement(this.#session, this.statement, values.map(toBound));
  }

  async first(column?: string): Promise<unknown> {
    const [row] = toResult(await this.#send()).results as Record<string, unknown>[];
    if (!row) return null;
    if (column === undefined) return row;
    if (row[column] === undefined) {
      throw new Error(`D1_COLUMN_NOTFOUND: Column not found (${column})`, {
        cause: new Error("Column not found"),
      });
    }
    return row[column];
  }

  async run(): Promise<D1Result> {
    return toResult(await this.#send());
  }

  async all(): Promise<D1Result> {
    return toResult(await this.#send());
  }

  async raw(options?: { columnNames?: boolean }): Promise<unknown[][]> {
    const { columns, rows } = await this.#send();
    return [...(options?.columnNames ? [columns] : []), ...rows.map((row) => row.map(fromSql))];
  }

  async #send(): Promise<StatementResult> {
    const [result] = await this.#session.send([
      { sql: this.statement, params: toParams(this.params) },
    ]);
    if (!result) throw d1Error("D1_ERROR", "No SQL statements detected.");
    return result;
  }
}

function toBound(value: unknown): Bound {
  if (typeof value === "number" || typeof value === "string" || value === null) return value;
  if (typeof value === "boolean") return value ? 1 : 0;
  if (Array.isArray(value) && value.every(isByte)) return value;
  if (value instanceof ArrayBuffer) return Array.from(new Uint8Array(value));
  if (ArrayBuffer.isView(value)) return Array.from(value as Uint8Array);
  throw d1Error("D1_TYPE_ERROR", `Type '${typeof value}' not supported for value '${value}'`);
}

const isByte = (value: unknown): boolean => typeof value === "number" && value >= 0 && value < 256;

// Bound values travel to Cloudflare's D1 as JSON, which has neither NaN nor infinity nor -0.
function toParams(params: Bound[] = []): SqlValue[] {
  return params.map((value) => {
    if (Array.isArray(value)) return Uint8Array.from(value).buffer;
    if (typeof value === "number") return Number.isFinite(value) ? value + 0 : null;
    return value;
  });
}

const fromSql = (value: SqlValue): Bound =>
  value instanceof ArrayBuffer ? Array.from(new Uint8Array(value)) : value;

function toResult({ columns, rows, meta }: StatementResult): D1Result {
  return {
    success: true,
    meta,
    results: rows.map((row) =>
      Object.fromEntries(row.map((value, i) => [columns[i], fromSql(value)])),
    ),
  };
}

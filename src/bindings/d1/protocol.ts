/** A value bound to a parameter or read from a column. Blobs are ArrayBuffers. */
export type SqlValue = string | number | null | ArrayBuffer;

/** SQL with the values of its parameters; several statements only if the last alone has any. */
export interface Statement {
  sql: string;
  params: SqlValue[];
}

/** The result of one statement: columns once, rows as arrays, so that names are not repeated. */
export interface StatementResult {
  columns: string[];
  rows: SqlValue[][];
  meta: QueryMeta;
}

/** What D1 tells of a query besides its rows. Durations are in milliseconds. */
export type QueryMeta = {
  served_by: string;
  served_by_primary: boolean;
  total_attempts: number;
  timings: { sql_duration_ms: number };
  duration: number;
  /** Rows that were inserted, updated or deleted. */
  changes: number;
  last_row_id: number;
  changed_db: boolean;
  /** Size of the database in bytes. */
  size_after: number;
  rows_read: number;
  rows_written: number;
};

/** Nothing was changed. `error` is for whoever wrote the SQL; other faults are thrown. */
export interface Failure {
  ok: false;
  error: string;
}

/** `bookmark` grows with every answer of a database: a later one compares greater as text. */
export type QueryOutcome = { ok: true; results: StatementResult[]; bookmark: string } | Failure;

export type ImportOutcome =
  { ok: true; statements: number; bookmark: string; meta: QueryMeta } | Failure;

export type DumpOutcome = { ok: true; sql: ReadableStream<Uint8Array> } | Failure;

/** What a dump leaves out; by default it has everything. */
export interface DumpOptions {
  noSchema?: boolean;
  noData?: boolean;
  /** Only these tables, with their indexes and triggers. */
  tables?: string[];
}

/** What is said of a database that does not exist any more. */
export const GONE = "The database was deleted.";

/** Most bytes of SQL in one statement: https://developers.cloudflare.com/d1/platform/limits/ */
export const MAX_STATEMENT_BYTES = 100_000;

/** Most bytes that the results of one call may have: what one message between isolates holds. */
export const MAX_RESULT_BYTES = 32 * 1024 * 1024;

/** Longest time a query may take, if nothing else is set. Cloudflare's. */
export const DEFAULT_QUERY_MS = 30_000;

/** Longest time an import may take: a Durable Object's transaction must end within 30 seconds. */
export const MAX_IMPORT_MS = 27_000;

/** A value bound to a parameter or read from a column. Blobs are ArrayBuffers. */
export type SqlValue = string | number | null | ArrayBuffer;

export interface Statement {
  sql: string;
  params: SqlValue[];
}

/** The result of one statement: columns once, rows as arrays, so that names are not repeated. */
export interface StatementResult {
  columns: string[];
  rows: SqlValue[][];
  meta: D1Meta & Record<string, unknown>;
}

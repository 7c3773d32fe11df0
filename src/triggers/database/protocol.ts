export type Operation = "insert" | "update" | "delete";

export const OPERATIONS: Operation[] = ["insert", "update", "delete"];

/** A table whose changes go to a queue. */
export interface TableSubscription {
  tableName: string;
  queueId: string;
  operations: Operation[];
}

/** A name as SQLite compares it: the case of ASCII letters makes no difference. */
export const foldName = (name: string): string =>
  name.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());

/** Which changes of a database go where, and what their messages say of it. */
export interface Feed {
  accountId: string;
  databaseId: string;
  databaseName: string;
  subscriptions: TableSubscription[];
}

/** The table that keeps changes until queues have taken them. Nobody else may use its name. */
export const OUTBOX = "mayfly_changes";

/** SQL: whether a trigger's name is of those that write into it, which go on with a space. */
export const IS_OURS = String.raw`name LIKE 'mayfly\_changes %' ESCAPE '\'`;

/** A changed row as the triggers write it down. */
export type ChangeRow = {
  /** Grows by one with each change of the database. */
  seq: number;
  table_name: string;
  operation: Operation;
  /** When the statement ran: ISO 8601 in UTC. */
  at: string;
  /** JSON array: names of the columns of the primary key. */
  key_columns: string;
  /** See `capture.ts`. */
  old: string | null;
  new: string | null;
};

/** What a queue's consumer gets, as JSON. Shaped like the notifications of R2 buckets. */
export interface DatabaseChange {
  account: string;
  database: { id: string; name: string };
  table: string;
  operation: Operation;
  sequence: number;
  /** When the statement ran: ISO 8601 in UTC. */
  eventTime: string;
  /** The row before; null for an insert. */
  old: ChangedRow | null;
  /** The row after; null for a delete. */
  new: ChangedRow | null;
  /** The change is too large for a message: old and new have no columns but those of the primary key. */
  truncated?: true;
}

/** By column, as D1 answers queries: a blob is an array of bytes, a number without JSON is null. */
export type ChangedRow = Record<string, string | number | null | number[]>;

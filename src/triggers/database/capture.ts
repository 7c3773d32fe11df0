// The SQL that has SQLite itself write down each change of a row, in the transaction of the change.
//
// A row is kept as a JSON array of objects that together have all its columns, since a function in
// SQLite takes a few arguments only; a row too large for any message as {"key": the same of its primary
// key}. JSON knows no blobs: each is {"blob": its bytes in hex}.
import { OUTBOX, type Operation } from "./protocol.ts";

/** Most bytes of a row's values that are kept: a message cannot hold more. */
const MAX_ROW_BYTES = 128_000;

/** Columns in one json_object: a function takes 32 arguments at most. */
const COLUMNS_PER_OBJECT = 16;

/** The outbox. Its last row stays when it has been delivered, so that no number is given twice. */
export const CREATE_OUTBOX = `CREATE TABLE ${OUTBOX} (
  seq INTEGER PRIMARY KEY,
  table_name TEXT NOT NULL,
  operation TEXT NOT NULL,
  at TEXT NOT NULL,
  key_columns TEXT NOT NULL,
  old TEXT,
  new TEXT
)`;

interface Column {
  name: string;
  /** Its place in the primary key; 0 if it is not in it. */
  pk: number;
}

/** The table that goes by the name in any case of letters; undefined if there is none with rows. */
export function findTable(sql: SqlStorage, name: string): string | undefined {
  const [table] = sql
    .exec<{ name: string }>(
      "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name = ? COLLATE NOCASE",
      name,
    )
    .toArray();
  return table?.name;
}

/** The statement that makes the trigger for what the operation changes in the table. */
export function captureTrigger(sql: SqlStorage, table: string, operation: Operation): string {
  const columns = sql
    .exec<{ name: string; pk: number }>(
      // 1: hidden columns, which only virtual tables have; 2 and 3: generated ones.
      "SELECT name, pk FROM pragma_table_xinfo(?) WHERE hidden <> 1 ORDER BY cid",
      table,
    )
    .toArray();
  const key = columns.filter(({ pk }) => pk > 0);
  const row = (reference: "OLD" | "NEW", unless: Operation): string =>
    operation === unless ? "NULL" : rowJson(reference, columns, key);
  const values = [
    quoteText(table),
    quoteText(operation),
    "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')",
    quoteText(JSON.stringify(key.map(({ name }) => name))),
    row("OLD", "insert"),
    row("NEW", "delete"),
  ];
  return `CREATE TRIGGER ${quoteName(`${OUTBOX} ${operation} ${table}`)}
AFTER ${operation.toUpperCase()} ON ${quoteName(table)} BEGIN
  INSERT INTO ${OUTBOX} (table_name, operation, at, key_columns, old, new)
  VALUES (${values.join(", ")});
END`;
}

export const quoteName = (name: string): string => `"${name.replaceAll('"', '""')}"`;
const quoteText = (text: string): string => `'${text.replaceAll("'", "''")}'`;

function rowJson(reference: "OLD" | "NEW", columns: Column[], key: Column[]): string {
  // Each value under a short name: what SQLite takes as one statement is limited.
  const values = columns.map(({ name }, i) => `${reference}.${quoteName(name)} AS ${alias(i)}`);
  const cells = columns.map(({ name }, i) => ({ name, value: alias(i) }));
  const keyCells = cells.filter(({ name }) => key.some((column) => column.name === name));
  return `(SELECT CASE WHEN ${fits(cells)} THEN ${objects(cells)}
    WHEN ${fits(keyCells)} THEN json_object('key', ${objects(keyCells)})
    ELSE json_object('key', json_array()) END FROM (SELECT ${values.join(", ")}))`;
}

const alias = (index: number): string => `c${index}`;

/** A column's name, and SQL for its value in the changed row. */
interface Cell {
  name: string;
  value: string;
}

function objects(cells: Cell[]): string {
  const parts = [];
  for (let i = 0; i < cells.length; i += COLUMNS_PER_OBJECT) {
    const members = cells.slice(i, i + COLUMNS_PER_OBJECT).map(
      // A text that a JSON function made counts as JSON until something is appended to it.
      ({ name, value }) =>
        `${quoteText(name)}, CASE typeof(${value}) WHEN 'blob' THEN json_object('blob', hex(${value})) WHEN 'text' THEN ${value} || '' ELSE ${value} END`,
    );
    parts.push(`json_object(${members.join(", ")})`);
  }
  return `json_array(${parts.join(", ")})`;
}

const fits = (cells: Cell[]): string =>
  `${sum(cells.map(({ value }) => `coalesce(octet_length(${value}), 0)`))} <= ${MAX_ROW_BYTES}`;

/** As a balanced tree: SQLite limits how deep an expression may be. */
function sum(terms: string[]): string {
  if (terms.length < 2) return terms[0] ?? "0";
  const middle = terms.length >> 1;
  return `(${sum(terms.slice(0, middle))} + ${sum(terms.slice(middle))})`;
}
